"""Finds children that hang, and ends them. `pulse` has the rule, and `slots` starts others in their place.

A child is watched from the moment on at which it is ready; until then it has `children.READY_SECONDS`. When a
child begins to hang, this is reported, and another one is started beside it, which accepts the connections
that wait. Afterwards:

- If it gives signs of life again, it was only slow. It is no longer needed, and finishes what it is doing.
- Otherwise it gets SIGKILL, as one that is stopped or blocked handles nothing else.
- If it does not die of that, it waits in the kernel for a disk (state D). Nobody can end it before the disk
  answers. It is reported and left alone; the supervisor waits for it nowhere.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

from gateway.supervisor.children import Child, wait_killed

CHECK_SECONDS: Final = 0.5
"""How often the signs of life are read."""

GRACE_SECONDS: Final = 5.0
"""How long a child that hangs has to come back after another was started in its place. A disk that answers
late is more common than one that never does, and a killed child breaks all of its downloads."""

_log = logging.getLogger("gateway.supervisor")


class Watch:
    """Watches children, and ends those that hang."""

    def __init__(
        self,
        children: Collection[Child],
        limit: Callable[[], float],
        replace: Callable[[Child], Awaitable[None]],
        drain: Callable[[Child], None],
    ) -> None:
        """limit: seconds without a sign of life. replace: starts another child in place of one that hangs.

        drain: lets a child finish what it is doing.
        """
        self.hangs: Counter[str] = Counter()
        """How many children have begun to hang, by role."""
        self._children = children
        self._limit = limit
        self._replace = replace
        self._drain = drain
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def hung(self) -> list[str]:
        """The names of the children that hang now."""
        return sorted(child.name for child in self._children if child.pulse.is_hung)

    async def keep(self) -> None:
        """Look at all children regularly. Never returns."""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for child in list(self._children):
                self._look_at(child, now - checked)
            checked = now

    def _look_at(self, child: Child, passed: float) -> None:
        if not child.is_ready:
            return
        pulse = child.pulse
        pulse.observe(child.last_beat, passed)
        is_late = pulse.silent >= self._limit()
        state, is_traced = read_state(child.pid) if is_late else ("", False)
        if not pulse.judge(self._limit(), is_traced):
            return
        extra = {"child": child.name, "pid": child.pid}
        if not pulse.is_hung:
            _log.warning("hung, and gives signs of life again", extra=extra)
            return
        self.hangs[child.role] += 1
        _log.error("hangs", extra={**extra, "silent": round(pulse.silent, 1), "state": state})
        task = asyncio.create_task(self._end(child))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, child: Child) -> None:
        """Have the child replaced, and end it, gently if it has come back by then."""
        await self._replace(child)
        extra = {"child": child.name, "pid": child.pid}
        if await child.wait(GRACE_SECONDS):
            return
        if not child.pulse.is_hung:
            self._drain(child)
            return
        _log.error("killed, because it hangs", extra=extra)
        child.kill()
        if await wait_killed([child.ended]):
            text = "cannot be killed: it waits in the kernel, and ends when its disk answers"
            _log.error(text, extra={**extra, "state": read_state(child.pid)[0]})


def read_state(pid: int) -> tuple[str, bool]:
    """Read the state of a process, as proc(5) has it (`T (stopped)`), and whether a debugger holds it.

    For a process that has ended this is `("", False)`.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "", False
    fields = dict(re.findall(r"^(State|TracerPid):\s+(.*)$", text, re.MULTILINE))
    return fields.get("State", ""), fields.get("TracerPid", "0") != "0"

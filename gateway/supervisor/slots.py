"""A slot always has a running child. There is one slot for each process that the settings ask for."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Final

from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.supervisor.children import Child, ChildStarter, ListeningService

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 5.0
HEALTHY_SECONDS: Final = 10.0
"""After a process that ran for this long, the delays begin with the shortest one again."""

_log = logging.getLogger("gateway.supervisor")


class BackOff:
    """How long to wait before the next start: twice as long after each failure, minus a random part."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self, lived: float = 0.0) -> float:
        """Seconds to wait after a process that ran for `lived` seconds."""
        if lived >= HEALTHY_SECONDS:
            self._failures = 0
        delay: float = min(FIRST_DELAY_SECONDS * 2**self._failures, LONGEST_DELAY_SECONDS)
        self._failures = min(self._failures + 1, 16)
        return delay * random.uniform(0.75, 1.0)  # noqa: S311 - so that slots do not all start at the same moment


class Slot:
    """Keeps one child of a service running, with the settings that it was last given."""

    def __init__(
        self, starter: ChildStarter, listening: ListeningService, index: int, settings: Settings
    ) -> None:
        self.name = f"{listening.name} {index}"
        self.listening = listening
        self.restarts = 0
        self.child: Child | None = None
        self._starter = starter
        self._index = index
        self._settings = settings
        self._back_off = BackOff()
        self._start_lock = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._stopped = False
        self._left_over: Child | None = None
        """The last child that hung and was replaced."""

    @property
    def running(self) -> bool:
        """Whether a child serves in this slot now."""
        return self.child is not None and not self.child.pulse.is_hung

    def describe(self) -> dict[str, Any]:
        """What /healthz shows of the slot."""
        return {
            "name": self.name,
            "state": self._describe_state(),
            "pid": self.child.pid if self.child else None,
            "restarts": self.restarts,
        }

    def _describe_state(self) -> str:
        if self.child is not None:
            return "hung" if self.child.pulse.is_hung else "running"
        return "stopped" if self._stopped else "restarting"

    async def start(self) -> None:
        """Start the first child. Raises GatewayError when it does not become ready."""
        async with self._start_lock:
            self.child = await self._start(self._settings)

    async def replace(self, settings: Settings) -> Child | None:
        """Start a child with other settings beside the present one. Returns the present one, to be drained.

        Raises GatewayError when the new child does not become ready; nothing has changed then.
        """
        async with self._start_lock:
            fresh = await self._start(settings)
            former, self.child = self.child, fresh
            self._settings = settings
        return former

    async def replace_hung(self, hung: Child) -> None:
        """Start a child beside one that hangs, to serve in its place; `watch` ends the one that hangs.

        When it does not start, the one that hangs stays in the slot, and its end makes another one start.
        When its predecessor hung as well and could not be killed, nothing is started: whatever blocks both of
        them would block the next one too, and processes that cannot be killed would pile up.
        """
        async with self._start_lock:
            if hung is not self.child or self._stopped:
                return
            if self._left_over is not None and not self._left_over.ended.done():
                text = "not replaced: the process before it hangs as well, and could not be killed"
                _log.error(text, extra={"child": self.name, "pid": hung.pid})
                return
            self.restarts += 1
            try:
                fresh = await self._start(self._settings)
            except GatewayError as error:
                _log.error("%s", error, extra={"child": self.name})
                return
            self.child, self._left_over = fresh, hung

    def stop(self) -> Child | None:
        """Keep no child running from now on. Returns the present one, to be drained."""
        self._stopped = True
        if self._reviving is not None:
            self._reviving.cancel()
        former, self.child = self.child, None
        return former

    async def _start(self, settings: Settings) -> Child:
        child = self._starter.start(self.listening, self._index, settings)
        await child.ready()
        _log.info("started", extra={"child": self.name, "pid": child.pid})
        child.ended.add_done_callback(lambda _: self._on_end(child))
        return child

    def _on_end(self, child: Child) -> None:
        if self._stopped or child is not self.child:
            return
        self.child = None
        _log.error("ended %s", child.describe_end(), extra={"child": self.name, "pid": child.pid})
        self._reviving = asyncio.create_task(self._revive(time.monotonic() - child.started))

    async def _revive(self, lived: float) -> None:
        while True:
            await asyncio.sleep(self._back_off.next(lived))
            async with self._start_lock:
                if self.child is not None:
                    return  # a reload has started one meanwhile
                self.restarts += 1
                try:
                    self.child = await self._start(self._settings)
                except GatewayError as error:
                    _log.error("%s", error, extra={"child": self.name})
                else:
                    return
            lived = 0.0

"""A slot: one place that always has a running child; the supervisor has one a worker and one for the mint."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Final

from gateway.config.settings import Settings
from gateway.errors import GatewayError
from gateway.supervisor.children import Child, ChildStarter, Service

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 5.0
HEALTHY_SECONDS: Final = 10.0
"""What ran for this long begins with the shortest delay again."""

_log = logging.getLogger("gateway.supervisor")


class BackOff:
    """How long to wait before the next start: twice as long after each failure, with some chance in it."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self, lived: float = 0.0) -> float:
        """Seconds to wait after something that ran for `lived` seconds."""
        if lived >= HEALTHY_SECONDS:
            self._failures = 0
        delay: float = min(FIRST_DELAY_SECONDS * 2**self._failures, LONGEST_DELAY_SECONDS)
        self._failures = min(self._failures + 1, 16)
        return delay * random.uniform(0.75, 1.0)  # noqa: S311 - so that slots do not start in step


class Slot:
    """Keeps one child of a service running, with the settings it was last given."""

    def __init__(self, workshop: ChildStarter, service: Service, index: int, settings: Settings) -> None:
        self.name = f"{service.role} {index}"
        self.service = service
        self.restarts = 0
        self.child: Child | None = None
        self._workshop = workshop
        self._index = index
        self._settings = settings
        self._back_off = BackOff()
        self._turn = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether a child serves in it now."""
        return self.child is not None

    def describe(self) -> dict[str, Any]:
        """What /healthz shows of it."""
        return {
            "name": self.name,
            "state": "running" if self.child else "stopped" if self._stopped else "restarting",
            "pid": self.child.pid if self.child else None,
            "restarts": self.restarts,
        }

    async def start(self) -> None:
        """Start the first child. Raises GatewayError when it does not become ready."""
        async with self._turn:
            self.child = await self._start(self._settings)

    async def replace(self, settings: Settings) -> Child | None:
        """Start a child with other settings beside the present one, which is returned to be drained.

        Raises GatewayError when the new one does not become ready; everything is as before then.
        """
        async with self._turn:
            fresh = await self._start(settings)
            former, self.child = self.child, fresh
            self._settings = settings
        return former

    def stop(self) -> Child | None:
        """Keep nothing running from now on; the present child is returned to be drained."""
        self._stopped = True
        if self._reviving is not None:
            self._reviving.cancel()
        former, self.child = self.child, None
        return former

    async def _start(self, settings: Settings) -> Child:
        child = self._workshop.start(self.service, self._index, settings)
        await child.ready()
        _log.info("started", extra={"child": self.name, "pid": child.pid})
        child.ended.add_done_callback(lambda _: self._note_end(child))
        return child

    def _note_end(self, child: Child) -> None:
        if self._stopped or child is not self.child:
            return
        self.child = None
        _log.error("ended %s", child.describe_end(), extra={"child": self.name, "pid": child.pid})
        self._reviving = asyncio.create_task(self._revive(time.monotonic() - child.started))

    async def _revive(self, lived: float) -> None:
        while True:
            await asyncio.sleep(self._back_off.next(lived))
            async with self._turn:
                if self.child is not None:
                    return  # a reload was quicker
                self.restarts += 1
                try:
                    self.child = await self._start(self._settings)
                except GatewayError as error:
                    _log.error("%s", error, extra={"child": self.name})
                else:
                    return
            lived = 0.0

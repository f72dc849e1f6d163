"""Keeps the embedded store running, and takes it over when another process that owned it has ended."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any, Final

import aiofiles

from gateway.errors import GatewayError
from gateway.runtime.system_errors import advise
from gateway.store.embedded import EmbeddedStore, State
from gateway.supervisor.children import Reaper, describe_end
from gateway.supervisor.slots import BackOff

TAKE_OVER_SECONDS: Final = 1.0
"""How often we try to take over a store that another process owns."""

LOG_CHECK_SECONDS: Final = 60.0
"""How often the length of the store's log is checked."""

QUOTED_BYTES: Final = 4096
QUOTED_LINES: Final = 3
"""How much of the store's log is quoted when the store has ended: the log names a full disk or a damaged
file."""

_log = logging.getLogger("gateway.supervisor")


class StoreKeeper:
    """The embedded store as the supervisor sees it."""

    def __init__(self, store: EmbeddedStore, command: str, reaper: Reaper) -> None:
        """command: the name that is written into the store's lock when we become the owner."""
        self.store = store
        self.restarts = 0
        self._command = command
        self._reaper = reaper
        self._back_off = BackOff()
        self._ended = reaper.watch(store.process) if store.process else None

    async def keep(self) -> None:
        """Restart the server when it ends; become the owner when the present one has ended. Never returns."""
        while True:
            if self._ended is not None:
                started = time.monotonic()
                code = await self._wait_end(self._ended)
                extra = {"child": "store", "said": await self._read_last_lines()}
                _log.error("ended %s", describe_end(code), extra=extra)
                self.restarts += 1
                await asyncio.sleep(self._back_off.next(time.monotonic() - started))
                await self._start()
            elif self.store.owned:
                await asyncio.sleep(self._back_off.next())
                await self._start()
            elif self._take_over():
                await self._start()
            else:
                await asyncio.sleep(TAKE_OVER_SECONDS)

    async def describe(self) -> dict[str, Any]:
        """What /healthz shows of the store."""
        process = self.store.process
        state = await asyncio.to_thread(self.store.state)
        return {
            "state": state.value,
            "pid": process.pid if process else None,
            "owned": self.store.owned,
            "restarts": self.restarts,
        }

    async def _read_last_lines(self) -> list[str]:
        """Read the end of the store's own log, without blocking the event loop that supervises everything."""
        try:
            async with aiofiles.open(self.store.log, "rb") as log:
                length = await log.seek(0, os.SEEK_END)
                await log.seek(max(0, length - QUOTED_BYTES))
                text = await log.read(QUOTED_BYTES)
        except OSError:
            return []
        return text.decode(errors="replace").splitlines()[-QUOTED_LINES:]

    async def _wait_end(self, ended: asyncio.Future[int]) -> int:
        while True:
            done, _ = await asyncio.wait([ended], timeout=LOG_CHECK_SECONDS)
            if done:
                return ended.result()
            self.store.bound_log()

    def _take_over(self) -> bool:
        try:
            return self.store.try_acquire(self._command)
        except GatewayError as error:
            _log.error("%s", error)
            return False

    async def _start(self) -> None:
        self._ended = None
        try:
            process = self.store.spawn()
        except GatewayError as error:
            _log.error("the embedded store could not start: %s", error)
            return
        except OSError as error:
            _log.error("the embedded store could not start: %s", advise(error))
            return
        self._ended = self._reaper.watch(process)
        while self.store.state() in (State.DOWN, State.LOADING):
            if self._ended.done():
                _log.error("%s", self.store.explain())
                return
            await asyncio.sleep(0.02)
        extra = {"child": "store", "pid": process.pid, "server": str(self.store.program)}
        _log.info("started", extra=extra)

"""Work that is begun by a request and done after its answer, so that the answer's time tells nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web

from gateway.errors import GatewayError

MOST_WAIT: Final = 0.3
"""Seconds within which an errand begins at random: a request right behind it cannot measure it."""

_log = logging.getLogger("gateway.web")


class Errands:
    """The errands of a process. Those that have begun are finished before it ends."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[None]]()

    async def run_after(
        self, request: web.BaseRequest, response: web.StreamResponse, errand: Coroutine[Any, Any, None]
    ) -> web.StreamResponse:
        """Send the response, then begin the errand. Returns the response."""
        try:
            await response.prepare(request)
            await response.write_eof()
        finally:
            task = asyncio.create_task(self._run(errand))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return response

    async def finish(self, *_: object) -> None:
        """Wait until all errands are done."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _run(self, errand: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.sleep(MOST_WAIT * secrets.randbelow(1000) / 1000)
            await errand
        except GatewayError as error:
            _log.warning("a mail that a customer asked for cannot be written now: %s", error)
        except Exception:
            _log.exception("a mail that a customer asked for cannot be written")

"""The life of a service process: its event loop, its signal, its garbage collector."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvloop

from gateway.runtime import log


def run_until_sigterm(
    settings: log.LogSettings,
    open_service: Callable[[], AbstractAsyncContextManager[object]],
    ready: Callable[[], None],
    young_objects: int,
) -> None:
    """Run a service until SIGTERM, and return when it has ended.

    open_service: makes a context manager. It is entered when the process starts, and then connections are
    accepted. It is left at the signal, and then the requests under way are finished. ready: called once it is
    entered. young_objects: how many objects may be made before the garbage collector looks for cycles among
    them.
    """
    log.configure(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(open_service, ready, young_objects))


async def _serve(
    open_service: Callable[[], AbstractAsyncContextManager[object]],
    ready: Callable[[], None],
    young_objects: int,
) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with open_service():
        gc.freeze()  # what exists now stays for the life of the process, and the collector may skip it
        gc.set_threshold(young_objects)
        ready()
        await stopping.wait()

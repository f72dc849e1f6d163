"""Work in the background that is looked at again and again, and at once when somebody wakes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

LOOK_SECONDS: Final = 0.5
"""How often there is a look, for what other processes have committed, for what is due, and after a crash."""
RETRY_SECONDS: Final = 1.0
"""After a fault of what the work needs."""


async def repeat(
    work: Callable[[], Awaitable[bool]],
    wakes: asyncio.Event,
    faults: tuple[type[Exception], ...],
    log: logging.Logger,
    message: str,
) -> NoReturn:
    """Do work until cancelled, when `wakes` is set and every LOOK_SECONDS.

    work: returns whether there may be more to do at once. faults: errors after which it is tried again; the
    first of several in a row is logged with `message`, which has a place for it.
    """
    failing = False
    while True:
        wakes.clear()
        pause = LOOK_SECONDS
        try:
            while await work():
                pass
            failing = False
        except faults as error:
            if not failing:
                log.warning(message, error)
            failing = True
            pause = RETRY_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wakes.wait()

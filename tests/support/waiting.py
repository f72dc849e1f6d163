"""Wait until something has happened; fail when it does not happen in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.timing import patience

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 10) -> T:
    """Call the condition until its result is true, and return that result.

    seconds: the longest wait, which is longer where other tests run at the same time (see `timing.patience`).
    """
    deadline = time.monotonic() + patience(seconds)
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)
    return found


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """The same as `wait_until`, for a test that is a coroutine."""
    async with asyncio.timeout(patience(seconds)):
        while not condition():  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.005)

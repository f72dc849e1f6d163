"""How long something takes: asserted only where nothing else runs, because other work makes all of it slower.

A test that uses `lasts` has the marker `timing`. Its limits hold when pytest is given `--timing`, which
`make test-all` does for the part that runs tests one after another. Otherwise such a test may run beside
others, and its limits are not asserted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

LEAST_PATIENCE = 30
"""Seconds to wait for what shall happen, at least, where other tests run at the same time."""

T = TypeVar("T")

ATTEMPTS = 5
"""How often something is tried that a process which stands still for a moment may spoil."""

_held = False


def hold_limits(held: bool) -> None:
    """Set whether limits are asserted; called once, before the first test."""
    global _held  # noqa: PLW0603 - one setting of a whole test run
    _held = held


def patience(seconds: float) -> float:
    """How long to wait for something that should happen within `seconds`."""
    return seconds if _held else max(seconds, LEAST_PATIENCE)


@contextmanager
def lasts(
    least: float = 0.0, most: float = float("inf"), clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Assert that the block takes more than `least` and less than `most` seconds of `clock`."""
    began = clock()
    yield
    took = clock() - began
    if _held:
        assert least < took < most, f"it took {took:.3f} s"


def punctually(attempt: Callable[[], T]) -> T:
    """Do what must be done within a short time-out of the code under test; again, where that did not work.

    For a time-out of a second or two, which ends what a test does when a process of the test stands still for
    so long, as on a busy machine. Each attempt begins from the beginning. The last one's error is raised.
    """
    for _ in range(ATTEMPTS - 1):
        with suppress(AssertionError, OSError):
            return attempt()
    return attempt()


async def punctually_async(attempt: Callable[[], Awaitable[T]]) -> T:
    """The same as `punctually`, for a test that is a coroutine."""
    for _ in range(ATTEMPTS - 1):
        with suppress(AssertionError, OSError):
            return await attempt()
    return await attempt()

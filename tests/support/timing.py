"""How long something takes: asserted only where nothing else runs, because other work makes all of it slower.

A test that uses `lasts` has the marker `timing`. Its limits hold when pytest is given `--timing`, which
`make test-all` does for the part that runs tests one after another. Otherwise such a test may run beside
others, and its limits are not asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST_PATIENCE = 30
"""Seconds to wait for what shall happen, at least, where other tests run at the same time."""

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

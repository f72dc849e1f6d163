"""How many lines of the log strangers can cause: a flood of them must cost a process next to nothing."""

from __future__ import annotations

from typing import Final

BURST: Final = 50
PER_SECOND: Final = 10.0
"""So many lines are written at once, and in the long run. A line takes 50 µs: 0.05 % of a process' time."""


class LineBudget:
    """Says which lines of one kind are written, and how many were left out before each."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = 0.0
        self._omitted = 0

    def take(self, now: float) -> int | None:
        """Return how many lines were left out since the last one, or None if this one is left out, too.

        now: seconds of any clock, the same one each time.
        """
        self._left = min(BURST, self._left + max(0.0, now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1:
            self._omitted += 1
            return None
        self._left -= 1
        omitted, self._omitted = self._omitted, 0
        return omitted

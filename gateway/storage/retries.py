"""How often and how soon an object storage is asked again: one rule for all of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from gateway.errors import StorageUnreachable
from gateway.runtime.metrics import UPSTREAM_RETRIES, UPSTREAM_THROTTLES

FIRST_TRIES: Final = 4
"""Before the first byte: somebody waits for an answer, and may be told to come again."""
FIRST_PATIENCE: Final = 5.0
"""Seconds: who is asked to wait longer before the first byte is told so at once."""
TRIES: Final = 10
"""In the middle of a file: about half a minute of back-off."""
FIRST_BACKOFF: Final = 0.1
LAST_BACKOFF: Final = 8.0
PROGRESS_BYTES: Final = 64 * 1024
"""A connection that brought this much is replaced at once, without back-off."""

_log = logging.getLogger("gateway")


class TransientError(Exception):
    """The storage cannot answer now and may later.

    after: seconds it asked us to wait, if it did. throttled: we ask more than it likes. waited: that took
    long already, so that somebody who waits for the first byte is not made to wait for another try.
    """

    def __init__(
        self, text: str, after: float = 0.0, *, throttled: bool = False, waited: bool = False
    ) -> None:
        super().__init__(text)
        self.after = after
        self.throttled = throttled
        self.waited = waited


def backoff(tries: int, chance: float, after: float = 0.0) -> float:
    """Seconds before the next try, after `tries` in a row that brought nothing.

    Doubled each time, up to LAST_BACKOFF, half of it by chance (from 0 to 1), so that many who were broken
    off together do not come back together; never sooner than the storage asked for (`after`).
    """
    if not tries:
        return after
    longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LAST_BACKOFF)
    return max(after, longest * (0.5 + chance / 2))


class Budget:
    """The tries for one object. begun: its first answer came, so that giving up would break a download."""

    __slots__ = ("_count", "_subject", "begun", "tries")

    def __init__(self, subject: str, count: Callable[[int, int], None]) -> None:
        """subject: what errors call the object; count: adds to a counter of this process."""
        self._subject = subject
        self._count = count
        self.tries = 0
        self.begun = False

    async def spend(self, fault: TransientError, brought: int = 0) -> None:
        """Wait until it is time for the next try. brought: the bytes of the one that ended with `fault`.

        Raises StorageError when there have been enough.
        """
        self.tries = 0 if brought else self.tries + 1
        if fault.throttled:
            self._count(UPSTREAM_THROTTLES, 1)
        if self._is_spent(fault):
            tries = "" if self.tries == 1 else f" after {self.tries} tries"
            raise StorageUnreachable(f"{self._subject} cannot be had{tries}: {fault}") from None
        self._count(UPSTREAM_RETRIES, 1)
        _log.info("an object is asked for again", extra={"object": self._subject, "why": str(fault)})
        tries_since = self.tries or int(brought < PROGRESS_BYTES)
        await asyncio.sleep(backoff(tries_since, random.random(), fault.after))  # noqa: S311 - no secret

    def _is_spent(self, fault: TransientError) -> bool:
        if self.begun:
            return self.tries >= TRIES
        return self.tries >= FIRST_TRIES or fault.after > FIRST_PATIENCE or fault.waited

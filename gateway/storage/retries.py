"""How often and how soon an object storage is asked again: one rule for all object storages.

- Only what may work later (`TransientError`) is asked for again.
- Tries are counted as long as none of them brings a byte. Before the first byte of an answer there are few,
  because a client waits for the status; after it there are many, because giving up breaks a download.
- The pauses between tries double, up to LAST_BACKOFF seconds, and half of each pause is random. After a
  connection that brought PROGRESS_BYTES there is no pause.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.errors import StorageUnreachable
from gateway.runtime.metrics import UPSTREAM_RETRIES, UPSTREAM_THROTTLES

FIRST_TRIES: Final = 4
"""Tries before the first byte. A client that gets a 503 can try again later."""
FIRST_PATIENCE: Final = 5.0
"""Seconds. If the storage asks for a longer pause before the first byte, the request fails at once."""
TRIES: Final = 10
"""Tries after the first byte. Their pauses make about half a minute."""
FIRST_BACKOFF: Final = 0.1
LAST_BACKOFF: Final = 8.0
"""Seconds: the shortest and the longest pause."""
PROGRESS_BYTES: Final = 64 * 1024
"""A connection that brought this much before it broke is replaced without a pause."""
RETRY_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed later."""
THROTTLED_STATUSES: Final = frozenset({429, 503})
"""Statuses by which a storage says that it is asked too often."""

_log = logging.getLogger("gateway")

T = TypeVar("T")


class TransientError(Exception):
    """The storage cannot answer now, but may be able to later.

    after: the pause in seconds that the storage asked for, or 0. throttled: the storage is asked too often.
    waited: this try has already taken so long that a client who waits for the first byte should not be made
    to wait for another.
    """

    def __init__(
        self, text: str, after: float = 0.0, *, throttled: bool = False, waited: bool = False
    ) -> None:
        super().__init__(text)
        self.after = after
        self.throttled = throttled
        self.waited = waited


def backoff(tries: int, chance: float, after: float = 0.0) -> float:
    """Return the seconds to wait before the next try, after `tries` tries in a row that brought nothing.

    chance: a random number from 0 to 1. It makes up half of the pause, so that many clients whose connections
    broke at the same moment do not all try again at the same moment. The pause is never shorter than `after`,
    which is what the storage asked for.
    """
    if not tries:
        return after
    longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LAST_BACKOFF)
    return max(after, longest * (0.5 + chance / 2))


class RetryBudget:
    """The tries that one read or check of an object may still make.

    begun: the first answer has come, so giving up would break a download.
    """

    __slots__ = ("_count", "_subject", "begun", "tries")

    def __init__(self, subject: str, count: Callable[[int, int], None]) -> None:
        """subject: the object, as errors name it. count: adds to a counter of this process."""
        self._subject = subject
        self._count = count
        self.tries = 0
        self.begun = False

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, and repeat it while it raises TransientError.

        Raises StorageUnreachable when the budget is spent.
        """
        while True:
            try:
                return await attempt()
            except TransientError as error:
                await self.spend(error)

    async def spend(self, error: TransientError, received: int = 0) -> None:
        """Wait until it is time for the next try.

        error: why the last try ended. received: the bytes it brought. Raises StorageUnreachable when there
        have been enough tries.
        """
        self.tries = 0 if received else self.tries + 1
        if error.throttled:
            self._count(UPSTREAM_THROTTLES, 1)
        if self._is_spent(error):
            after = "" if self.tries == 1 else f" after {self.tries} tries"
            raise StorageUnreachable(f"{self._subject} cannot be read{after}: {error}") from None
        self._count(UPSTREAM_RETRIES, 1)
        _log.info("an object is asked for again", extra={"object": self._subject, "why": str(error)})
        tries = self.tries or int(received < PROGRESS_BYTES)
        await asyncio.sleep(backoff(tries, random.random(), error.after))  # noqa: S311 - no secret

    def _is_spent(self, error: TransientError) -> bool:
        if self.begun:
            return self.tries >= TRIES
        return self.tries >= FIRST_TRIES or error.after > FIRST_PATIENCE or error.waited

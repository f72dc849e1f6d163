"""How often and how soon an object storage is asked again: a budget of tries in a row that brought nothing."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Protocol

from gateway.counters import UPSTREAM_RETRIES, UPSTREAM_THROTTLES
from gateway.errors import StorageError
from gateway.manifest import ManifestFile

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


class Hiccup(Exception):
    """The storage cannot answer now and may later.

    after: seconds it asked us to wait, if it did. throttled: we ask more than it likes. passes: whether
    somebody who waits for the first byte had better wait for another try.
    """

    passes = True

    def __init__(self, text: str, after: float = 0.0, *, throttled: bool = False) -> None:
        super().__init__(text)
        self.after = after
        self.throttled = throttled


def backoff(tries: int, chance: float, after: float = 0.0) -> float:
    """Seconds before the next try, after `tries` in a row that brought nothing.

    Doubled each time, up to LAST_BACKOFF, half of it by chance (from 0 to 1), so that many who were broken
    off together do not come back together; never sooner than the storage asked for (`after`).
    """
    if not tries:
        return after
    longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LAST_BACKOFF)
    return max(after, longest * (0.5 + chance / 2))


class Asker(Protocol):
    """Who asks a storage for its objects."""

    @property
    def count(self) -> Callable[[int, int], None]:
        """Adds to a counter of this process."""

    def describe(self, file: ManifestFile) -> str:
        """What errors call an object."""


class Budget:
    """The tries for one object. begun: its first answer came, so that giving up would break a download."""

    __slots__ = ("_asker", "_file", "begun", "tries")

    def __init__(self, asker: Asker, file: ManifestFile) -> None:
        self._asker = asker
        self._file = file
        self.tries = 0
        self.begun = False

    async def spend(self, fault: Hiccup, brought: int = 0) -> None:
        """Wait until it is time for the next try. brought: the bytes of the one that ended with `fault`.

        Raises StorageError when there have been enough.
        """
        self.tries = 0 if brought else self.tries + 1
        asker = self._asker
        if fault.throttled:
            asker.count(UPSTREAM_THROTTLES, 1)
        if self._is_spent(fault):
            tries = "" if self.tries == 1 else f" after {self.tries} tries"
            raise StorageError(f"{asker.describe(self._file)} cannot be had{tries}: {fault}") from None
        asker.count(UPSTREAM_RETRIES, 1)
        _log.info(
            "an object is asked for again",
            extra={"object": asker.describe(self._file), "why": str(fault)},
        )
        tries_since = self.tries or int(brought < PROGRESS_BYTES)
        await asyncio.sleep(backoff(tries_since, random.random(), fault.after))  # noqa: S311 - no secret

    def _is_spent(self, fault: Hiccup) -> bool:
        if self.begun:
            return self.tries >= TRIES
        return self.tries >= FIRST_TRIES or fault.after > FIRST_PATIENCE or not fault.passes

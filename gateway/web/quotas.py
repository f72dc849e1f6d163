"""How often something may be done within a window of time, counted in the store by all web processes.

A name has so many attempts; the window begins with the first of them. The store has only hashes of names.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from gateway.store.client import StoreClient
from gateway.store.key_names import quota_key
from gateway.store.scripts import Script
from gateway.web.problems import too_many_attempts

MINUTE: Final = 60_000
QUARTER: Final = 900_000
HOUR: Final = 3_600_000
_COUNT: Final = Script.load("take_quota")
_TAKE, _LOOK, _GIVE_BACK = 1, 0, -1


class Quota(NamedTuple):
    """One kind of attempt. name: without spaces. limit: attempts in a window. window: milliseconds."""

    name: str
    limit: int
    window: int


class Quotas:
    """The counts in the store."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store

    async def take(self, *wanted: tuple[Quota, str]) -> None:
        """Take one of each quota. Each has the name of who takes it; an empty name is not counted.

        They are taken in their order, and none after the first that is used up, so that whoever is over
        the limit takes nothing from the others. Raises Problem (too_many_attempts), StoreUnavailable.
        """
        await self._ask(wanted, _TAKE)

    async def look(self, *wanted: tuple[Quota, str]) -> None:
        """Take nothing, and raise what `take` would."""
        await self._ask(wanted, _LOOK)

    async def give_back(self, *taken: tuple[Quota, str]) -> None:
        """Give back what `take` took, because it is not to be counted. Raises StoreUnavailable."""
        await self._ask(taken, _GIVE_BACK)

    async def _ask(self, wanted: tuple[tuple[Quota, str], ...], change: int) -> None:
        for quota, name in wanted:
            if name:
                key = quota_key(hashlib.sha256(f"{quota.name} {name}".encode("utf-8", "replace")).hexdigest())
                waits = int(await self._store.run(_COUNT, [key], quota.limit, quota.window, change))
                if waits:
                    raise too_many_attempts(-(-waits // 1000))

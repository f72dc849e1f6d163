"""Making usage forget: addresses of clients, and what was applied of workers that are long gone.

| what | after | what is left |
| --- | --- | --- |
| addresses of clients | `retention.addresses` | their networks: IPv4 /24, IPv6 /48 |
| networks and programs of clients | `retention.networks` | the class of the program |
| batches of events that were set aside | `retention.addresses` | nothing |
| which events of a worker were applied | POSITION_DAYS | nothing |

A download's time is that of its last byte. An attempt that arrives late, of a download that was cut already,
is cut by the next pass.

A worker's position is what makes a batch that comes twice count once. It may go when none can come any more:
the worker has sent nothing for POSITION_DAYS, and everything that waits in the store has come after its last
batch was applied. What is left is a batch that was applied, that its worker did not know of, and that lies in
a file on a machine which was off for longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any, Final, NamedTuple, NoReturn

from sqlalchemy import delete, select, update

from gateway.database.attempt_texts import CUT, FULL, GONE, with_clients, without_clients
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.usage_tables import DOWNLOAD, USAGE_POSITION
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.http.client_address import network_group
from gateway.store.client import StoreClient
from gateway.store.key_names import EVENT_STREAMS, events_aside_key, events_key

DAY: Final = 86_400_000
AT_ONCE: Final = 200
"""Downloads of one transaction: some 20 ms, but for those of very many attempts."""
PAUSE_SECONDS: Final = 0.2
EVERY_SECONDS: Final = 3600.0
POSITION_DAYS: Final = 180
"""A worker has a row for each of its starts, of some 100 bytes: 16 workers that start daily have 3,000."""
CLOCK_DAYS: Final = 1
"""How far the clocks of this machine, of the store's and of workers' may differ."""

_log = logging.getLogger("gateway.usage")


class UsageDays(NamedTuple):
    """The settings, in days from the last byte."""

    addresses: int
    networks: int


class UsageRetention:
    """Makes usage forget what is too old. For one event loop; several processes may do it."""

    def __init__(self, database: Database, client: StoreClient, days: UsageDays) -> None:
        self._database = database
        self._client = client
        self._days = days

    async def run(self) -> NoReturn:
        """Work until cancelled: a pass an hour, the first at some moment of the first minutes."""
        await asyncio.sleep(60 + secrets.randbelow(240))
        while True:
            try:
                await self.run_once(PAUSE_SECONDS)
            except (DatabaseError, StoreUnavailable) as error:
                _log.warning("addresses that are too old cannot be removed now: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def run_once(self, pause: float = 0.0) -> None:
        """Do one pass. pause: seconds between its steps. Raises DatabaseError, StoreUnavailable."""
        moment = now()
        for before, after in ((GONE, self._days.networks), (CUT, self._days.addresses)):
            while await self._cut(before, moment - after * DAY):  # noqa: ASYNC110 - it is no waiting
                await asyncio.sleep(pause)
        await self._forget_positions(moment)
        with contextlib.suppress(StoreUnavailable):  # a Redis that others run may not allow it
            oldest = max(0, moment - self._days.addresses * DAY)
            for stream in range(EVENT_STREAMS):
                await self._client.call("XTRIM", events_aside_key(stream), "MINID", oldest)

    async def _cut(self, privacy: int, before: int) -> bool:
        """Bring some downloads that ended before a moment to `privacy`. Returns whether there may be more."""
        columns = (DOWNLOAD.c.series_id, DOWNLOAD.c.number, DOWNLOAD.c.client, DOWNLOAD.c.attempts)
        states = (FULL, CUT) if privacy == GONE else (FULL,)
        query = (
            select(*columns)
            .where(DOWNLOAD.c.privacy.in_(states), DOWNLOAD.c.last < max(0, before))
            .order_by(DOWNLOAD.c.privacy, DOWNLOAD.c.last)
            .limit(AT_ONCE)
        )
        async with self._database.writing() as sql:
            if sql.dialect.name == "postgresql":
                query = query.with_for_update(skip_locked=True)
            rows = (await sql.execute(query)).all()
            for row in rows:
                await sql.execute(
                    update(DOWNLOAD)
                    .where(DOWNLOAD.c.series_id == row.series_id, DOWNLOAD.c.number == row.number)
                    .values(attempts=_forget(row.attempts, row.client, privacy), privacy=privacy)
                )
        return len(rows) == AT_ONCE

    async def _forget_positions(self, moment: int) -> None:
        waiting = [await self._oldest(events_key(stream)) for stream in range(EVENT_STREAMS)]
        oldest = min((each for each in waiting if each is not None), default=moment)
        before = min(moment - POSITION_DAYS * DAY, oldest - CLOCK_DAYS * DAY)
        if before > 0:
            async with self._database.writing() as sql:
                await sql.execute(delete(USAGE_POSITION).where(USAGE_POSITION.c.updated < before))

    async def _oldest(self, key: str) -> int | None:
        """When the oldest entry of a stream came, in ms; None: it has none."""
        entries = await self._client.call("XRANGE", key, "-", "+", "COUNT", 1)
        return int(str(entries[0][0]).partition("-")[0]) if entries else None


def _forget(attempts: dict[str, Any], program: str, privacy: int) -> dict[str, Any]:
    return without_clients(attempts, program) if privacy == GONE else with_clients(attempts, cut_address)


def cut_address(address: str) -> str:
    """The network of an address, IPv4 /24 or IPv6 /48; nothing of what is no address."""
    network = network_group(address)
    return network if "/" in network else ""

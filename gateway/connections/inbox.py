"""The inbox: every event of a platform as it came, committed before the platform gets its answer.

Deliveries that come at the same time are committed together, because a commit waits for the disk and a
thousand a second would not fit otherwise. Each delivery waits for its own commit. An event that is there
already is there: its platform gets the same answer, and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections.repository import Connection
from gateway.database.engine import Database
from gateway.database.errors import Duplicate
from gateway.database.statements import insert
from gateway.database.tables import CONNECTION, INBOX
from gateway.database.types import new_id, now
from gateway.errors import DatabaseError, Declined
from gateway.platforms.interface import Reading

STATES: Final = ("received", "applied", "waiting", "ignored", "failed")
"""All that an event can be in."""
AT_ONCE: Final = 200
"""Deliveries of one transaction."""
MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes of deliveries that wait to be committed. Beyond, deliveries are refused, and come again."""
PRESSED_AT: Final = 4
"""So many deliveries of one transaction come faster than commits are made, one by one."""
PRESSED_SECONDS: Final = 1.0
"""How long the inbox counts as pressed after such a transaction."""
GATHER_SECONDS: Final = 0.05
"""How long a pressed inbox lets deliveries come together before it commits them: a transaction costs about
2 ms of the processor, whether it has one delivery or fifty. Answers come that much later."""
GATHER_STEP: Final = 0.005
"""Seconds without a further delivery after which those that are there are committed."""
WAIT_SECONDS: Final = 4.0
"""How long a delivery waits for its commit. Platforms wait 5 s for an answer, and ask again without one."""


@dataclass(frozen=True)
class Stored:
    """One event in the inbox, as the API shows it."""

    id: str
    dedupe_key: str
    type: str
    state: str
    error: str | None
    received: int


@dataclass
class _Delivery:
    connection_id: str
    readings: Sequence[Reading]
    size: int
    done: asyncio.Future[None]


class Inbox:
    """Takes events. Its coroutines are for one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: list[_Delivery] = []
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None
        self._pressed_until = 0.0

    @property
    def is_pressed(self) -> bool:
        """Whether so many deliveries come that other work should let them go first."""
        return asyncio.get_running_loop().time() < self._pressed_until

    async def take(self, connection: Connection, readings: Sequence[Reading]) -> frozenset[str]:
        """Commit events. Returns the dedupe keys of those that are there now. Raises DatabaseError."""
        keys = frozenset(reading.event.dedupe_key for reading in readings)
        if not readings:
            return keys
        size = sum(len(reading.message.body) + 1000 for reading in readings)
        if self._waiting + size > MOST_WAITING:
            raise DatabaseError("locked", "too many webhooks wait for the database")
        delivery = _Delivery(connection.id, readings, size, asyncio.get_running_loop().create_future())
        self._queue.append(delivery)
        self._waiting += size
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await delivery.done
        except TimeoutError:
            raise DatabaseError("locked", "the database takes too long for a webhook") from None
        return keys

    async def _write(self) -> None:
        try:
            while self._queue:
                if self.is_pressed:
                    await self._gather()
                batch, self._queue = self._queue[:AT_ONCE], self._queue[AT_ONCE:]
                if len(batch) >= PRESSED_AT:
                    self._pressed_until = asyncio.get_running_loop().time() + PRESSED_SECONDS
                await self._write_together(batch)
                self._waiting -= sum(delivery.size for delivery in batch)
        finally:
            self._writer = None

    async def _gather(self) -> None:
        """Let deliveries come together, as long as more of them come."""
        deadline = asyncio.get_running_loop().time() + GATHER_SECONDS
        before = 0
        while before < len(self._queue) < AT_ONCE and asyncio.get_running_loop().time() < deadline:
            before = len(self._queue)
            await asyncio.sleep(GATHER_STEP)

    async def _write_together(self, batch: list[_Delivery], *, again: bool = True) -> None:
        try:
            async with self._database.writing() as sql:
                there = await _insert(sql, batch)
        except Duplicate as failure:
            if again:  # a connection was removed at this very moment; the next look does not find it
                await self._write_together(batch, again=False)
            else:
                _fail(batch, DatabaseError("failed", str(failure)))
        except Exception as failure:
            _fail(batch, failure)
        else:
            gone = [delivery for delivery in batch if delivery.connection_id not in there]
            _fail(gone, DatabaseError("failed", "the connection of a webhook was removed"))
            for delivery in batch:
                if not delivery.done.done():
                    delivery.done.set_result(None)

    async def list_page(
        self, connection_id: str, limit: int, before: str | None, state: str | None = None
    ) -> list[Stored]:
        """Read events, the newest first. before: the id of an event. Raises DatabaseError."""
        columns = [INBOX.c[name] for name in ("id", "dedupe_key", "type", "state", "error", "received")]
        found: list[Stored] = []
        async with self._database.reading() as sql:
            for each in STATES if state is None else (state,):  # each is in the order of its index
                query = select(*columns).where(INBOX.c.connection_id == connection_id, INBOX.c.state == each)
                if before is not None:
                    query = query.where(INBOX.c.id < before)
                found += [
                    Stored(*row) for row in await sql.execute(query.order_by(INBOX.c.id.desc()).limit(limit))
                ]
        return sorted(found, key=lambda event: event.id, reverse=True)[:limit]

    async def replay(self, connection_id: str, event_id: str) -> None:
        """Let an event be applied once more.

        Raises DatabaseError, Declined: event_unknown, event_emptied.
        """
        async with self._database.writing() as sql:
            size = await sql.execute(
                select(func.length(INBOX.c.body)).where(
                    INBOX.c.connection_id == connection_id, INBOX.c.id == event_id
                )
            )
            if size.scalar_one_or_none() == 0:
                raise Declined(
                    "event_emptied",
                    "What the event said was removed, because its customer was erased or its time was over.",
                )
            done = await sql.execute(
                update(INBOX)
                .where(INBOX.c.connection_id == connection_id, INBOX.c.id == event_id)
                .values(due=now(), attempts=0, state="received", error=None)
            )
        if not done.rowcount:
            raise Declined("event_unknown", "There is no such event in this connection's inbox.")


async def _insert(sql: AsyncConnection, batch: Sequence[_Delivery]) -> set[str]:
    """Insert the events of deliveries, all with one statement. Returns the connections that there are.

    The events of another connection, which was removed meanwhile, are left out.
    """
    asked = select(CONNECTION.c.id).where(CONNECTION.c.id.in_({each.connection_id for each in batch}))
    there = {identifier for (identifier,) in await sql.execute(asked)}
    moment = now()
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "connection_id": delivery.connection_id,
            "dedupe_key": reading.event.dedupe_key,
            "type": reading.event.type,
            "state": "received",
            "received": reading.message.received_at,
            "happened": reading.event.occurred_at,
            "due": moment,
            "headers": [list(pair) for pair in reading.message.headers],
            "body": reading.message.body,
        }
        for delivery in batch
        if delivery.connection_id in there
        for reading in delivery.readings
    ]
    if rows:
        statement = insert(sql, INBOX).on_conflict_do_nothing(index_elements=["connection_id", "dedupe_key"])
        await sql.execute(statement, rows)
    return there


def _fail(batch: list[_Delivery], failure: Exception) -> None:
    for delivery in batch:
        if not delivery.done.done():
            delivery.done.set_exception(failure)
        delivery.done.add_done_callback(lambda done: done.exception())  # nobody may wait for it any more

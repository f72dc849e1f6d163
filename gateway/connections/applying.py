"""Events of the inbox become facts of orders: at least once, in any order, as often as asked.

An event is applied in two steps. First its own facts, at once, in one transaction together with its state; a
crash before the commit leaves it due. Then, where an API key can tell more, what the API says; that may be
repeated for hours, and never delays what the event itself says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import aiohttp
from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections.repository import Connection, ConnectionRepository
from gateway.connections.sealing import SealError
from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.tables import INBOX, INBOX_REFERENCE
from gateway.database.types import now
from gateway.errors import DatabaseError
from gateway.orders.applying import apply_facts
from gateway.orders.fact_store import leads_of
from gateway.orders.facts import Fact
from gateway.orders.knowledge import split
from gateway.orders.order_writer import Source
from gateway.orders.privacy import empty_event
from gateway.platforms.clients.api import Api, ApiRefused, ApiUnavailable, new_session
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.fields import FieldFault
from gateway.platforms.interface import LookUp, Message, Reading, mode_fault
from gateway.platforms.registry import PLATFORMS
from gateway.runtime.background import repeat

AT_ONCE: Final = 50
"""Events that are looked for together."""
MOST_ATTEMPTS: Final = 20
"""Look-ups of one event. With pauses of up to an hour they last for 17 hours."""
LONGEST_PAUSE: Final = 3600.0
SEALED_PAUSE: Final = 60.0
"""Seconds after which an event is looked at again whose connection's secrets could not be read."""
GIVE_WAY: Final = 3.0
"""While the inbox is pressed, the pause after an event is so many times what it took to apply it."""
WAITED_FOR: Final = {"order": "the order", "customer": "an address of the customer", "mapping": "a mapping"}
NEEDS_KEY: Final = "the connection has no API key, and without one this event proves nothing"

_log = logging.getLogger("gateway.connections")


class Applier:
    """Applies what is due, when `wake` is called and now and then. For one event loop."""

    def __init__(
        self,
        database: Database,
        connections: ConnectionRepository,
        applied: Callable[[], None],
        *,
        is_pressed: Callable[[], bool] = lambda: False,
        allow_loopback: bool = False,
    ) -> None:
        """applied: called after each commit. allow_loopback: for shops on this machine.

        is_pressed: whether platforms wait for their answers. Applying then takes a quarter of the time, so
        that answers come first.
        """
        self._database = database
        self._connections = connections
        self._applied = applied
        self._is_pressed = is_pressed
        self._allow_loopback = allow_loopback
        self._wakes = asyncio.Event()

    def wake(self) -> None:
        """Look at the inbox now: something was committed."""
        self._wakes.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with new_session() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.apply_due, self._wakes))
            tasks.create_task(self._repeat(lambda: self.look_up_due(session), asyncio.Event()))

    async def _repeat(self, work: Callable[[], Awaitable[bool]], wakes: asyncio.Event) -> None:
        await repeat(work, wakes, (DatabaseError,), _log, "events of platforms cannot be applied now: %s")

    async def apply_due(self) -> bool:
        """Apply the own facts of some events. Returns whether there may be more. Raises DatabaseError."""
        rows = await self._due(INBOX.c.attempts == 0)
        for row in rows:
            began = time.monotonic()
            await self._work_on(row, self._apply(row))
            if self._is_pressed():
                await asyncio.sleep(GIVE_WAY * (time.monotonic() - began))
        return bool(rows)

    async def look_up_due(self, session: aiohttp.ClientSession) -> bool:
        """Ask the API about some events. Returns whether there may be more."""
        rows = await self._due(INBOX.c.attempts > 0)
        for row in rows:
            await self._work_on(row, self._look_up(row, session))
        return bool(rows)

    async def _work_on(self, row: Row[Any], work: Coroutine[Any, Any, None]) -> None:
        """Do some work for an event. Where its connection's secrets cannot be read, the event waits alone."""
        try:
            await work
        except SealError as failure:
            async with self._database.writing() as sql:
                later = now() + int(1000 * SEALED_PAUSE)
                same = INBOX.c.id == row.id, INBOX.c.due == row.due, INBOX.c.attempts == row.attempts
                await sql.execute(update(INBOX).where(*same).values(due=later, error=str(failure)))

    async def _due(self, which: Any) -> Sequence[Row[Any]]:
        async with self._database.reading() as sql:
            query = select(INBOX).where(INBOX.c.due <= now(), which).order_by(INBOX.c.due, INBOX.c.id)
            return (await sql.execute(query.limit(AT_ONCE))).all()

    async def _apply(self, row: Row[Any]) -> None:
        connection = await self._connections.find(row.connection_id)
        if connection is None:
            return  # removed meanwhile, and its inbox with it
        reading = read_row(row, connection)
        if reading is None:
            await self._settle(row, "failed", "it cannot be read any more")
            return
        why = mode_fault(reading.event.test, connection.live)
        if reading.fault is not None:
            await self._settle(row, "failed", reading.fault)
        elif reading.ignored is not None or why is not None:
            await self._settle(row, "ignored", reading.ignored or why)
        else:
            asks = bool(reading.look_ups) and bool(connection.api_key) and connection.kind in CLIENTS
            again = now() if asks else None
            if not any(each.required for each in reading.look_ups):
                await self._write(row, connection, reading.event.facts, again)
            elif asks:
                await self._settle(row, "received", None, again)
            else:
                await self._settle(row, "failed", NEEDS_KEY)

    async def _look_up(self, row: Row[Any], session: aiohttp.ClientSession) -> None:
        connection = await self._connections.find(row.connection_id)
        reading = None if connection is None else read_row(row, connection)
        if connection is None or reading is None:
            return
        try:
            facts = await self._ask(connection, reading.look_ups, session)
        except ApiUnavailable as failure:
            pause = min(max(failure.retry_after, 10.0 * 2 ** min(row.attempts, 10)), LONGEST_PAUSE)
            again = now() + int(pause * 1000) if row.attempts < MOST_ATTEMPTS else None
            await self._settle(row, row.state, str(failure), again=again)
        except (ApiRefused, FieldFault) as failure:
            required = any(each.required for each in reading.look_ups)
            await self._settle(row, "failed" if required else row.state, str(failure))
        else:
            await self._write(row, connection, facts, None)

    async def _ask(
        self, connection: Connection, look_ups: Sequence[LookUp], session: aiohttp.ClientSession
    ) -> list[Fact]:
        access = connection.access(allow_loopback=self._allow_loopback)
        if access is None:
            return []
        api = Api(session, access)
        found: list[Fact] = []
        for each in look_ups:
            found += await CLIENTS[connection.kind].look_up(api, each, now())
        return found

    async def _write(
        self,
        row: Row[Any],
        connection: Connection,
        facts: Sequence[Fact],
        again: int | None,
    ) -> None:
        source = Source(connection.id, connection.id)
        try:
            async with self._database.writing() as sql:
                if not await _claim(sql, row):
                    return
                applied = await apply_facts(sql, source, facts)
                if applied.forgotten:
                    await empty_event(sql, row.id)
                    again = None
                else:
                    await _refer(sql, row.id, facts)
                state = "waiting" if applied.waits else "applied"
                text = f"it waits for {_name(applied.waits)}" if applied.waits else None
                await _set(sql, row, state, text, again)
                if not applied.waits:
                    await _renew_waiting(sql, row)
        except DatabaseError:
            raise
        except Exception:
            _log.exception("an event of a platform cannot be applied: inbox %s", row.id)
            await self._settle(row, "failed", "a defect of the gateway; the log has more")
            return
        self._applied()

    async def _settle(self, row: Row[Any], state: str, error: str | None, again: int | None = None) -> None:
        async with self._database.writing() as sql:
            if await _claim(sql, row):
                await _set(sql, row, state, error, again)


def read_row(row: Row[Any], connection: Connection) -> Reading | None:
    """Read an event as the inbox has it. None where it is not one event, which cannot be."""
    headers = tuple((name, value) for name, value in row.headers)
    readings = PLATFORMS[connection.kind].read(Message(headers, row.body, row.received))
    return readings[0] if len(readings) == 1 else None


async def _claim(sql: AsyncConnection, row: Row[Any]) -> bool:
    """Whether the event is still as it was read. Of several processes, one goes on."""
    query = select(INBOX.c.id).where(
        INBOX.c.id == row.id, INBOX.c.due == row.due, INBOX.c.attempts == row.attempts
    )
    return (await sql.execute(query.with_for_update(skip_locked=True))).first() is not None


async def _set(sql: AsyncConnection, row: Row[Any], state: str, error: str | None, again: int | None) -> None:
    await sql.execute(
        update(INBOX)
        .where(INBOX.c.id == row.id)
        .values(state=state, error=error, due=again, attempts=row.attempts + 1)
    )


async def _refer(sql: AsyncConnection, inbox_id: str, facts: Sequence[Fact]) -> None:
    """Write down which orders and customers an event is about, so that erasing finds it."""
    leads = {(lead.kind, lead.value) for fact in facts for part in split(fact) for lead in leads_of(part)}
    if leads:
        rows = [{"inbox_id": inbox_id, "kind": kind, "value": value} for kind, value in sorted(leads)]
        await sql.execute(insert(sql, INBOX_REFERENCE).on_conflict_do_nothing(), rows)


async def _renew_waiting(sql: AsyncConnection, row: Row[Any]) -> None:
    """Look again at events that wait for what this one has told."""
    own = select(INBOX_REFERENCE.c.kind, INBOX_REFERENCE.c.value).where(INBOX_REFERENCE.c.inbox_id == row.id)
    leads = (await sql.execute(own.limit(100))).all()
    for kind, value in leads:
        about = select(INBOX_REFERENCE.c.inbox_id).where(
            INBOX_REFERENCE.c.kind == kind, INBOX_REFERENCE.c.value == value
        )
        await sql.execute(
            update(INBOX)
            .where(
                INBOX.c.connection_id == row.connection_id,
                INBOX.c.state == "waiting",
                INBOX.c.due.is_(None),
                INBOX.c.id != row.id,
                func.length(INBOX.c.body) > 0,
                INBOX.c.id.in_(about),
            )
            .values(due=now(), attempts=0)
        )


async def renew_connection(sql: AsyncConnection, connection_id: str) -> None:
    """Look again at all events of a connection that wait, after its mappings have changed."""
    await sql.execute(
        update(INBOX)
        .where(INBOX.c.connection_id == connection_id, INBOX.c.state == "waiting", INBOX.c.due.is_(None))
        .where(func.length(INBOX.c.body) > 0)
        .values(due=now(), attempts=0)
    )


def _name(waits: frozenset[str]) -> str:
    """What an event waits for, in words."""
    return " and ".join(words for each, words in WAITED_FOR.items() if each in waits)

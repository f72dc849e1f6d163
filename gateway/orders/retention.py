"""Removing what is older than the settings allow: a little at a time, all the while.

| what | after | what is left |
| --- | --- | --- |
| webhooks as they came | `retention.inbox` | key, type, state and times |
| webhooks that were ignored or failed | `retention.events` | nothing |
| changes, in the database and in the store | `retention.audit` | nothing |
| customers without an order and an entitlement | `retention.customers` | nothing |

A webhook that is still to be applied stays, however old it is. Facts are kept, so nothing else needs the
bodies. A pass looks at AT_ONCE rows in each transaction, and lets others work in between. Several processes
may do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, NoReturn

from sqlalchemy import delete, func, or_, select, update

from gateway.database.engine import Database
from gateway.database.tables import AUDIT, CUSTOMER, ENTITLEMENT, INBOX, ORDER
from gateway.database.types import now
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.store.client import StoreClient
from gateway.store.key_names import AUDIT_KEY

AT_ONCE: Final = 200
"""Rows of one transaction: with bodies of 1 MiB it writes as much as a small import."""
PAUSE_SECONDS: Final = 0.2
EVERY_SECONDS: Final = 3600.0
DAY: Final = 86_400_000

_log = logging.getLogger("gateway.orders")


class Days(NamedTuple):
    """The settings, in days."""

    inbox: int
    events: int
    audit: int
    customers: int


class Retention:
    """Removes what is too old. For one event loop."""

    def __init__(self, database: Database, client: StoreClient, days: Days) -> None:
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
                _log.warning("what is too old cannot be removed now: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def run_once(self, pause: float = 0.0) -> None:
        """Do one pass. pause: seconds between its steps. Raises DatabaseError, StoreUnavailable."""
        moment = now()
        steps: tuple[Callable[[int], Awaitable[bool]], ...] = (
            self._remove_events,
            self._empty_events,
            self._remove_changes,
        )
        for step in steps:
            while await step(moment):  # noqa: ASYNC110 - it is no waiting
                await asyncio.sleep(pause)
        await self._remove_customers(moment, pause)
        with contextlib.suppress(StoreUnavailable):  # a Redis that others run may not allow it
            oldest = max(0, moment - self._days.audit * DAY)
            await self._client.call("XTRIM", AUDIT_KEY, "MINID", oldest)

    async def _empty_events(self, moment: int) -> bool:
        old = (
            select(INBOX.c.id)
            .where(
                INBOX.c.received < moment - self._days.inbox * DAY,
                INBOX.c.due.is_(None),
                func.length(INBOX.c.body) > 0,
            )
            .order_by(INBOX.c.id)
            .limit(AT_ONCE)
        )
        async with self._database.writing() as sql:
            statement = update(INBOX).where(INBOX.c.id.in_(old)).values(body=b"", headers=[])
            done = await sql.execute(statement)
        return done.rowcount == AT_ONCE

    async def _remove_events(self, moment: int) -> bool:
        old = (
            select(INBOX.c.id)
            .where(
                INBOX.c.received < moment - self._days.events * DAY,
                INBOX.c.due.is_(None),
                INBOX.c.state.in_(("ignored", "failed")),
            )
            .order_by(INBOX.c.id)
            .limit(AT_ONCE)
        )
        async with self._database.writing() as sql:
            done = await sql.execute(delete(INBOX).where(INBOX.c.id.in_(old)))
        return done.rowcount == AT_ONCE

    async def _remove_changes(self, moment: int) -> bool:
        old = select(AUDIT.c.id).where(AUDIT.c.at < moment - self._days.audit * DAY).limit(AT_ONCE)
        async with self._database.writing() as sql:
            done = await sql.execute(delete(AUDIT).where(AUDIT.c.id.in_(old)))
        return done.rowcount == AT_ONCE

    async def _remove_customers(self, moment: int, pause: float) -> None:
        """Look at all customers, some after others, and remove those who have nothing."""
        last = ""
        while True:
            async with self._database.reading() as sql:
                page = select(CUSTOMER.c.id).where(CUSTOMER.c.id > last).order_by(CUSTOMER.c.id)
                ids = [each for (each,) in await sql.execute(page.limit(10 * AT_ONCE))]
            if not ids:
                return
            idle = (
                CUSTOMER.c.id.in_(ids),
                CUSTOMER.c.created < moment - self._days.customers * DAY,
                ~select(ORDER.c.id)
                .where(or_(ORDER.c.customer_id == CUSTOMER.c.id, ORDER.c.recipient_id == CUSTOMER.c.id))
                .exists(),
                ~select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == CUSTOMER.c.id).exists(),
            )
            async with self._database.reading() as sql:
                found = [each for (each,) in await sql.execute(select(CUSTOMER.c.id).where(*idle))]
            if found:
                async with self._database.writing() as sql:
                    await sql.execute(delete(CUSTOMER).where(CUSTOMER.c.id.in_(found), *idle[1:]))
            last = ids[-1]
            await asyncio.sleep(pause)

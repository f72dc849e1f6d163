"""After an erasure, the files behind the database and the store are written anew, without the person.

That there is something to clean is a row of the table `state`, written in the erasure's own transaction. So
it is done after a crash, too, by whichever process looks first. Several erasures are cleaned up after
together, and the work takes at most a tenth of the time, since the database writes nothing else meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.cleaning import rewrite
from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.tables import STATE
from gateway.database.types import new_id
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.runtime.background import repeat
from gateway.store.client import StoreClient
from gateway.store.log_rewriting import rewrite_log

STATE_NAME: Final = "cleaning"
TABLES: Final = (
    "customer",
    "customer_email",
    "seat",
    "order",
    "order_line",
    "line_item",
    "order_reference",
    "entitlement",
    "fact",
    "inbox",
    "inbox_reference",
    "token",
    "download",
    "usage_customer",
    "webhook_event",
    "outbox_webhook",
    "outbox_mail",
)
"""What an erasure changes."""
PAUSES: Final = 10.0
"""After a cleaning of a second, the next one begins ten seconds later at the earliest."""
RETRY_SECONDS: Final = 20.0

_log = logging.getLogger("gateway.orders")


async def ask_to_clean(sql: AsyncConnection) -> None:
    """Write down that there is something to clean, within the caller's transaction."""
    value = {"asked": new_id()}
    statement = insert(sql, STATE).values(name=STATE_NAME, value=value)
    await sql.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


async def _asked(database: Database) -> Any:
    async with database.reading() as sql:
        found = await sql.execute(select(STATE.c.value).where(STATE.c.name == STATE_NAME))
        return found.scalar_one_or_none()


async def clean(database: Database, client: StoreClient) -> bool:
    """Clean, if it was asked for. Returns whether it was. Raises DatabaseError, StoreUnavailable."""
    asked = await _asked(database)
    if asked is None:
        return False
    await rewrite_log(client)
    await rewrite(database, TABLES)
    async with database.writing() as sql:  # what was asked for meanwhile is still to be done
        await sql.execute(delete(STATE).where(STATE.c.name == STATE_NAME, STATE.c.value == asked))
    return True


class Cleaner:
    """Cleans when `wake` is called and now and then. For one event loop."""

    def __init__(self, database: Database, client: StoreClient) -> None:
        self._database = database
        self._client = client
        self._wakes = asyncio.Event()
        self._next = 0.0

    def wake(self) -> None:
        """Look at once: something was erased."""
        self._wakes.set()

    async def run(self) -> None:
        """Work until cancelled."""
        faults = (DatabaseError, StoreUnavailable)
        message = "files cannot be written anew without what was erased: %s"
        await repeat(self._clean, self._wakes, faults, _log, message)

    async def _clean(self) -> bool:
        if time.monotonic() < self._next:
            return False
        begin = time.monotonic()
        self._next = begin + RETRY_SECONDS  # should it fail
        await clean(self._database, self._client)
        self._next = time.monotonic() + PAUSES * (time.monotonic() - begin)
        return False

    async def wait(self, seconds: float) -> None:
        """Wait until everything is clean, but no longer than this."""
        self.wake()
        with contextlib.suppress(TimeoutError, DatabaseError):
            async with asyncio.timeout(seconds):
                while await _asked(self._database) is not None:  # noqa: ASYNC110 - another process may do it
                    await asyncio.sleep(0.05)

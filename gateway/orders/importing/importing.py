"""Writing the orders of a file: in many small transactions, beside a gateway that runs.

Each transaction has some hundred orders, and is followed by a pause: on SQLite one writes at a time, and
webhooks and links must not wait for an import. One that is broken off leaves whole orders, and the next
import of the file goes on, because what is there already is left alone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.tables import CONNECTION, PRODUCT, STATE, VERSION
from gateway.database.types import now
from gateway.errors import DatabaseError, Declined
from gateway.orders.facts import OrderSnapshot
from gateway.orders.importing.writer import Written, write_orders

AT_ONCE: Final = 200
"""Orders of one transaction. It takes a tenth of a second."""
MOST_LINES_AT_ONCE: Final = 2000
"""Lines of one transaction, or those of one order."""
PAUSE: Final = 0.25
"""How long others may write after a transaction, as a part of the time that it took."""
ATTEMPTS: Final = 6
"""How often a transaction is tried while the database is locked, each time after waiting for its lock."""
KEY: Final = "import"
"""The row of `state` with what hides customers in ids that are made from rows."""


async def read_products(database: Database) -> dict[str, frozenset[str]]:
    """The versions of each product. Raises DatabaseError."""
    found: dict[str, set[str]] = {}
    async with database.reading() as sql:
        for (identifier,) in await sql.execute(select(PRODUCT.c.id)):
            found[identifier] = set()
        for product, version in await sql.execute(select(VERSION.c.product, VERSION.c.version)):
            found.setdefault(product, set()).add(version)
    return {identifier: frozenset(versions) for identifier, versions in found.items()}


async def read_secret(database: Database) -> bytes:
    """What hides customers in ids that are made from rows; it is made at the first time."""
    query = select(STATE.c.value).where(STATE.c.name == KEY)
    async with database.reading() as sql:
        known: str | None = (await sql.execute(query)).scalar_one_or_none()
    if known is None:
        async with database.writing() as sql:
            new = insert(sql, STATE).values(name=KEY, value=secrets.token_hex(32))
            await sql.execute(new.on_conflict_do_nothing())
            known = (await sql.execute(query)).scalar_one()
    return bytes.fromhex(known)


async def check_source(database: Database, source: str) -> None:
    """Raises Declined where a connection has this name: it tells of its orders itself."""
    async with database.reading() as sql:
        if (await sql.execute(select(CONNECTION.c.id).where(CONNECTION.c.id == source))).first():
            raise Declined("source_taken", "the source is a connection, which tells of its orders itself")


async def write_all(
    database: Database,
    source: str,
    snapshots: Iterable[OrderSnapshot],
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """Write orders. progress: is told how many were written since the last time. Raises DatabaseError."""
    total = Written()
    for batch in _batches(snapshots):
        begin = time.monotonic()
        total += await _write(database, source, batch)
        progress(len(batch))
        await asyncio.sleep(PAUSE * (time.monotonic() - begin))
    return total


async def _write(database: Database, source: str, batch: list[OrderSnapshot]) -> Written:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with database.writing() as sql:
                return await write_orders(sql, source, batch, now())
        except DatabaseError as error:
            if error.kind != "locked" or attempt == ATTEMPTS:
                raise
    raise AssertionError


def _batches(snapshots: Iterable[OrderSnapshot]) -> Iterator[list[OrderSnapshot]]:
    batch: list[OrderSnapshot] = []
    lines = 0
    for snapshot in snapshots:
        count = len(snapshot.lines or ())
        if batch and (len(batch) == AT_ONCE or lines + count > MOST_LINES_AT_ONCE):
            yield batch
            batch, lines = [], 0
        batch.append(snapshot)
        lines += count
    if batch:
        yield batch

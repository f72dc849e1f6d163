"""Fills an empty database with many rows, as fast as its driver takes them: by the tables' own columns.

Indexes are dropped before and made again afterwards, and nothing waits for the disk. What a seller makes by
hand (products, connections, an endpoint, users) is made by the gateway's own functions, and so is Redis.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy import Index, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex, DropIndex

from bench.pages.shop import Row, Shop
from bench.pages.traffic import Traffic
from gateway.database.engine import Database
from gateway.database.tables import METADATA
from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.day_totals import LEVELS, SUMS

AT_ONCE: Final = 20_000
"""Rows of one table that are handed to the driver together."""
TABLES: Final = (
    *("customer", "customer_email", "order", "order_line", "entitlement"),
    *("inbox", "outbox_mail", "webhook_event", "outbox_webhook"),
    *("usage_file", "token", "link", "series", "token_series", "download", "usage_day"),
)
"""What is filled, so that what a row refers to is there before it."""
PROGRESS_ROWS: Final = 1_000_000

Write = Callable[[str, Sequence[Row]], Awaitable[None]]
Report = Callable[[str], None]


class Driver(NamedTuple):
    """What a driver does without any layer above it: write rows of a table, and run a statement."""

    write: Write
    run: Callable[[str], Awaitable[None]]


def indexes() -> Iterator[Index]:
    """The indexes of the tables that are filled, but for those of keys."""
    for name in TABLES:
        yield from METADATA.tables[name].indexes


def columns_of(name: str) -> list[str]:
    """The columns of a table, in the order of its definition, in which rows have their values."""
    return [column.name for column in METADATA.tables[name].columns]


async def fill(database: Database, shop: Shop, report: Report) -> dict[str, int]:
    """Fill the tables. Returns how many rows each got. Raises DatabaseError."""
    counts: dict[str, int] = {}
    async with database.writing() as sql:
        for index in indexes():
            await sql.execute(DropIndex(index))
    dialect = database.engine.dialect
    async with _sqlite(database) if database.location.is_sqlite else _postgres(database) as driver:
        for rows in (shop.customers(), shop.orders(), shop.events()):
            await _write_all(rows, driver.write, counts, report)
        traffic = Traffic(shop)
        for part in (traffic.files(), traffic.downloads()):
            await _write_all(part, driver.write, counts, report)
        report("making the indexes")
        for index in indexes():
            await driver.run(str(CreateIndex(index).compile(dialect=dialect)))
    async with database.migrating() as sql:
        await _add_totals(sql)
    await _settle(database)
    return counts


async def _write_all(
    rows: Iterator[dict[str, Any]], write: Write, counts: dict[str, int], report: Report
) -> None:
    """Write rows, so many of a table at once, and a table before those that refer to it."""
    waiting: dict[str, list[Row]] = {name: [] for name in TABLES}
    done = sum(counts.values())
    due = done + PROGRESS_ROWS

    async def flush() -> None:
        nonlocal done, due
        for name, some in waiting.items():
            if some:
                await write(name, some)
                counts[name] = counts.get(name, 0) + len(some)
                done += len(some)
                waiting[name] = []
        if done >= due:
            due = done + PROGRESS_ROWS
            report(f"{done:,} rows")

    for number, group in enumerate(rows, 1):
        for name, found in group.items():
            if isinstance(found, list):
                waiting[name] += found
            else:
                waiting[name].append(found)
        if number % (AT_ONCE // 5) == 0:
            await flush()
    await flush()


@contextlib.asynccontextmanager
async def _sqlite(database: Database) -> AsyncIterator[Driver]:
    assert database.location.path is not None
    connection = sqlite3.connect(database.location.path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-1000000"):
        connection.execute(f"PRAGMA {pragma}")
    statements = {
        name: f'INSERT INTO "{name}" ({",".join(names)}) VALUES ({",".join("?" * len(names))})'
        for name in TABLES
        for names in [columns_of(name)]
    }

    async def write(name: str, rows: Sequence[Row]) -> None:
        connection.executemany(statements[name], rows)

    async def run(statement: str) -> None:
        connection.execute(statement)

    try:
        connection.execute("BEGIN")
        yield Driver(write, run)
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def _postgres(database: Database) -> AsyncIterator[Driver]:
    connection = await asyncpg.connect(
        database.location.dsn, server_settings={"synchronous_commit": "off", "maintenance_work_mem": "256MB"}
    )

    async def write(name: str, rows: Sequence[Row]) -> None:
        await connection.copy_records_to_table(name, records=rows, columns=columns_of(name))

    async def run(statement: str) -> None:
        await connection.execute(statement)

    try:
        yield Driver(write, run)
    finally:
        await connection.close()


async def _add_totals(sql: AsyncConnection) -> None:
    """Add the days up, as gateway.usage.day_totals keeps them."""
    names = ("product", "version", "client")
    for number, level in enumerate(LEVELS):
        kept = [USAGE_DAY.c[name] if name in level.kept else literal("").label(name) for name in names]
        day = USAGE_DAY.c.day - USAGE_DAY.c.day % literal_column(str(level.days))
        sums = [func.sum(USAGE_DAY.c[name]) for name in SUMS]
        added = select(literal(number), day, *kept, *sums)
        added = added.group_by(day, *(USAGE_DAY.c[name] for name in names if name in level.kept))
        columns = [column.name for column in USAGE_TOTAL.columns]
        await sql.execute(USAGE_TOTAL.insert().from_select(columns, added))


async def _settle(database: Database) -> None:
    """Let PostgreSQL know its tables, as its own service does after a while. SQLite has none."""
    if database.location.is_sqlite:
        return
    connection = await asyncpg.connect(database.location.dsn)
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()

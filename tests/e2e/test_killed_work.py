"""`kill -9` of a migration and of an import: what was whole stays, and the next start does the rest.

Each is a process of its own, and every moment is forced (`tests/support/faults.py`): the process kills itself
after a statement that was chosen.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, event, insert, select, text

from gateway.catalogue.catalogue import Catalogue
from gateway.database.engine import Database
from gateway.database.migrating import CHAIN, migrate, read_state, steps_of
from gateway.orders.importing.importing import AT_ONCE
from gateway.tokens.repositories import Repositories
from tests.support.console import Gateway
from tests.support.control_plane import manifest
from tests.support.databases import Databases, url_of
from tests.support.faults import STATEMENT, Faults
from tests.support.store_server import StoreServer

OLD = "0004"
"""The revision of the older database: between it and the newest one, tables are made, changed and filled."""
ORDERS = 5000
"""More than SQLite's cache of pages holds: a migration that is killed has written into the file already."""
KILLS = (0.3, 0.8, 1)
"""Where a migration is killed, as a part of its statements; after the last one it is not committed yet."""


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "faults")


@pytest.fixture
def database(empty_database: Database) -> Database:
    """A database without tables: a test makes those of an older version, or the newest."""
    return empty_database


@pytest.fixture
def gateway(database: Database, faults: Faults, store: StoreServer, tmp_path: Path) -> Gateway:
    """Commands on that database, which can be killed."""
    variables = {"GATEWAY_REDIS_URL": store.url, "GATEWAY_DATABASE_URL": url_of(database.location)}
    return Gateway(tmp_path, {**variables, **faults.variables})


async def age(database: Database, tmp_path: Path) -> None:
    """Give a database the tables of the older version, and orders that were paid for."""
    chain = tmp_path / "older"
    shutil.copytree(CHAIN, chain)
    for later in (path for path in (chain / "versions").glob("v*.py") if path.name[1:5] > OLD):
        later.unlink()
    await migrate(database, chain)
    async with database.writing() as connection:
        await connection.run_sync(fill)


def fill(connection: Connection) -> None:
    known = MetaData()
    known.reflect(connection, only=["customer", "product", "order", "order_line", "entitlement"])

    def add(table: str, rows: list[dict[str, Any]]) -> None:
        connection.execute(insert(known.tables[table]), rows)

    dated = {"created": 7, "updated": 8}
    add("customer", [{"id": "c", "name": "Jo", "created": 1}])
    add("product", [{"id": "drums", "name": "Drums", "status": "active", "revision": 1, "created": 7}])
    order = {
        "source": "shop",
        "customer_id": "c",
        "status": "paid",
        "placed": 5,
        "details": "x" * 500,
        **dated,
    }
    numbers = [str(number) for number in range(ORDERS)]
    add("order", [{"id": number, "external_id": number, **order} for number in numbers])
    line = {"external_id": "1", "position": 0, "quantity": 1}
    add("order_line", [{"id": number, "order_id": number, **line} for number in numbers])
    one = {
        "customer_id": "c",
        "product_id": "drums",
        "scope": "all",
        "bought": 1,
        "base": "active",
        "quantity": 1,
    }
    one |= {"status": "active", "reasons": "", "enforced": "active", **dated}
    add("entitlement", [{"id": number, "line_id": number, **one} for number in numbers])


async def orders_of(database: Database) -> list[tuple[Any, ...]]:
    def read(connection: Connection) -> list[tuple[Any, ...]]:
        table = Table("order", MetaData(), autoload_with=connection)
        columns = [column for column in table.c if column.name != "ready"]
        return [tuple(row) for row in connection.execute(select(*columns).order_by(table.c.id))]

    async with database.reading() as connection:
        return await connection.run_sync(read)


async def has_no_lock(database: Database) -> bool:
    """Whether another process may write at once, and change tables."""
    if database.location.path is not None:
        other = sqlite3.connect(database.location.path, timeout=0, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        other.close()
        return True
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    async with database.reading() as connection:
        return bool(await connection.scalar(text(held)) == 0)


async def killed(gateway: Gateway, *words: str | Path) -> None:
    process = gateway.start(*words)
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL


@pytest.mark.slow
async def test_a_migration_that_is_killed_at_any_statement_is_made_by_the_next_one(
    database: Database, databases: Databases, gateway: Gateway, faults: Faults, tmp_path: Path
) -> None:
    await age(database, tmp_path)
    before = await orders_of(database)
    count = await count_statements(databases, tmp_path / "counted")
    written = []
    for part in KILLS:
        await database.close()
        faults.arm(STATEMENT, int(part * count) - 1)
        await killed(gateway, "database", "migrate")
        if (file := database.location.path) is not None:
            journal = file.with_name(file.name + "-journal")
            written.append(journal.exists() and journal.stat().st_size > 0)
        assert await orders_of(database) == before
        assert (await read_state(database)).current == OLD
    assert database.location.path is None or any(written), "the file was half changed at no moment"
    faults.arm("migration.committed")
    await killed(gateway, "database", "migrate")
    assert gateway.json("database", "migrate")["applied"] == []
    await is_whole(database, before)


async def count_statements(databases: Databases, folder: Path) -> int:
    """How many statements of SQL the same migration has before its transaction ends."""
    location = await databases.make(empty=True)
    counted = 0

    def count(*_: Any) -> None:
        nonlocal counted
        counted += 1

    async with Database.of(location) as other:
        await age(other, folder)
        event.listen(Engine, "after_cursor_execute", count)
        try:
            await migrate(other)
        finally:
            event.remove(Engine, "after_cursor_execute", count)
    await databases.remove(location)
    return counted


async def is_whole(database: Database, before: list[tuple[Any, ...]]) -> None:
    state = await read_state(database)
    assert (state.current, state.pending) == (steps_of(CHAIN)[-1], ())
    assert await orders_of(database) == before
    async with database.reading() as connection:
        ready = 'SELECT count(*) FROM "order" WHERE ready = created'
        assert await connection.scalar(text(ready)) == ORDERS, "what a step fills in is filled in"
    await database.close()
    assert await has_no_lock(database)


@pytest.mark.slow
async def test_an_import_that_is_killed_goes_on_when_it_is_started_again(
    database: Database, gateway: Gateway, faults: Faults, store: StoreServer, tmp_path: Path
) -> None:
    await migrate(database)
    async with Repositories.connect(store.url, 10) as link:
        await Catalogue(database, link).register(manifest("drums", "1.0"))
    batches = 4
    people = range(batches * AT_ONCE)
    file = tmp_path / "past.csv"
    # every second row has no number of an order: its id is made from the row
    rows = [
        f"person{number}@example.com,drums,{number % 3 + 1},{number if number % 2 else ''}"
        for number in people
    ]
    file.write_text("\n".join(["email,productId,quantity,orderId", *rows]) + "\n")
    kept = 0
    for point, passes, whole in (
        ("import.inserted", 1, 1),
        ("import.written", 1, 2),
        (STATEMENT, 30, None),
        ("import.finished", 0, batches),
    ):
        await database.close()
        faults.arm(point, passes)
        await killed(gateway, "order", "import", file)
        first, *others = await counts_of(database)
        assert others == [first] * len(others), point
        assert first % AT_ONCE == 0, "whole transactions"
        assert first >= kept
        assert whole is None or first == whole * AT_ONCE, point
        kept = first
    assert gateway.json("order", "import", file)["imported"] == {
        "new": 0,
        "changed": 0,
        "same": len(people),
        "waiting": 0,
    }
    async with database.reading() as connection:
        sold = "SELECT sum(quantity) FROM entitlement"
        assert await connection.scalar(text(sold)) == sum(number % 3 + 1 for number in people)
    await database.close()
    assert await has_no_lock(database)


async def counts_of(database: Database) -> list[int]:
    """How many orders, lines, customers, addresses and entitlements there are."""
    tables = ("order", "order_line", "customer", "customer_email", "entitlement")
    async with database.reading() as connection:
        return [await connection.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0 for table in tables]

"""Transactions on both engines, and what a database says when it cannot be used."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text

from gateway.config.database_url import DatabaseLocation, locate_database
from gateway.database.engine import Database
from gateway.database.errors import DatabaseError, Duplicate
from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, STATE
from tests.support.postgres import PostgresServer
from tests.support.processes import ROOT

PERSON = "ada@example.com"


async def add(database: Database, name: str, value: object) -> None:
    async with database.writing() as connection:
        await connection.execute(STATE.insert().values(name=name, value=value))


async def names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return [
            str(row.name) for row in await connection.execute(select(STATE.c.name).order_by(STATE.c.name))
        ]


async def test_what_is_committed_is_there_and_what_fails_is_not(database: Database) -> None:
    await add(database, "kept", 1)

    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(STATE.insert().values(name="lost", value=2))
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        await fail()
    assert await names(database) == ["kept"]


async def test_an_error_of_the_caller_is_not_taken_for_one_of_the_database(database: Database) -> None:
    with pytest.raises(FileNotFoundError):
        async with database.writing():
            raise FileNotFoundError("ours")


async def test_a_row_that_is_there_is_a_duplicate_and_its_values_are_not_told(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(CUSTOMER.insert().values(id="c1", created=1))
    row = {"email": PERSON, "customer_id": "c1", "written": PERSON, "main": True, "created": 1}

    async def add_both(wrong: dict[str, object]) -> None:
        async with database.writing() as connection:
            await connection.execute(CUSTOMER_EMAIL.insert().values(row))
            await connection.execute(CUSTOMER_EMAIL.insert().values(wrong))

    for wrong in (row, {**row, "email": "other@example.com", "customer_id": "c2"}):
        with pytest.raises(Duplicate) as raised:
            await add_both(wrong)
        assert "example.com" not in str(raised.value)


async def test_a_failed_statement_tells_no_value(database: Database) -> None:
    with pytest.raises(DatabaseError) as raised:
        async with database.writing() as connection:
            await connection.execute(text("SELECT :value FROM nowhere"), {"value": PERSON})
    assert raised.value.kind == "outdated"
    assert PERSON not in str(raised.value)
    assert "a table" in str(raised.value), "our own words, not the driver's"
    assert "nowhere" not in str(raised.value)


async def test_an_insert_may_do_nothing_or_update(database: Database) -> None:
    await add(database, "a", 1)
    async with database.writing() as connection:
        same = insert(connection, STATE).values(name="a", value=2)
        await connection.execute(same.on_conflict_do_nothing())
        assert await connection.scalar(select(STATE.c.value)) == 1
        await connection.execute(same.on_conflict_do_update(index_elements=["name"], set_={"value": 2}))
        assert await connection.scalar(select(STATE.c.value)) == 2


async def test_writers_of_one_process_wait_for_each_other(database: Database) -> None:
    await add(database, "count", 0)

    async def step() -> None:
        async with database.writing() as connection:
            query = select(STATE.c.value).where(STATE.c.name == "count").with_for_update()
            value = await connection.scalar(query)
            assert isinstance(value, int)
            await connection.execute(STATE.update().values(value=value + 1))

    await asyncio.gather(*(step() for _ in range(40)))
    async with database.reading() as connection:
        assert await connection.scalar(select(STATE.c.value)) == 40


async def test_rows_that_another_one_works_on_are_skipped(database: Database) -> None:
    """The way background work is shared by several web processes; SQLite has one writer, which waits."""
    for name in ("a", "b"):
        await add(database, name, 0)
    query = select(STATE.c.name).order_by(STATE.c.name).limit(1).with_for_update(skip_locked=True)
    async with database.writing() as first:
        assert await first.scalar(query) == "a"
        if not database.location.is_sqlite:
            async with database.writing() as second:
                assert await second.scalar(query) == "b"


async def test_a_reader_sees_one_state_of_the_database(database: Database) -> None:
    async with database.reading() as connection:
        count = text("SELECT count(*) FROM state")
        assert await connection.scalar(count) == 0
        if not database.location.is_sqlite:  # SQLite's writers wait for its readers
            await add(database, "later", 1)
        assert await connection.scalar(count) == 0


async def test_sqlite_is_safe_from_power_cuts_and_other_users(tmp_path: Path) -> None:
    location = locate_database(f"sqlite:///{tmp_path}/new/it.db", tmp_path)
    async with Database.of(location) as database, database.reading() as connection:
        found = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new/it.db").stat().st_mode) == 0o600


async def test_a_locked_file_is_waited_for_and_then_told(tmp_path: Path) -> None:
    location = locate_database(None, tmp_path)
    async with Database.of(location) as one, Database.of(location, busy_seconds=0.1) as other:
        async with one.writing():
            with pytest.raises(DatabaseError, match="is locked") as raised:
                async with other.writing():
                    raise AssertionError
        assert raised.value.kind == "locked"
        async with other.writing():
            pass


async def test_a_full_disk_is_told_and_loses_nothing(database: Database) -> None:
    """SQLite is given few pages; PostgreSQL says what it says of a full disk."""
    await add(database, "kept", 1)

    async def fill() -> None:
        async with database.writing() as connection:
            if database.location.is_sqlite:
                await connection.execute(text("PRAGMA max_page_count=1"))
                await connection.execute(STATE.insert().values(name="lost", value="x" * 1_000_000))
            else:
                await connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$"))

    with pytest.raises(DatabaseError, match="its disk is full") as raised:
        await fill()
    assert raised.value.kind == "full"
    assert await names(database) == ["kept"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"not a database, " * 300, "damaged"), (None, "unreachable"), ("folder", "unreachable")],
)
async def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: object, kind: str) -> None:
    path = tmp_path / "it.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is None:
        path = tmp_path / "file" / "it.db"
        path.parent.write_bytes(b"")
    else:
        path.mkdir()
    with pytest.raises(DatabaseError, match=str(path)) as raised:
        async with Database.of(DatabaseLocation(path, str(path))) as database, database.reading():
            pass
    assert raised.value.kind == kind
    assert "\n" not in str(raised.value)


async def test_a_postgresql_that_stops_is_told_at_once_and_used_again(own_postgres: PostgresServer) -> None:
    location = locate_database(own_postgres.url(), Path())
    async with Database.of(location) as database:
        async with database.writing() as connection:
            await connection.execute(text("SELECT 1"))
        own_postgres.stop()
        with pytest.raises(DatabaseError) as raised:
            async with database.writing():
                raise AssertionError
        assert raised.value.kind == "unreachable"
        own_postgres.start()

        async def stop_in_the_middle() -> None:
            async with database.writing() as connection:
                await connection.execute(text("SELECT 1"))
                own_postgres.stop()
                await connection.execute(text("SELECT 1"))

        with pytest.raises(DatabaseError) as raised:
            await stop_in_the_middle()
        assert raised.value.kind == "unreachable"
        own_postgres.start()
        own_postgres.send_signal(signal.SIGHUP)
        async with database.writing() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (("/postgres?", "/nothing?"), "unreachable"),
        (("gateway@", "somebody:hunter2@"), "refused"),
        (("?host=", "?host=/nowhere"), "unreachable"),
        (("?host=", "?sslmode=hunter2&host="), "unreachable"),
    ],
)
async def test_a_postgresql_that_does_not_let_us_in_is_told(
    postgres: PostgresServer, change: tuple[str, str], kind: str
) -> None:
    location = locate_database(postgres.url().replace(*change), Path())
    with pytest.raises(DatabaseError) as raised:
        async with Database.of(location) as database, database.reading():
            pass
    assert raised.value.kind == kind
    assert "hunter2" not in str(raised.value)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy import text
from gateway.config.database_url import locate_database
from gateway.database.engine import Database
from gateway.database.tables import STATE

async def main():
    database = Database.of(locate_database(sys.argv[1], Path()))
    async with database.writing() as connection:
        await connection.execute(STATE.insert().values(name="kept", value=1))
    async with database.writing() as connection:
        await connection.execute(STATE.insert().values(name="lost", value=1))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_killed_process_loses_only_what_it_had_not_committed(database: Database) -> None:
    url = database.location.dsn or f"sqlite:///{database.location.path}"
    run = partial(subprocess.run, [sys.executable, "-c", KILLED, url], cwd=ROOT, check=False)
    assert (await asyncio.to_thread(run)).returncode == -signal.SIGKILL
    assert await names(database) == ["kept"]

"""Migrations on both engines: made once, whole or not at all, and never by an older program."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, insert, inspect, text

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.migrating import CHAIN, migrate, open_database, prepare, read_state, steps_of
from gateway.database.tables import METADATA
from tests.support.databases import Databases, url_of
from tests.support.processes import ROOT

SECOND = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "HEAD"

def upgrade():
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    with op.batch_alter_table("product") as batch:
        batch.add_column(sa.Column("later", sa.Text(), nullable=True))
        batch.alter_column("name", new_column_name="title")
    op.execute("UPDATE product SET later = 'yes'")
    if os.environ.get("KILL_IN_THE_MIDDLE"):
        os.kill(os.getpid(), signal.SIGKILL)
"""

STEPS = tuple(sorted(path.name[1:5] for path in (CHAIN / "versions").glob("v*.py")))
"""The steps of the chain, by the numbers in the names of their files."""

MIGRATE = """
import asyncio, sys
from pathlib import Path
from typing import Any
from gateway.config.database_url import locate_database
from gateway.database.engine import Database
from gateway.database.migrating import prepare

async def main():
    async with Database.of(locate_database(sys.argv[1], Path())) as database:
        await prepare(database, chain=Path(sys.argv[2]))

asyncio.run(main())
"""


@pytest.fixture
def longer_chain(tmp_path: Path) -> Path:
    """The chain of a later version of the program."""
    chain = tmp_path / "100 % later"
    shutil.copytree(CHAIN, chain)
    (chain / "versions" / "v9999_later.py").write_text(SECOND.replace("HEAD", STEPS[-1]))
    return chain


def start(database: Database, chain: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program that makes the database ready."""
    command = [sys.executable, "-c", MIGRATE, url_of(database.location), str(chain)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})


async def tables(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


@pytest.mark.slow
async def test_the_chain_makes_the_tables_that_the_code_has(empty_database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    assert await migrate(empty_database) == STEPS
    async with empty_database.reading() as connection:
        assert await connection.run_sync(differences) == []
    assert await migrate(empty_database) == ()
    state = await read_state(empty_database)
    assert (state.current, state.pending, state.is_known) == (STEPS[-1], (), True)


def test_the_steps_are_those_that_alembic_reads(longer_chain: Path) -> None:
    for chain in (CHAIN, longer_chain):
        read = [step.revision for step in ScriptDirectory(str(chain)).walk_revisions()]
        assert list(steps_of(chain)) == read[::-1]


@pytest.mark.slow
def test_the_web_process_does_not_import_alembic_until_a_step_is_missing() -> None:
    program = "import sys, gateway.web.service, gateway.cli.app; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.slow
async def test_several_processes_that_start_together_migrate_once(empty_database: Database) -> None:
    started = [start(empty_database, CHAIN) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert (await read_state(empty_database)).pending == ()


@pytest.mark.slow
async def test_a_migration_that_is_killed_leaves_nothing_and_is_made_by_the_next_start(
    database: Database, longer_chain: Path
) -> None:
    before = await tables(database)
    async with database.writing() as connection:
        row = "INSERT INTO product VALUES ('p', 'Name', 'active', NULL, 1, 1)"
        await connection.execute(text(row))
    killed = start(database, longer_chain, KILL_IN_THE_MIDDLE="1")
    assert await asyncio.to_thread(killed.wait) == -signal.SIGKILL
    assert await tables(database) == before
    assert (await read_state(database, longer_chain)).pending == ("9999",)
    async with database.reading() as connection:
        assert await connection.scalar(text("SELECT name FROM product")) == "Name"
    await database.close()
    assert await asyncio.to_thread(start(database, longer_chain).wait) == 0
    assert await tables(database) == {*before, "later"}
    async with database.reading() as connection:
        found = (await connection.execute(text("SELECT title, later FROM product"))).one()
    assert tuple(found) == ("Name", "yes")


@pytest.mark.slow
async def test_a_first_migration_that_is_killed_leaves_an_empty_database(
    empty_database: Database, longer_chain: Path
) -> None:
    killed = start(empty_database, longer_chain, KILL_IN_THE_MIDDLE="1")
    assert await asyncio.to_thread(killed.wait) == -signal.SIGKILL
    assert await tables(empty_database) == set()
    await prepare(empty_database)
    assert (await read_state(empty_database)).current == STEPS[-1]


async def test_a_newer_database_is_refused_in_one_line(database: Database, longer_chain: Path) -> None:
    await migrate(database, longer_chain)
    for use in (prepare, migrate):
        with pytest.raises(
            DatabaseError, match=r"newer version of this program \(migration 9999\)"
        ) as raised:
            await use(database)
        assert raised.value.kind == "newer"
        assert "\n" not in str(raised.value)


async def test_a_start_that_may_not_migrate_names_the_command(database: Database, longer_chain: Path) -> None:
    with pytest.raises(DatabaseError, match=r"run: download-gateway database migrate$") as raised:
        await prepare(database, migrates=False, chain=longer_chain)
    assert raised.value.kind == "outdated"
    await prepare(database, migrates=False)


async def test_an_empty_database_is_made_in_any_case(databases: Databases, tmp_path: Path) -> None:
    location = await databases.make(empty=True)
    settings = Settings(data=tmp_path, database_url=url_of(location), database_migrate=False)
    async with open_database(settings) as database:
        assert "product" in await tables(database)
    await databases.remove(location)


async def test_a_start_does_not_wait_for_ever_for_another_migration(
    database: Database, longer_chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.database.engine.MIGRATION_SECONDS", 0.2)
    async with database.migrating():
        with pytest.raises(DatabaseError, match="is locked") as raised:
            await prepare(database, chain=longer_chain)
    assert raised.value.kind == "locked"


async def test_what_is_there_gets_the_columns_of_large_shops(
    empty_database: Database, tmp_path: Path
) -> None:
    """Lines get the source of their order, and downloads the mark of a token of no purchase."""
    chain = tmp_path / "older"
    shutil.copytree(CHAIN, chain)
    for later in (path for path in (chain / "versions").glob("v*.py") if path.name[1:5] > "0012"):
        later.unlink()
    await migrate(empty_database, chain)
    token, entitlement = "a" * 32, "e" * 26
    rows: dict[str, list[dict[str, Any]]] = {
        "order": [
            {"id": each, "source": f"shop {each}", "external_id": each, "status": "paid", "placed": 1}
            | {"details": "{}", "created": 1, "updated": 1}
            for each in "12"
        ],
        "order_line": [
            {"id": f"l{each}", "order_id": each, "external_id": "1", "position": 0, "quantity": 1}
            for each in "12"
        ],
        "series": [
            {"id": "direct", "holder": token, "file_id": "f", "newest": 1},
            {"id": "bought", "holder": entitlement, "file_id": "f", "newest": 1},
        ],
        "download": [
            {"series_id": each, "number": 1, "file_id": "f", "token_id": token, "client": "curl", "first": 1}
            | {"last": 2, "times": 1, "bytes": 3, "covered": 3, "attempts": "{}"}
            for each in ("direct", "bought")
        ],
    }

    def fill(connection: Connection) -> None:
        known = MetaData()
        known.reflect(connection, only=list(rows))
        for table, values in rows.items():
            connection.execute(insert(known.tables[table]), values)

    async with empty_database.writing() as sql:
        await sql.run_sync(fill)
    await migrate(empty_database)
    async with empty_database.reading() as sql:
        sources = await sql.execute(text("SELECT id, source FROM order_line ORDER BY id"))
        assert [tuple(row) for row in sources] == [("l1", "shop 1"), ("l2", "shop 2")]
        marked = await sql.execute(text("SELECT series_id FROM download WHERE direct"))
        assert [tuple(row) for row in marked] == [("direct",)]

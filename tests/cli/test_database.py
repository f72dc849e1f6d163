"""`database status` and `database migrate`, on both engines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.cli import main
from gateway.cli.checks import Level
from gateway.cli.checks.database import check_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.migrating import CHAIN
from tests.support.databases import Databases, url_of

STEPS = sorted(path.name[1:5] for path in (CHAIN / "versions").glob("v*.py"))


async def test_status_and_migrate_tell_what_there_is_to_do(
    databases: Databases, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    location = await databases.make(empty=True)
    options = ["--json", "--data", str(tmp_path), "--database-url", url_of(location)]

    async def run(*words: str) -> tuple[int, dict[str, object]]:
        code = await asyncio.to_thread(main, ["database", *words, *options])
        said = capsys.readouterr()
        assert said.err == ""
        return code, json.loads(said.out)

    empty = {"database": location.label, "migration": None, "pending": STEPS, "usable": False}
    assert await run("status") == (1, empty)
    assert await run("migrate") == (0, {"database": location.label, "applied": STEPS})
    assert await run("migrate") == (0, {"database": location.label, "applied": []})
    ready = {"database": location.label, "migration": STEPS[-1], "pending": [], "usable": True}
    assert await run("status") == (0, ready)

    async with Database.of(location) as database, database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer = {"database": location.label, "migration": "9999", "pending": [], "usable": False}
    assert await run("status") == (1, newer)
    assert await asyncio.to_thread(main, ["database", "migrate", *options]) == 1
    said = capsys.readouterr()
    assert "newer version of this program (migration 9999)" in said.err
    assert len(said.err.splitlines()) == 1
    await databases.remove(location)


async def test_check_looks_at_the_database(databases: Databases, tmp_path: Path) -> None:
    location = await databases.make()
    settings = Settings(data=tmp_path, database_url=url_of(location))

    async def look() -> tuple[Level, str]:
        found = await asyncio.to_thread(lambda: list(check_database(settings)))
        [one] = [each for each in found if each.subject == "database"]
        return one.level, one.text

    level, said = await look()
    assert level is Level.OK
    assert location.label in said
    assert f"migration {STEPS[-1]}" in said
    async with Database.of(location) as database, database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    level, said = await look()
    assert level is Level.FAIL
    assert "newer version" in said
    await databases.remove(location)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://shop:hunter2@127.0.0.1:1/gateway", "cannot be reached"),
        ("sqlite:////dev/null/it.db", "cannot be reached"),
        ("mysql://shop:hunter2@db/gateway", "is neither SQLite nor PostgreSQL"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    url: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["status"], ["migrate"]):
        assert main(["database", *words, "--database-url", url]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert reason in said.err
        assert "hunter2" not in said.err
        assert len(said.err.splitlines()) == 1

"""The web process keeps Redis filled, whatever happens to Redis or to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.catalogue import watching
from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.watching import Watch
from gateway.config.database_url import locate_database
from gateway.database.engine import Database
from gateway.errors import DatabaseError
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer

PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.05)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - it is asked of Redis
            await asyncio.sleep(0.02)


async def test_an_emptied_store_is_noticed(database: Database, repos: Repositories) -> None:
    async with Watch(database, repos, migrates=True), Watch(database, repos, migrates=True):
        await Catalogue(database, repos).register(manifest("drums", "1"))
        for _ in range(2):
            await repos.client.call("FLUSHALL")

            async def filled() -> bool:
                return await repos.products.get("drums") is not None

            await until(filled)


@pytest.mark.slow
async def test_a_database_that_comes_later_is_made_ready(
    own_postgres: PostgresServer, repos: Repositories, caplog: pytest.LogCaptureFixture
) -> None:
    await repos.products.create("old")
    location = locate_database(own_postgres.url(), Path())
    own_postgres.stop()
    async with Database.of(location) as database:
        with caplog.at_level(logging.WARNING, "gateway.catalogue"):
            async with Watch(database, repos, migrates=True):
                await asyncio.sleep(0.2)  # several looks make one line
                own_postgres.start()

                async def recorded() -> bool:
                    return bool(await repos.client.call("EXISTS", "dg:catalogue"))

                await until(recorded)
                await asyncio.sleep(0.2)
        assert [each.id for each in await Catalogue(database, repos).list_all()] == ["old"]
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "cannot be reached" in line]) >= 1
    assert lines[-1] == "the database is back"
    assert len(lines) <= 4, "each reason once"


async def test_a_database_that_cannot_be_used_stops_the_start(
    databases: Databases, repos: Repositories
) -> None:
    location = await databases.make()
    async with Database.of(location) as database:
        async with database.writing() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(DatabaseError, match="newer version"):
            async with Watch(database, repos, migrates=True):
                raise AssertionError
    await databases.remove(location)

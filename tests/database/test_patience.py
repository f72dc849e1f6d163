"""How long a request waits for the database: for a statement, for the lock, and only in its own task."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from gateway.database import engine
from gateway.database.engine import Database
from gateway.database.patience import find_patience, waiting_at_most
from gateway.database.tables import STATE
from gateway.errors import DatabaseError


async def test_a_statement_that_takes_too_long_is_given_up(database: Database) -> None:
    if database.location.is_sqlite:
        pytest.skip("a statement of SQLite runs in a thread, which cannot be stopped")
    with waiting_at_most(0.2), pytest.raises(DatabaseError, match="did not answer in time") as caught:
        async with database.reading() as sql:
            await sql.execute(text("SELECT pg_sleep(60)"))
    assert caught.value.kind == "unreachable"
    async with database.reading() as sql:
        assert (await sql.execute(text("SELECT 1"))).scalar() == 1


async def test_a_writer_waits_for_those_before_it_for_a_limited_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.location.is_sqlite:
        pytest.skip("writers of PostgreSQL wait for rows")
    monkeypatch.setattr(engine, "BEGIN_SECONDS", 0.05)
    async with database.writing():
        with pytest.raises(DatabaseError) as caught:
            async with database.writing():
                pass
    assert caught.value.kind == "locked"
    async with database.writing() as sql:
        await sql.execute(text("SELECT 1"))


async def test_what_may_have_changed_is_known(database: Database) -> None:
    with waiting_at_most(30) as patience:
        async with database.reading() as sql:
            await sql.execute(STATE.select())
        with pytest.raises(ZeroDivisionError):
            async with database.writing():
                raise ZeroDivisionError
        assert not patience.may_have_changed
        async with database.writing() as sql:
            await sql.execute(STATE.select())
        assert patience.may_have_changed


async def test_work_for_later_has_no_limit_of_the_request() -> None:
    async def find() -> object:
        return find_patience()

    with waiting_at_most(1) as patience:
        assert await asyncio.create_task(find()) is None
        assert find_patience() is patience
    assert find_patience() is None

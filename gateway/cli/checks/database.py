"""`check` of the database: whether it can be read and written, and has the tables of this version."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator

from sqlalchemy import text

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.migrating import COMMAND, newer, read_state
from gateway.errors import DatabaseError


def check_database(settings: Settings) -> Iterator[Finding]:
    """Look at the database of the settings. Nothing is changed, except that a missing file is made."""
    try:
        yield asyncio.run(_look(settings))
    except DatabaseError as error:
        yield failed("database", str(error))


async def _look(settings: Settings) -> Finding:
    async with Database.of(locate_database(settings.database_url, settings.data)) as database:
        state = await read_state(database)
        if not state.is_known:
            return failed("database", str(newer(database, state)))
        if state.pending and not state.is_empty:
            text_ = f"{database.label} has the tables of an older version"
            return warned("database", text_, f"a start changes them, or: {COMMAND}")
        async with database.writing() as connection:  # a lock or a full disk shows here
            if database.location.is_sqlite:
                journal = await connection.scalar(text("PRAGMA journal_mode"))
                await connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS probe (n INTEGER)"))
                engine = f"SQLite {sqlite3.sqlite_version}, journal {journal}"
            else:
                engine = f"PostgreSQL {await connection.scalar(text('SHOW server_version'))}"
        tables = "no tables yet" if state.is_empty else f"migration {state.current}"
        return passed("database", f"{database.label}: {engine}, {tables}")

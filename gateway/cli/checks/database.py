"""`check` of the database: whether it can be read and written, and has the tables of this version."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import text

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.config.units import format_size
from gateway.database.engine import Database
from gateway.database.migrating import COMMAND, newer, read_state
from gateway.errors import DatabaseError

FULL: Final = 64 * 1024 * 1024
"""Bytes. Below this, a journal of a large transaction may not fit."""
NEARLY_FULL: Final = 1024 * 1024 * 1024


def check_database(settings: Settings) -> Iterator[Finding]:
    """Look at the database of the settings. Nothing is changed, except that a missing file is made."""
    location = locate_database(settings.database_url, settings.data)
    try:
        yield asyncio.run(_look(settings))
        if location.path is not None:
            yield from check_file(location.path)
    except DatabaseError as error:
        yield failed("database", str(error))


def look_into_database(
    settings: Settings, look: Callable[[Database], Awaitable[list[Finding]]]
) -> list[Finding]:
    """What a check finds in the database; nothing where it has other tables than this version's, or none.

    A database that cannot be used finds nothing either: `check_database` says why.
    """

    async def run() -> list[Finding]:
        async with Database.of(locate_database(settings.database_url, settings.data)) as database:
            state = await read_state(database)
            if state.is_empty or state.pending or not state.is_known:
                return []
            return await look(database)

    try:
        return asyncio.run(run())
    except DatabaseError:
        return []


def check_file(path: Path) -> Iterator[Finding]:
    """Look at the file of an SQLite database: who may read it, and how much room its disk has."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        text_ = f"{path}, with all customers, can be read by others (mode {mode:o})"
        yield failed("database", text_, f"chmod 600 {path}")
    folder = path.resolve().parent
    if not os.access(folder, os.W_OK):
        text_ = f"{folder} cannot be written to, and SQLite needs a journal beside the file"
        yield failed("database", text_, "give the folder to the user that runs the gateway")
    room, size = shutil.disk_usage(folder).free, path.stat().st_size
    said = f"{format_size(room)} free on its disk, {format_size(size)} used by the database"
    if room < FULL:
        yield failed("database room", said, "make room: without it no order is taken")
    elif room < max(NEARLY_FULL, size):  # a migration makes tables anew, beside the old ones
        yield warned("database room", said, "make room: a migration or a backup may need as much again")
    else:
        yield passed("database room", said)


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

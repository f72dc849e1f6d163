"""What was deleted leaves the files of the database, too.

SQLite overwrites what it deletes (`secure_delete`), but a page that was rearranged may keep copies; VACUUM
writes all pages anew. PostgreSQL keeps old rows until VACUUM, which frees their bytes without overwriting
them; VACUUM FULL writes a table anew, and nobody can use it meanwhile. So it is done table by table, is given
up where a table is busy, and is left out for a table above MOST_BYTES, whose freed bytes stay in the file
until other rows take their place. Archives of the write-ahead log, backups and replicas are not reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError, explain

MOST_BYTES: Final = 2**30
"""Of a table of PostgreSQL with its indexes that is written anew: some 10 s in which it cannot be used."""
LOCK_SECONDS: Final = 2
"""How long the lock of a table is waited for. Everybody else waits behind us meanwhile."""
WAIT_SECONDS: Final = 30.0
"""How long older transactions are waited for: while one can see old rows, these cannot be removed."""
COMMAND_SECONDS: Final = 300.0


async def rewrite(database: Database, tables: Iterable[str]) -> None:
    """Write the tables anew, without what was deleted from them. Raises DatabaseError."""
    if database.location.is_sqlite:
        await asyncio.to_thread(_rewrite_sqlite, database)
    else:
        await _rewrite_postgres(database, tables)


def _rewrite_sqlite(database: Database) -> None:
    path = str(database.location.path)
    with (
        database.translating(),
        contextlib.closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection,
    ):
        for pragma in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("VACUUM")


async def _rewrite_postgres(database: Database, tables: Iterable[str]) -> None:
    import asyncpg  # noqa: PLC0415 - not needed where the database is a file

    with database.translating():
        try:
            connection = await asyncpg.connect(
                database.location.dsn,
                timeout=LOCK_SECONDS + 3,
                command_timeout=COMMAND_SECONDS,
                server_settings={
                    "application_name": "download-gateway",
                    "lock_timeout": f"{LOCK_SECONDS}s",
                },
            )
        except Exception as error:
            raise explain(error, database.label) from None
        try:
            await _wait_for_older(connection, database.label)
            for table in tables:
                name = f'"{table}"'
                size = await connection.fetchval("SELECT pg_total_relation_size($1::text::regclass)", name)
                await connection.execute(f"VACUUM {'(FULL) ' if size <= MOST_BYTES else ''}{name}")
        finally:
            with contextlib.suppress(Exception):
                await connection.close(timeout=1)


async def _wait_for_older(connection: Any, label: str) -> None:
    """Wait until nobody sees the database as it was before now. Raises DatabaseError: locked."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND xact_start < $1"
    )
    begin = await connection.fetchval("SELECT clock_timestamp()")
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while await connection.fetchval(query, begin):  # noqa: ASYNC110 - the server announces nothing
                await asyncio.sleep(0.1)
    except TimeoutError:
        text = f"the database {label} has a transaction that lasts too long for deleted rows to be removed"
        raise DatabaseError("locked", text) from None

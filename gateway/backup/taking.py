"""Writes a backup while everything runs.

The tokens are read before the database: whatever is recorded of a token is then in the backup, and
`restoring` ends those whose right had ended by then. The database is read in one transaction. SQLite would
keep its writers waiting for as long as that takes, so it is copied first (VACUUM INTO).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

import gateway
from gateway.backup.contents import FORMAT, ROWS, STATE_FILES, Writer, encode_row
from gateway.config.database_url import DatabaseLocation
from gateway.database.engine import BUSY_SECONDS, Database
from gateway.database.migrating import read_state
from gateway.database.tables import METADATA
from gateway.database.types import now
from gateway.storage.local.registered_folders import REGISTRY
from gateway.store.key_names import AUDIT_KEY, TOKEN_PATTERN, manifest_key, token_key
from gateway.tokens.repositories import Repositories

LARGE_ROWS: Final = frozenset({"inbox", "manifest"})
SCAN_COUNT: Final = 1000
Progress = Callable[[str, int], None]
"""Called with what was written and how many of them, as it goes on."""


async def take(
    path: Path, database: Database, store: Repositories, data: Path, progress: Progress
) -> dict[str, Any]:
    """Write the backup to `path`, mode 0600, in the place of an older one only when it is complete.

    Returns what is in it. Raises DatabaseError, StoreUnavailable, OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            writer = Writer(file)
            found = await _write(writer, database, store, data, progress, path.parent)
            writer.close()
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return found


async def _write(
    writer: Writer, database: Database, store: Repositories, data: Path, progress: Progress, folder: Path
) -> dict[str, Any]:
    state = await read_state(database)
    made = now()
    writer.write(backup=FORMAT, program=gateway.__version__, migration=state.current, made=made)
    _write_files(writer, data)
    tokens, digests = await _write_tokens(writer, store, progress)
    await _write_audit(writer, store)
    counts: dict[str, int] = {}
    async with _snapshot(database, folder) as connection:
        known = await _write_tables(writer, connection, counts, progress)
    for digest in sorted(digests - known):
        manifest = await store.client.call("GET", manifest_key(digest))
        if manifest is not None:
            content = manifest.encode("utf-8", "surrogateescape")
            writer.write(manifest=base64.b64encode(content).decode())
    end = {"rows": sum(counts.values()), "tokens": tokens}
    writer.write(end=end)
    return {"made": made, "migration": state.current, "tables": counts, **end}


def _write_files(writer: Writer, data: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        writer.write(storages=json.loads((data / REGISTRY).read_bytes()))
    for name in STATE_FILES:
        with contextlib.suppress(FileNotFoundError):
            writer.write(file=name, content=base64.b64encode((data / name).read_bytes()).decode())


async def _write_tokens(writer: Writer, store: Repositories, progress: Progress) -> tuple[int, set[str]]:
    """Write the live tokens; how many, and the digests of their manifests."""
    seen: set[str] = set()
    digests: set[str] = set()
    prefix = len(token_key("")) - 1
    cursor = 0
    while True:
        cursor, keys = await store.client.scan(cursor, TOKEN_PATTERN, SCAN_COUNT)
        names = [key[prefix:-1] for key in keys if key[prefix:-1] not in seen]
        commands = [("HGETALL", token_key(name)) for name in names]
        replies = await store.client.call_each(*commands) if commands else []
        for name, fields in zip(names, replies, strict=True):
            if isinstance(fields, dict) and "expires" in fields and name not in seen:
                seen.add(name)
                digests.add(fields.get("manifest", ""))
                writer.write(token=name, fields=fields, expires=int(fields["expires"]))
        progress("tokens", len(seen))
        if cursor == 0:
            return len(seen), digests - {""}


async def _write_audit(writer: Writer, store: Repositories) -> None:
    entries = await store.client.call("XREVRANGE", AUDIT_KEY, "+", "-", "COUNT", 1_000_000)
    for identifier, fields in reversed(entries):
        pairs = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        writer.write(change=identifier, fields=pairs)


async def _write_tables(
    writer: Writer, connection: AsyncConnection, counts: dict[str, int], progress: Progress
) -> set[str]:
    """Write every row of every table; return the digests of the manifests."""
    digests: set[str] = set()
    for table in METADATA.sorted_tables:
        counts[table.name] = await connection.scalar(select(func.count()).select_from(table)) or 0
        rows: list[dict[str, Any]] = []
        stream = await connection.stream(select(table).order_by(*table.primary_key.columns))
        done = 0
        async for row in stream:
            rows.append(encode_row(table, dict(row._mapping)))
            if table.name == "manifest":
                digests.add(row.digest)
            if len(rows) >= (1 if table.name in LARGE_ROWS else ROWS):
                writer.write(table=table.name, rows=rows)
                done, rows = done + len(rows), []
                progress(table.name, done)
        if rows:
            writer.write(table=table.name, rows=rows)
    return digests


def _copy_sqlite(location: DatabaseLocation, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(str(location.path), timeout=BUSY_SECONDS)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


@contextlib.asynccontextmanager
async def _snapshot(database: Database, folder: Path) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees one state of the database, and makes nobody wait for long."""
    if not database.location.is_sqlite:
        async with database.reading() as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as name:
        copy = Path(name) / "copy.sqlite"
        with database.translating():
            await asyncio.to_thread(_copy_sqlite, database.location, copy)
        async with (
            Database.of(DatabaseLocation(copy, database.label)) as copied,
            copied.reading() as connection,
        ):
            yield connection

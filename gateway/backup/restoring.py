"""Puts a backup into a database and a store, of whichever kind.

1. The file is read to its end before anything is changed.
2. All rows of the database are replaced, in one transaction.
3. The store gets the catalogue of the database, and loses products and API keys that are not in it.
4. Live tokens of the backup are added. A token that the store has stays as it is, because it was charged
   meanwhile. One whose right had ended is left out.

A restore that was interrupted is made again; each step may be repeated.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.backup.contents import STATE_FILES, BackupFault, check_whole, decode_row, read_lines
from gateway.catalogue import filling, records
from gateway.catalogue.records import Head
from gateway.database.engine import Database
from gateway.database.migrating import known_steps
from gateway.database.tables import ENTITLEMENT, LINK, METADATA
from gateway.manifest import Manifest
from gateway.storage.local.registered_folders import Registered, register_entries
from gateway.store.client import StoreClient
from gateway.store.key_names import (
    AUDIT_KEY,
    PRODUCTS_KEY,
    api_key_key,
    manifest_key,
    old_key_key,
    product_key,
    token_key,
    version_key,
)
from gateway.store.scripts import Script
from gateway.tokens.repositories import Repositories

PUT_TOKEN: Final = Script.load("put_token")
TOGETHER: Final = 200
"""Tokens written at once, in one batch."""

Progress = Callable[[str, int], None]


async def restore(
    path: Path, database: Database, store: Repositories, data: Path, progress: Progress
) -> dict[str, Any]:
    """Restore a backup. The database has its tables. Returns what was restored.

    Raises BackupFault (nothing was changed), DatabaseError, StoreUnavailable, OSError.
    """
    about = await asyncio.to_thread(check_whole, path)
    if about["migration"] not in known_steps():
        raise BackupFault(f"{path} was made by a newer version of this program: install that one")
    await store.client.check()
    async with database.writing() as connection:
        earlier = await records.lock_head(connection)
        rows = await _restore_rows(connection, path, progress)
        head = await _newest_head(connection, store.client, earlier)
    await asyncio.to_thread(_restore_files, path, data)
    async with database.writing() as connection:
        await records.lock_head(connection)
        await _remove_unknown(connection, store)
        await filling.write(connection, store, head)
    async with database.reading() as connection:
        ended = await _ended_tokens(connection)
    tokens = await _restore_tokens(path, store.client, ended, progress)
    await store.tokens.index.fill()
    return {"made": about["made"], "rows": rows, "tokens": tokens}


async def is_used(database: Database, store: Repositories) -> bool:
    """Whether the database or the store has something that a restore would replace."""
    async with database.reading() as connection:
        for table in METADATA.sorted_tables:
            query = select(table).limit(1)
            if table.name != "state" and (await connection.execute(query)).first() is not None:
                return True
    return bool(await store.client.call("EXISTS", PRODUCTS_KEY))


async def _restore_rows(connection: AsyncConnection, path: Path, progress: Progress) -> int:
    tables = {table.name: table for table in METADATA.sorted_tables}
    for table in reversed(METADATA.sorted_tables):
        await connection.execute(table.delete())
    done = 0
    for line in read_lines(path):
        if "table" in line and line["table"] in tables:
            table = tables[line["table"]]
            await connection.execute(table.insert(), [decode_row(table, row) for row in line["rows"]])
            done += len(line["rows"])
            progress("rows", done)
    return done


async def _newest_head(connection: AsyncConnection, client: StoreClient, earlier: Head) -> Head:
    """Give the catalogue a revision that neither the store nor the replaced database has had."""
    head = await records.lock_head(connection)
    marker = await filling.read_marker(client)
    known = [head.revision, earlier.revision, 0 if marker is None else marker.revision]
    head = Head(head.database, max(known) + 1)
    await records.set_head(connection, head)
    return head


def _restore_files(path: Path, data: Path) -> None:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for line in read_lines(path):
        if "storages" in line:
            entries = [
                Registered(Path(each["root"]), each.get("only"), each.get("whole") is True)
                for each in line["storages"].values()
                if each.get("type") == "local"
            ]
            register_entries(data, entries)
        elif line.get("file") in STATE_FILES:
            new = data / f".{line['file']}.new"
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64decode(line["content"]))
            os.replace(new, data / line["file"])


async def _remove_unknown(connection: AsyncConnection, store: Repositories) -> None:
    """Remove products and API keys that the store has and the database has not."""
    known = {record.id for record in await records.read_products(connection)}
    keys = {key.hash for key in await records.read_keys(connection)}
    commands: list[tuple[str, ...]] = []
    for product in await store.products.list_all():
        if product.id not in known:
            commands += [("DEL", product_key(product.id)), ("DEL", version_key(product.id))]
            commands.append(("SREM", PRODUCTS_KEY, product.id))
    for key in await store.keys.list_all():
        if key.hash not in keys:
            commands += [("DEL", api_key_key(key.hash)), ("DEL", old_key_key(key.hash))]
    if commands:
        await store.client.call_all(*commands)


async def _ended_tokens(connection: AsyncConnection) -> set[str]:
    """The tokens whose right has ended as the database knows it."""
    query = (
        select(LINK.c.token_id)
        .join(ENTITLEMENT, ENTITLEMENT.c.id == LINK.c.entitlement_id)
        .where(or_(LINK.c.ended.is_not(None), ENTITLEMENT.c.status != "active"))
    )
    return {str(row.token_id) for row in await connection.execute(query)}


async def _restore_tokens(path: Path, client: StoreClient, ended: set[str], progress: Progress) -> int:
    """Write the tokens, the manifests that only they have, and the audit trail where there is none."""
    moment = await client.now()
    has_trail = bool(await client.call("EXISTS", AUDIT_KEY))
    waiting: list[dict[str, Any]] = []
    written = 0
    for line in read_lines(path):
        if "token" in line and line["token"] not in ended and line["expires"] > moment:
            waiting.append(line)
        elif "manifest" in line:
            text = base64.b64decode(line["manifest"])
            await client.call("SET", manifest_key(Manifest.parse(text).digest), text, "NX")
        elif "change" in line and not has_trail:
            pairs = [word for pair in line["fields"].items() for word in pair]
            await client.call("XADD", AUDIT_KEY, line["change"], *pairs)
        if len(waiting) >= TOGETHER:
            written += await _put_tokens(client, waiting)
            waiting = []
            progress("tokens", written)
    written += await _put_tokens(client, waiting)
    progress("tokens", written)
    return written


async def _put_tokens(client: StoreClient, lines: Iterable[dict[str, Any]]) -> int:
    replies = await asyncio.gather(
        *(
            client.run(
                PUT_TOKEN,
                [token_key(line["token"])],
                line["expires"],
                *(word for pair in line["fields"].items() for word in pair),
            )
            for line in lines
        )
    )
    return sum(map(int, replies))

"""Fills the store from the database, and takes over what only the store has.

The store has a marker: the id of the database that it was filled from, and the revision of the catalogue that
it has. A filling begins with the marker and ends with it, in one transaction of the database, which no other
process changes or fills from meanwhile:

    marker                          what is done
    of this database and revision   nothing
    of an earlier revision          what has changed since is written: a crash came between database and
                                    store, or the store was restored from before
    none                            everything is written; what only the store has is recorded first
    of a later revision             the database was restored from before. The store is right: what it has
                                    replaces what the database has
    of another database             a database without a catalogue records what the store has; otherwise two
                                    databases would be mixed, which is refused

The new marker is written only if the store was not emptied in the meantime, which it shows by having lost the
filling's name. Each step may be repeated: it writes what is, and not what changes.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.catalogue import records
from gateway.catalogue.records import Head, Removed
from gateway.catalogue.rules import ProductRecord, VersionRecord, record_of
from gateway.database.engine import Database
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.manifest import Manifest
from gateway.store.client import StoreClient
from gateway.store.key_names import (
    CATALOGUE_KEY,
    PRODUCTS_KEY,
    api_key_key,
    manifest_key,
    old_key_key,
    product_key,
    version_key,
)
from gateway.store.scripts import Script
from gateway.tokens.keys import KEEP_SECONDS, KeyRecord
from gateway.tokens.repositories import Repositories

PUT_PRODUCT: Final = Script.load("put_product")
PUT_KEY: Final = Script.load("put_key")
FINISH: Final = Script.load("finish_filling")
BATCH: Final = 100
"""Commands in one batch: the store's time-out is that of a batch."""

_log = logging.getLogger("gateway.catalogue")


@dataclass(frozen=True)
class Marker:
    """What the store says that it was filled with."""

    database: str
    revision: int


async def read_marker(client: StoreClient) -> Marker | None:
    """The marker, or None. Raises StoreUnavailable."""
    database, revision = await client.call("HMGET", CATALOGUE_KEY, "database", "revision")
    return None if database is None or revision is None else Marker(database, int(revision))


async def is_filled(database: Database, client: StoreClient) -> bool:
    """Whether the store has the catalogue as it is now. Raises StoreUnavailable, DatabaseError."""
    marker = await read_marker(client)
    async with database.reading() as connection:
        head = await records.read_head(connection)
    return marker is not None and head is not None and marker == Marker(head.database, head.revision)


async def synchronise(database: Database, store: Repositories) -> bool:
    """Bring the store and the database together, as the table above says. Returns whether anything was done.

    Raises StoreUnavailable, DatabaseError (kind: foreign, when the store belongs to another database).
    """
    if await is_filled(database, store.client):
        return False
    async with database.writing() as connection:
        await fill(connection, store, database.label)
    return True


async def fill(connection: AsyncConnection, store: Repositories, label: str) -> None:
    """The same, in a transaction of the caller, which holds the head until its end."""
    head = await records.lock_head(connection)
    marker = await read_marker(store.client)
    if marker == Marker(head.database, head.revision):
        return
    since = 0
    if marker is None:
        head = await take_over(connection, store, head)
    elif marker.database != head.database:
        if head.revision:
            raise DatabaseError(
                "foreign",
                f"the store was filled from another database than {label}: use that one (database_url), or "
                "an empty store",
            )
        _log.warning("the store was filled from another database before: its products and keys are recorded")
        head = await take_over(connection, store, head)
    elif marker.revision > head.revision:
        _log.warning("the database is older than the store: it takes over the store's products and keys")
        head = await take_over(connection, store, Head(head.database, marker.revision), store_is_right=True)
    else:
        since = marker.revision
    await write(connection, store, head, since)


async def write(connection: AsyncConnection, store: Repositories, head: Head, since: int = 0) -> None:
    """Write to the store what the database has changed after a revision, and then the marker.

    Raises StoreUnavailable, also when the store is emptied in the meantime: then it is to be filled again.
    """
    client = store.client
    name = secrets.token_hex(8)
    await client.call("HSET", CATALOGUE_KEY, "filling", name)
    for record in await records.read_products(connection, since=since):
        await _write_product(connection, store, record)
    for key in await records.read_keys(connection, since=since):
        await _write_key(client, key)
    await _remove(client, await records.read_removed(connection, since=since))
    reply = await client.run(FINISH, [CATALOGUE_KEY], name, head.database, head.revision)
    if reply != "done":
        raise StoreUnavailable("the store was emptied while it was being filled")


async def take_over(
    connection: AsyncConnection, store: Repositories, head: Head, *, store_is_right: bool = False
) -> Head:
    """Record what only the store has. Returns the head after that.

    What was removed from the database is not taken over: the store has it from before. store_is_right: what
    both have becomes as in the store, and what the store lacks is removed.
    """
    known = {record.id: record for record in await records.read_products(connection)}
    known_keys = {key.hash: key for key in await records.read_keys(connection)}
    served = await store.products.list_all()
    keys = await store.keys.list_all()
    buried = set() if store_is_right else {*await records.read_removed(connection)}
    new = [
        each
        for each in served
        if (each.id not in known and Removed("product", each.id) not in buried)
        or (store_is_right and known[each.id].product != each)
    ]
    new_keys = [
        key for key in keys if known_keys.get(key.hash) != key and Removed("key", key.hash) not in buried
    ]
    gone = known.keys() - {each.id for each in served} if store_is_right else set()
    gone_keys = known_keys.keys() - {key.hash for key in keys} if store_is_right else set()
    if not (new or new_keys or gone or gone_keys or store_is_right):
        return head
    head = Head(head.database, head.revision + 1)
    for product in new:
        await adopt(connection, store, record_of(product), known.get(product.id), head.revision)
    for key in new_keys:
        await records.save_key(connection, key, head.revision)
    for identifier in sorted(gone):
        await records.delete_product(connection, identifier, head.revision)
    for digest in sorted(gone_keys):
        await records.delete_key(connection, digest, head.revision)
    await records.set_head(connection, head)
    if new or new_keys:
        _log.info("recorded what the store has", extra={"products": len(new), "keys": len(new_keys)})
    return head


async def adopt(
    connection: AsyncConnection,
    store: Repositories,
    served: ProductRecord,
    known: ProductRecord | None,
    revision: int,
) -> ProductRecord:
    """Record a product as the store has it; what only the database knows of its versions stays.

    A version whose manifest is lost is left out: nobody could download it.
    """
    manifests = await _read_manifests(store, [each.manifest for each in served.versions.values()])
    versions = {}
    for name, version in served.versions.items():
        if version.manifest in manifests:
            earlier = known.versions.get(name) if known is not None else None
            versions[name] = version if earlier is None else _with_facts_of(version, earlier)
    active = served.active if served.active in versions else None
    record = ProductRecord(served.id, served.name, served.status, active, served.created, versions)
    await records.save_manifests(connection, manifests.values())
    await records.save_product(connection, record, revision)
    return record


def _with_facts_of(version: VersionRecord, earlier: VersionRecord) -> VersionRecord:
    return replace(version, notes=earlier.notes, published=earlier.published, created=earlier.created)


async def _read_manifests(store: Repositories, digests: Iterable[str]) -> dict[str, Manifest]:
    found = [(digest, await store.products.get_manifest(digest)) for digest in digests]
    return {digest: manifest for digest, manifest in found if manifest is not None}


async def _write_product(connection: AsyncConnection, store: Repositories, record: ProductRecord) -> None:
    client, product = store.client, record.product
    for digest in product.versions.values():
        manifest = await records.read_manifest(connection, digest)
        if manifest is not None:
            await client.call("SET", manifest_key(digest), manifest.text)
    await client.call("SADD", PRODUCTS_KEY, record.id)
    fields = {"name": product.name, "status": product.status, "created": str(product.created)}
    if product.active is not None:
        fields["active"] = product.active
    fields |= {f"trusted:{version}": "1" for version in product.trusted}
    pairs = [word for mapping in (fields, product.versions) for pair in mapping.items() for word in pair]
    await client.run(PUT_PRODUCT, [product_key(record.id), version_key(record.id)], len(fields), *pairs)


async def _write_key(client: StoreClient, key: KeyRecord) -> None:
    expires = key.expires
    until = "" if expires is None else expires + 1000 * KEEP_SECONDS
    keys = [api_key_key(key.hash), old_key_key(key.hash)]
    values = (key.name, key.role, key.created, "" if expires is None else expires, until)
    await client.run(PUT_KEY, keys, *values)


async def _remove(client: StoreClient, removed: Sequence[Removed]) -> None:
    commands: list[tuple[str, ...]] = []
    for each in removed:
        if each.kind == "product":
            commands += [("DEL", product_key(each.name)), ("DEL", version_key(each.name))]
            commands.append(("SREM", PRODUCTS_KEY, each.name))
        elif each.kind == "manifest":
            commands.append(("DEL", manifest_key(each.name)))
        else:
            commands += [("DEL", api_key_key(each.name)), ("DEL", old_key_key(each.name))]
    for start in range(0, len(commands), BATCH):
        await client.call_all(*commands[start : start + BATCH])

"""The rows of the catalogue. Every function works in a transaction of its caller.

Each change of the catalogue has a number, its *revision*. A row has the revision in which it was last
changed, and what was removed leaves a row of its own, so that "what has changed since revision N" is a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.catalogue.rules import ProductName, ProductRecord, VersionRecord
from gateway.database.statements import insert
from gateway.database.tables import API_KEY, MANIFEST, PRODUCT, REMOVED, STATE, VERSION
from gateway.database.types import new_id
from gateway.manifest import Manifest
from gateway.secrets import KEY_ID_LENGTH
from gateway.tokens.keys import KeyRecord

HEAD: Final = "catalogue"
"""The row of `state` with the database's own id and the latest revision."""


@dataclass(frozen=True)
class Head:
    """Which database this is, and the number of the latest change of its catalogue; 0 before the first."""

    database: str
    revision: int


@dataclass(frozen=True)
class Removed:
    """Something that the store must not have any more. kind: product, key or manifest."""

    kind: str
    name: str


async def read_head(connection: AsyncConnection) -> Head | None:
    """The head, without waiting for those who change it; None before the first change."""
    value = await connection.scalar(select(STATE.c.value).where(STATE.c.name == HEAD))
    return None if value is None else Head(**value)


async def lock_head(connection: AsyncConnection) -> Head:
    """The head. Nobody else changes the catalogue, or fills a store from it, until the transaction ends."""
    new = {"database": new_id(), "revision": 0}
    await connection.execute(insert(connection, STATE).values(name=HEAD, value=new).on_conflict_do_nothing())
    query = select(STATE.c.value).where(STATE.c.name == HEAD).with_for_update()
    return Head(**(await connection.execute(query)).scalar_one())


async def set_head(connection: AsyncConnection, head: Head) -> None:
    """Write the head, which is locked."""
    value = {"database": head.database, "revision": head.revision}
    await connection.execute(update(STATE).where(STATE.c.name == HEAD).values(value=value))


async def read_products(
    connection: AsyncConnection, *, since: int = 0, identifiers: Sequence[str] | None = None
) -> list[ProductRecord]:
    """The products that changed after a revision, by id; only those named, if any are."""
    products = select(PRODUCT).where(PRODUCT.c.revision > since).order_by(PRODUCT.c.id)
    versions = select(VERSION).join(PRODUCT).where(PRODUCT.c.revision > since).order_by(VERSION.c.version)
    if identifiers is not None:
        products = products.where(PRODUCT.c.id.in_(identifiers))
        versions = versions.where(PRODUCT.c.id.in_(identifiers))
    found: dict[str, dict[str, VersionRecord]] = {}
    for row in await connection.execute(versions):
        record = VersionRecord(row.version, row.manifest, row.published, row.created, row.trusted, row.notes)
        found.setdefault(row.product, {})[row.version] = record
    return [
        ProductRecord(row.id, row.name, row.status, row.active, row.created, found.get(row.id, {}))
        for row in await connection.execute(products)
    ]


async def read_names(connection: AsyncConnection) -> list[ProductName]:
    """The names of all products, by id."""
    query = select(PRODUCT.c.id, PRODUCT.c.name, PRODUCT.c.status).order_by(PRODUCT.c.id)
    return [ProductName(*row) for row in await connection.execute(query)]


async def has_versions(connection: AsyncConnection) -> bool:
    """Whether any product has a version."""
    return await connection.scalar(select(VERSION.c.version).limit(1)) is not None


async def read_product(connection: AsyncConnection, identifier: str) -> ProductRecord | None:
    """The product, or None."""
    found = await read_products(connection, identifiers=[identifier])
    return found[0] if found else None


async def save_product(connection: AsyncConnection, record: ProductRecord, revision: int) -> None:
    """Write a product with its versions, whose manifests are there. Versions that it lacks are removed."""
    row = {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "active": record.active,
        "created": record.created,
        "revision": revision,
    }
    await _upsert(connection, PRODUCT, ["id"], [row])
    gone = select(VERSION.c.version, VERSION.c.manifest).where(
        VERSION.c.product == record.id, VERSION.c.version.not_in(list(record.versions))
    )
    removed = (await connection.execute(gone)).all()
    replaced = await _manifests(connection, record.id) - {each.manifest for each in record.versions.values()}
    if removed:
        names = [each.version for each in removed]
        await connection.execute(
            delete(VERSION).where(VERSION.c.product == record.id, VERSION.c.version.in_(names))
        )
    rows = [
        {
            "product": record.id,
            "version": each.version,
            "manifest": each.manifest,
            "trusted": each.trusted,
            "notes": each.notes,
            "published": each.published,
            "created": each.created,
        }
        for each in record.versions.values()
    ]
    await _upsert(connection, VERSION, ["product", "version"], rows)
    await delete_manifests(connection, replaced | {each.manifest for each in removed})
    await _bury(connection, [Removed("manifest", each.manifest) for each in removed], revision)
    await _revive(connection, Removed("product", record.id))


async def save_manifests(connection: AsyncConnection, manifests: Iterable[Manifest]) -> None:
    """Write manifests, which never change."""
    for manifest in manifests:
        row = insert(connection, MANIFEST).values(digest=manifest.digest, text=manifest.text)
        await connection.execute(row.on_conflict_do_nothing())
        await _revive(connection, Removed("manifest", manifest.digest))


async def read_manifest(connection: AsyncConnection, digest: str) -> Manifest | None:
    """The manifest with this digest, or None."""
    text = await connection.scalar(select(MANIFEST.c.text).where(MANIFEST.c.digest == digest))
    return None if text is None else Manifest.parse(text)


async def delete_product(connection: AsyncConnection, identifier: str, revision: int) -> None:
    """Remove a product with its versions and their manifests."""
    manifests = await _manifests(connection, identifier)
    await connection.execute(delete(VERSION).where(VERSION.c.product == identifier))
    await connection.execute(delete(PRODUCT).where(PRODUCT.c.id == identifier))
    await delete_manifests(connection, manifests)
    gone = [Removed("product", identifier), *(Removed("manifest", digest) for digest in sorted(manifests))]
    await _bury(connection, gone, revision)


async def read_keys(connection: AsyncConnection, *, since: int = 0) -> list[KeyRecord]:
    """The API keys that changed after a revision."""
    rows = await connection.execute(
        select(API_KEY).where(API_KEY.c.revision > since).order_by(API_KEY.c.created, API_KEY.c.hash)
    )
    return [
        KeyRecord(row.hash[:KEY_ID_LENGTH], row.hash, row.name, row.role, row.created, row.expires)
        for row in rows
    ]


async def save_key(connection: AsyncConnection, key: KeyRecord, revision: int) -> None:
    """Write an API key."""
    row = {
        "hash": key.hash,
        "name": key.name,
        "role": key.role,
        "created": key.created,
        "expires": key.expires,
        "revision": revision,
    }
    await _upsert(connection, API_KEY, ["hash"], [row])
    await _revive(connection, Removed("key", key.hash))


async def delete_key(connection: AsyncConnection, digest: str, revision: int) -> None:
    """Remove an API key."""
    await connection.execute(delete(API_KEY).where(API_KEY.c.hash == digest))
    await _bury(connection, [Removed("key", digest)], revision)


async def delete_expired_keys(connection: AsyncConnection, before: int) -> None:
    """Forget the API keys that expired before this moment; the store has forgotten them by itself."""
    await connection.execute(delete(API_KEY).where(API_KEY.c.expires < before))


async def read_removed(connection: AsyncConnection, *, since: int = 0) -> list[Removed]:
    """What was removed after a revision, and is not there again."""
    rows = await connection.execute(select(REMOVED).where(REMOVED.c.revision > since))
    return [Removed(row.kind, row.name) for row in rows]


async def delete_manifests(connection: AsyncConnection, digests: Iterable[str]) -> None:
    """Remove manifests that no version refers to."""
    await connection.execute(delete(MANIFEST).where(MANIFEST.c.digest.in_(list(digests))))


async def _manifests(connection: AsyncConnection, product: str) -> set[str]:
    rows = await connection.execute(select(VERSION.c.manifest).where(VERSION.c.product == product))
    return {str(row.manifest) for row in rows}


async def _bury(connection: AsyncConnection, gone: Sequence[Removed], revision: int) -> None:
    rows = [{"kind": each.kind, "name": each.name, "revision": revision} for each in gone]
    await _upsert(connection, REMOVED, ["kind", "name"], rows)


async def _revive(connection: AsyncConnection, there: Removed) -> None:
    await connection.execute(
        delete(REMOVED).where(REMOVED.c.kind == there.kind, REMOVED.c.name == there.name)
    )


async def _upsert(
    connection: AsyncConnection, table: Any, key: list[str], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        statement = insert(connection, table).values(row)
        changed = {name: value for name, value in row.items() if name not in key}
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))

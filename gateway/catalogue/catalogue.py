"""Changes of the catalogue: each is committed to the database first, and then written to Redis.

A crash in between is healed by the next change, or by the web process (`watching.py`): Redis has the number
of an earlier revision then. A product that only Redis knows is recorded before it is changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.catalogue import records, rules
from gateway.catalogue.filling import adopt, synchronise
from gateway.catalogue.rules import ProductName, ProductRecord, VersionRecord, record_of
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.errors import Declined
from gateway.manifest import Manifest
from gateway.products.contents import moved, same_content, same_places
from gateway.products.repository import declined
from gateway.products.validation import is_name
from gateway.runtime.log import format_time
from gateway.secrets import KEY_ID_LENGTH, key_hash, new_key
from gateway.tokens.keys import KEEP_SECONDS, KeyRecord, MintedKey, check_key, find_key
from gateway.tokens.repositories import Repositories
from gateway.webhooks.outbox.announcements import Announcement, EventType, announce_as
from gateway.webhooks.outbox.writing import announce


class Catalogue:
    """The products and API keys of a database and its store.

    Every method may raise DatabaseError; then nothing was changed. It may raise StoreUnavailable: then the
    change is either not made or, if it was recorded already, served as soon as the store is back.
    """

    def __init__(self, database: Database, store: Repositories) -> None:
        self.database = database
        self.store = store

    async def register(
        self,
        manifest: Manifest,
        name: str | None = None,
        activate: bool | None = None,
        create: bool = True,
        *,
        trusted: bool = False,
        notes: str | None = None,
        published: int | None = None,
    ) -> ProductRecord:
        """Register a version, and give its product the name. With `create` a missing product is made.

        A product made without a name is named by its id. Its first version becomes the active one, a later
        one only with `activate`. Registering the same content in the same places again changes nothing,
        except that objects get the ETags and versions that they have now, and what is given of name, notes
        and time. trusted: the digests of the files were not computed by us. published: ms since 1970 UTC, now
        when left out. Raises Declined: invalid, version_conflict (a version never changes), product_unknown.
        """
        rules.check_registration(manifest, name, notes)
        product = manifest.product
        async with self._change() as (connection, revision):
            known = await self._known(connection, product, revision)
            manifest = await self._as_registered(connection, known, manifest)
            moment = now()
            version = VersionRecord(
                manifest.version,
                manifest.digest,
                moment if published is None else published,
                moment,
                trusted,
                notes,
            )
            record = rules.register(
                known, version, product, name=name, activate=bool(activate), create=create
            )
            if published is not None:
                record = rules.describe(record, product, version.version, notes=None, published=published)
            await records.save_manifests(connection, [manifest])
            await records.save_product(connection, record, revision)
            if known is None or version.version not in known.versions:
                await announce(connection, [_uploaded(record, version, manifest)])
        return record

    async def _as_registered(
        self, connection: AsyncConnection, known: ProductRecord | None, manifest: Manifest
    ) -> Manifest:
        """The manifest that a version gets. Raises Declined (version_conflict)."""
        earlier = known.versions.get(manifest.version) if known is not None else None
        if earlier is None or earlier.manifest == manifest.digest:
            return manifest
        old = await records.read_manifest(connection, earlier.manifest)
        if old is None or not same_content(old, manifest):
            raise declined("version_conflict", manifest.product, manifest.version)
        if not same_places(old, manifest):
            raise Declined(
                "version_conflict",
                f"version {old.version} of {old.product} exists with the same files in another place; if "
                f"they have moved, use: product relocate {old.product} {old.version} PATH",
            )
        return moved(old, manifest)

    async def relocate(self, known: Manifest, found: Manifest) -> Manifest:
        """Let the files of a registered version be where `found` has them; return the version's new manifest.

        The content has been compared. Tokens that were made before keep the digest of the old manifest;
        workers find the new one when the files are not in their old place. Raises Declined.
        """
        new = moved(known, found)
        async with self._change() as (connection, revision):
            record = await self._known(connection, known.product, revision)
            version = None if record is None else record.versions.get(known.version)
            if record is None or version is None or version.manifest != known.digest:
                text = f"version {known.version} of {known.product} was changed meanwhile; try again"
                raise Declined("version_conflict", text)
            versions = {**record.versions, known.version: replace(version, manifest=new.digest)}
            await records.save_manifests(connection, [new])
            await records.save_product(connection, replace(record, versions=versions), revision)
        return new

    async def create(self, identifier: str, name: str | None = None) -> ProductRecord:
        """Create a product without versions; name None: its id. Raises Declined: invalid, product_exists."""
        async with self._change() as (connection, revision):
            known = await self._known(connection, identifier, revision)
            record = rules.create(identifier, name, known, now())
            await records.save_product(connection, record, revision)
        return record

    async def update(
        self,
        identifier: str,
        *,
        name: str | None = None,
        status: str | None = None,
        active: str | None = None,
    ) -> ProductRecord:
        """Change what is not None. Raises Declined: invalid, product_unknown, active_version_unknown."""
        async with self._change() as (connection, revision):
            known = await self._known(connection, identifier, revision)
            record = rules.update(known, identifier, name=name, status=status, active=active)
            await records.save_product(connection, record, revision)
        return record

    async def describe(
        self, product: str, version: str, *, notes: str | None = None, published: int | None = None
    ) -> ProductRecord:
        """Change the notes of a version ("" removes them), and when it was published (ms since 1970 UTC).

        Raises Declined: invalid, product_unknown, version_unknown.
        """
        async with self._change() as (connection, revision):
            known = await self._known(connection, product, revision)
            record = rules.describe(known, product, version, notes=notes, published=published)
            await records.save_product(connection, record, revision)
        return record

    async def remove(self, identifier: str, version: str | None = None) -> None:
        """Remove a product with all its versions, or one version, and their manifests, if they are there.

        Tokens are not looked at: see gateway.catalogue.removal.
        """
        async with self._change() as (connection, revision):
            known = await self._known(connection, identifier, revision)
            if known is not None and version is not None:
                record = rules.without_version(known, version)
                await records.save_product(connection, record, revision)
            elif known is not None:
                await records.delete_product(connection, identifier, revision)

    async def read(self, identifier: str) -> ProductRecord | None:
        """The record of a product, with the notes of its versions; None where there is none."""
        async with self.database.reading() as connection:
            return await records.read_product(connection, identifier)

    async def find(self, identifier: str) -> ProductRecord:
        """The record of a product. Raises Declined: product_unknown."""
        record = await self.read(identifier)
        if record is None:
            text = f"there is no product {identifier} (`product list` shows all)"
            raise Declined("product_unknown", text)
        return record

    async def list_names(self) -> list[ProductName]:
        """The names of all products, by id, without their versions."""
        async with self.database.reading() as connection:
            return await records.read_names(connection)

    async def list_all(self) -> list[ProductRecord]:
        """The records of all products, by id."""
        async with self.database.reading() as connection:
            return await records.read_products(connection)

    async def create_key(self, name: str, role: str = "admin", expires_in: int | None = None) -> MintedKey:
        """Create an API key. expires_in: seconds from now by the store's clock. Raises Declined: invalid."""
        check_key(name, role, expires_in)
        key = new_key()
        digest = key_hash(key)
        created = await self.store.client.now()
        expires = None if expires_in is None else created + 1000 * expires_in
        record = KeyRecord(digest[:KEY_ID_LENGTH], digest, name, role, created, expires)
        async with self._change() as (connection, revision):
            await records.delete_expired_keys(connection, created - 1000 * KEEP_SECONDS)
            await records.save_key(connection, record, revision)
        return MintedKey(key, record)

    async def list_keys(self) -> tuple[list[KeyRecord], list[KeyRecord]]:
        """The API keys that work, and those that have expired, each the oldest first.

        Only the database has expired ones: the store forgets a key when it expires. They are in the list for
        as long as a refusal says that they have expired (KEEP_SECONDS).
        """
        await self.synchronise()
        # The store's clock decides. It is asked before its keys are listed, so that no key is in both lists.
        now = await self.store.client.now()
        working = [key for key in await self.store.keys.list_all() if not _has_expired(key, now)]
        async with self.database.reading() as connection:
            recorded = await records.read_keys(connection)
        oldest = now - 1000 * KEEP_SECONDS
        return working, [key for key in recorded if _has_expired(key, now) and (key.expires or 0) > oldest]

    async def revoke_key(self, which: str) -> KeyRecord:
        """Remove a key, named by its id (or more digits of its hash), or by its name if only one key has it.

        An expired one is removed from the list; a key that works is preferred to one that has expired.
        Raises Declined: key_unknown, key_ambiguous.
        """
        working, expired = await self.list_keys()
        key = find_key(which, working, expired)
        async with self._change() as (connection, revision):
            await records.delete_key(connection, key.hash, revision)
        return key

    async def synchronise(self) -> bool:
        """Bring database and store together (see filling.py). Returns whether anything was done."""
        return await synchronise(self.database, self.store)

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[tuple[AsyncConnection, int]]:
        """A change of the catalogue, which has a revision of its own; it is in the store at the end.

        The store is looked at first, so that a store that is away changes nothing.
        """
        await self.synchronise()
        async with self.database.writing() as connection:
            head = await records.lock_head(connection)
            head = records.Head(head.database, head.revision + 1)
            yield connection, head.revision
            await records.set_head(connection, head)
        await self.synchronise()

    async def _known(
        self, connection: AsyncConnection, identifier: str, revision: int
    ) -> ProductRecord | None:
        """The record of a product. One that only the store has is recorded."""
        known = await records.read_product(connection, identifier)
        if known is not None or not is_name(identifier):
            return known
        served = await self.store.products.get(identifier)
        if served is None:
            return None
        return await adopt(connection, self.store, record_of(served), None, revision)


def _uploaded(record: ProductRecord, version: VersionRecord, manifest: Manifest) -> Announcement:
    """That a version was registered, for outgoing webhooks."""
    data = {
        "productId": record.id,
        "name": record.name,
        "version": version.version,
        "isActive": record.active == version.version,
        "files": len(manifest.files),
        "bytes": sum(file.size for file in manifest.files),
        "manifestDigest": manifest.digest,
        "publishedAt": format_time(record.versions[version.version].published),
    }
    return announce_as(EventType.PRODUCT_UPLOADED, version.created, data)


def _has_expired(key: KeyRecord, now: int) -> bool:
    return key.expires is not None and key.expires <= now

"""Changes of the catalogue: in the database and in Redis, on both engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.rules import MAX_NOTES
from gateway.database.engine import Database
from gateway.database.tables import API_KEY
from gateway.errors import Declined
from gateway.manifest import ManifestFile
from gateway.tokens.keys import KEEP_SECONDS
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.timing import patience


@pytest.fixture
def catalogue(database: Database, repos: Repositories) -> Catalogue:
    return Catalogue(database, repos)


async def agree(catalogue: Catalogue) -> None:
    """Assert that Redis serves what the database has."""
    records = await catalogue.list_all()
    assert [record.product for record in records] == await catalogue.store.products.list_all()
    for record in records:
        for version in record.versions.values():
            assert await catalogue.store.products.get_manifest(version.manifest) is not None
    assert not await catalogue.synchronise()


@pytest.mark.slow
async def test_each_change_is_in_both(catalogue: Catalogue) -> None:
    await catalogue.create("drums", "Drums")
    await agree(catalogue)
    one = await catalogue.register(manifest("drums", "1.0"), notes="First.", trusted=True)
    assert (one.name, one.active, one.product.trusted) == ("Drums", "1.0", frozenset(["1.0"]))
    await agree(catalogue)
    two = await catalogue.register(manifest("drums", "2.0"), published=77)
    assert two.active == "1.0"
    await catalogue.update("drums", name="Epic drums", status="archived", active="2.0")
    await catalogue.describe("drums", "2.0", notes="Second.", published=99)
    await agree(catalogue)
    record = await catalogue.read("drums")
    assert record is not None
    assert (record.name, record.status, record.active) == ("Epic drums", "archived", "2.0")
    facts = [(each.version, each.notes, each.published) for each in record.versions.values()]
    assert facts[0][:2] == ("1.0", "First.")
    assert facts[1] == ("2.0", "Second.", 99)
    await catalogue.describe("drums", "2.0", notes="")
    await catalogue.remove("drums", "2.0")
    await agree(catalogue)
    assert await catalogue.store.products.get_manifest(manifest("drums", "2.0").digest) is None
    record = await catalogue.read("drums")
    assert record is not None
    assert (record.active, list(record.versions)) == (None, ["1.0"])
    await catalogue.remove("drums")
    await agree(catalogue)
    assert await catalogue.list_all() == []
    await catalogue.register(manifest("drums", "1.0"))
    await agree(catalogue)


async def test_registering_the_same_again_changes_nothing(catalogue: Catalogue) -> None:
    first = await catalogue.register(manifest("drums", "1.0"), notes="Kept.", trusted=True)
    assert await catalogue.register(manifest("drums", "1.0"), trusted=True) == first
    computed = await catalogue.register(manifest("drums", "1.0"))
    assert computed.product.trusted == frozenset()
    record = await catalogue.read("drums")
    assert record is not None
    assert record.versions["1.0"].notes == "Kept."
    with pytest.raises(Declined) as raised:
        await catalogue.register(manifest("drums", "1.0", 7))
    assert raised.value.code == "version_conflict"
    await agree(catalogue)


async def test_files_that_have_moved_are_a_new_manifest(catalogue: Catalogue) -> None:
    known = manifest("drums", "1.0")
    await catalogue.register(known)
    found = type(known)("drums", "1.0", tuple(_elsewhere(file) for file in known.files))
    new = await catalogue.relocate(known, found)
    assert new.files[0].key == "elsewhere"
    await agree(catalogue)
    with pytest.raises(Declined, match="changed meanwhile"):
        await catalogue.relocate(known, found)


def _elsewhere(file: ManifestFile) -> ManifestFile:
    return replace(file, key="elsewhere")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda it: it.create("drums"), "product_exists"),
        (lambda it: it.create("no name"), "invalid"),
        (lambda it: it.update("other", name="x"), "product_unknown"),
        (lambda it: it.update("drums", name=""), "invalid"),
        (lambda it: it.update("drums", status="sold"), "invalid"),
        (lambda it: it.update("drums", active="9"), "active_version_unknown"),
        (lambda it: it.register(manifest("other", "1"), create=False), "product_unknown"),
        (lambda it: it.register(manifest("drums", "bad version")), "invalid"),
        (lambda it: it.register(manifest("drums", "9"), notes="x" * (MAX_NOTES + 1)), "invalid"),
        (lambda it: it.register(manifest("drums", "9"), notes="\0"), "invalid"),
        (lambda it: it.describe("drums", "9", notes="x"), "version_unknown"),
        (lambda it: it.describe("other", "1.0", notes="x"), "product_unknown"),
        (lambda it: it.create_key("", "admin"), "invalid"),
        (lambda it: it.create_key("shop", "owner"), "invalid"),
        (lambda it: it.create_key("shop", "mint", 0), "invalid"),
        (lambda it: it.revoke_key("shop"), "key_unknown"),
    ],
)
async def test_what_is_declined_changes_nothing(catalogue: Catalogue, change: Any, code: str) -> None:
    await catalogue.register(manifest("drums", "1.0"))
    before = await catalogue.list_all()
    with pytest.raises(Declined) as raised:
        await change(catalogue)
    assert raised.value.code == code
    assert await catalogue.list_all() == before
    await agree(catalogue)


@pytest.mark.slow
async def test_expired_keys_are_listed_apart_until_they_are_revoked_or_forgotten(
    catalogue: Catalogue,
) -> None:
    old = await catalogue.create_key("shop", "mint", 5)
    older = await catalogue.create_key("forgotten", "mint", 5)
    lasting = await catalogue.create_key("shop", "mint")
    assert await catalogue.list_keys() == ([old.record, older.record, lasting.record], [])

    async def all_expired() -> bool:
        return len((await catalogue.list_keys())[1]) == 2

    async with asyncio.timeout(patience(5)):
        while not await all_expired():  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.05)
    assert await catalogue.list_keys() == ([lasting.record], [old.record, older.record])
    async with catalogue.database.writing() as connection:
        long_ago = older.record.created - 1000 * KEEP_SECONDS
        await connection.execute(
            update(API_KEY).where(API_KEY.c.hash == older.record.hash).values(expires=long_ago)
        )
    assert await catalogue.list_keys() == ([lasting.record], [old.record])
    assert await catalogue.revoke_key("shop") == lasting.record, "the key that works is meant"
    assert await catalogue.revoke_key("shop") == old.record
    assert await catalogue.list_keys() == ([], [])


async def test_keys_are_in_both(catalogue: Catalogue) -> None:
    minted = await catalogue.create_key("shop", "mint", 3600)
    lasting = await catalogue.create_key("admin")
    assert await catalogue.store.keys.authenticate(minted.key) == minted.record
    assert await catalogue.store.keys.authenticate(lasting.key) == lasting.record
    assert await catalogue.store.keys.expired_at(minted.key) == minted.record.expires
    expires = await catalogue.store.client.call("PEXPIRETIME", f"dg:key:{{{minted.record.hash}}}")
    assert expires == minted.record.expires
    await catalogue.revoke_key("shop")
    assert await catalogue.store.keys.authenticate(minted.key) is None
    assert await catalogue.store.keys.list_all() == [lasting.record]
    assert not await catalogue.synchronise()

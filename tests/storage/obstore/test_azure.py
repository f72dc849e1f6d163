"""Against Azurite, which checks signatures: publishing, serving, and objects that change in between."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import obstore
import pytest
from obstore.store import AzureStore

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_REQUESTS, Counters
from gateway.storage.catalog import ObjectFacts
from gateway.storage.obstore.bucket import make_store
from tests.support.azurite import CONTAINER, Azurite
from tests.support.clouds import Make, catalog_of, settings_of
from tests.support.streams import rest

CONTENT = os.urandom(3_000_000)
KEY = "a b/ü&%2F?#+.bin"


@pytest.fixture
def store(azurite: Azurite) -> AzureStore:
    """The container, emptied."""
    made = make_store("test", settings_of(azurite.table()))
    assert isinstance(made, AzureStore)
    for page in obstore.list(made):
        obstore.delete(made, [meta["path"] for meta in page])
    return made


def entry(facts: ObjectFacts) -> ManifestFile:
    """The manifest's entry for an object."""
    return ManifestFile(
        "name", facts.size, "application/octet-stream", "0" * 64, "0" * 8, "cloud", facts.key, facts.modified,
        facts.etag, facts.version_id,
    )  # fmt: skip


def put(store: AzureStore, key: str, content: bytes, **metadata: str) -> None:
    obstore.put(store, key, content, attributes=metadata)


async def read(make: Make, table: dict[str, Any], file: ManifestFile, start: int, stop: int) -> bytes:
    with make(table).lookup(file) as blob:
        assert blob.as_file is None
        assert blob.as_object is blob
        stream = await blob.fetch(start, stop)
        try:
            return await rest(stream)
        finally:
            stream.close()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, len(CONTENT)), (1, 2), (2_999_990, 3_000_000), (5, 2_000_005)]
)
async def test_spans_of_what_was_published(
    azurite: Azurite, store: AzureStore, make: Make, start: int, stop: int
) -> None:
    put(store, KEY, CONTENT)
    facts = catalog_of(azurite.table()).stat(KEY)
    assert facts.size == len(CONTENT)
    assert facts.etag.startswith('"')
    assert await read(make, azurite.table(), entry(facts), start, stop) == CONTENT[start:stop]


async def test_a_prefix_is_a_storage_of_its_own(azurite: Azurite, store: AzureStore, make: Make) -> None:
    put(store, "shop/files/dir/a.bin", CONTENT)
    put(store, "shop/other.bin", b"secret")
    table = azurite.table(prefix="shop/files")
    catalog = catalog_of(table)
    assert catalog.root == f"az://{CONTAINER}/shop/files/"
    assert catalog.check_root() == ""
    assert list(catalog.list("")) == list(catalog.list("dir/")) == ["dir/a.bin"]
    file = entry(catalog.stat("dir/a.bin"))
    assert await read(make, table, file, 0, file.size) == CONTENT
    for key in ("../other.bin", "other.bin", "dir//a.bin"):
        with pytest.raises(StorageError):
            catalog.stat(key)


async def test_a_blob_is_checked_once_in_a_while(
    azurite: Azurite, store: AzureStore, make: Make, counters: Counters
) -> None:
    put(store, "a", CONTENT)
    storage = make(azurite.table())
    blob = storage.lookup(entry(catalog_of(azurite.table()).stat("a")))
    await blob.check()
    await blob.check()
    assert counters.values()[UPSTREAM_REQUESTS] == 1
    assert b"".join([piece async for piece in blob.chunks(10, 2_000_000)]) == CONTENT[10:2_000_000]
    assert [piece async for piece in blob.chunks(10, 10)] == []
    assert not storage.redirects
    assert storage.handoff(entry(catalog_of(azurite.table()).stat("a")), "a/b", "attachment") is None


async def test_a_replaced_object_is_refused(azurite: Azurite, store: AzureStore, make: Make) -> None:
    put(store, "a", CONTENT)
    catalog = catalog_of(azurite.table())
    facts = catalog.stat("a")
    catalog.check(entry(facts))
    put(store, "a", CONTENT[::-1])
    changed = "the object 'a' has changed since it was published"
    with pytest.raises(StorageError, match=changed):
        catalog.check(entry(facts))
    with pytest.raises(StorageError, match=changed):
        list(catalog.read(facts))
    with pytest.raises(StorageError, match=changed):
        await read(make, azurite.table(), entry(facts), 0, 1)
    with pytest.raises(StorageError, match=changed):
        await make(azurite.table()).lookup(entry(facts)).check()
    obstore.delete(store, "a")
    with pytest.raises(StorageError, match="or is gone"):
        await read(make, azurite.table(), entry(facts), 0, 1)
    with pytest.raises(StorageError, match="or is gone"):
        await make(azurite.table()).lookup(entry(facts)).check()


def test_content_is_read_for_its_digests(azurite: Azurite, store: AzureStore) -> None:
    put(store, "a", CONTENT)
    put(store, "empty", b"")
    catalog = catalog_of(azurite.table())
    assert b"".join(catalog.read(catalog.stat("a"))) == CONTENT
    assert list(catalog.read(catalog.stat("empty"))) == []
    assert catalog.stat("a").sha256 == ""


def test_digests_that_an_uploader_left_are_found(azurite: Azurite, store: AzureStore) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    put(store, "a", CONTENT, sha256=digest.upper(), crc32="0badcafe")
    put(store, "b", CONTENT, sha256="none", crc32="")
    catalog = catalog_of(azurite.table())
    assert (catalog.stat("a").sha256, catalog.stat("a").crc32) == (digest, "0badcafe")
    assert (catalog.stat("b").sha256, catalog.stat("b").crc32) == ("", "")


@pytest.mark.slow
def test_many_objects_are_listed_in_order(azurite: Azurite, store: AzureStore) -> None:
    keys = sorted(f"kit/{number:03}.wav" for number in range(60))
    for key in keys:
        put(store, key, b"x")
    put(store, "kit.zip", b"x")
    assert list(catalog_of(azurite.table()).list("kit/")) == keys


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"container": "absent"}, "az://absent/ is missing (404 ContainerNotFound)"),
        ({"account_key": "c2VjcmV0"}, "is refused (403 AuthorizationFailure)"),
        ({"account_key": None, "sas_token": "sv=2021-12-02&sig=c2VjcmV0"}, "is refused (403 "),
        ({"account_key": None, "anonymous": True}, "is refused (403 "),
    ],
)
def test_refused_access_is_reported_without_secrets(
    azurite: Azurite, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(StorageError) as caught:
        catalog_of(azurite.table(**changes)).check_root()
    assert text in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert "\n" not in str(caught.value)

"""Every kind of storage with real objects in it: the tests of the storage interface run on each.

A `StorageCase` puts objects, replaces and removes them, and opens the storage under test. A new storage is a
function here and a row in STORAGE_CASES. Each function gets a folder for its files, and pytest's way to ask
for a fixture by its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_IN_USE, Counters
from gateway.storage.cache.slices import SliceCache
from gateway.storage.cache.storage import CachedStorage
from gateway.storage.interface import Storage
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from gateway.storage.obstore.bucket import make_store
from gateway.storage.obstore.storage import CloudStorage
from gateway.storage.s3.storage import S3Storage
from tests.support.clouds import catalog_of, settings_of
from tests.support.faulty_bucket import Upstream
from tests.support.google import Google
from tests.support.local_files import count_descriptors, entry

Fixture = Callable[[str], Any]

CACHE_BYTES: Final = 1 << 30


@dataclass
class StorageCase:
    """One storage under test.

    put: stores an object under a key, or replaces it; returns its entry for a manifest. remove: removes it.
    is_idle: whether nothing is open for a reader.
    """

    storage: Storage
    put: Callable[[str, bytes], ManifestFile]
    remove: Callable[[str], object]
    is_idle: Callable[[], bool]


@contextmanager
def local(folder: Path, fixture: Fixture) -> Iterator[StorageCase]:
    """A folder of this machine."""
    root = folder / "root"
    root.mkdir()
    cache = DescriptorCache(4)

    def put(key: str, content: bytes) -> ManifestFile:
        fresh = root / f"{key}.new"
        fresh.write_bytes(content)
        fresh.replace(root / key)
        return entry(root, key)

    before = count_descriptors()
    yield StorageCase(
        LocalStorage("files", root, cache),
        put,
        lambda key: os.unlink(root / key),
        lambda: count_descriptors() <= before + len(cache),
    )
    cache.clear()


@contextmanager
def s3(folder: Path, fixture: Fixture) -> Iterator[StorageCase]:
    """A bucket of S3."""
    counters = Counters()
    with Upstream() as server:
        storage = S3Storage(server.bucket(), counters.add)
        yield StorageCase(storage, server.put, server.objects.pop, lambda: not in_use(counters))
        storage.close()


@contextmanager
def cached(folder: Path, fixture: Fixture) -> Iterator[StorageCase]:
    """A bucket of S3 with the cache in front of it."""
    counters = Counters()
    with Upstream() as server:
        cache = SliceCache(folder / "cache", CACHE_BYTES, counters.add)
        storage = CachedStorage(S3Storage(server.bucket(), counters.add), cache)
        yield StorageCase(storage, server.put, server.objects.pop, lambda: not in_use(counters))
        storage.close()


@contextmanager
def google(folder: Path, fixture: Fixture) -> Iterator[StorageCase]:
    """A bucket of Google Cloud Storage."""
    counters = Counters()
    with Google() as server:
        settings = settings_of(server.table())
        storage = CloudStorage("cloud", make_store("cloud", settings), settings.prefix, counters.add)
        yield StorageCase(storage, server.put, server.objects.pop, lambda: not in_use(counters))
        storage.close()


@contextmanager
def azure(folder: Path, fixture: Fixture) -> Iterator[StorageCase]:
    """A container of Azure Blob Storage; skips the test where Azurite is not installed."""
    import obstore  # noqa: PLC0415 - an extra

    counters = Counters()
    table = fixture("azurite").table()
    store = make_store("cloud", settings_of(table))
    catalog = catalog_of(table)
    storage = CloudStorage("cloud", store, "", counters.add)

    def put(key: str, content: bytes) -> ManifestFile:
        obstore.put(store, key, content)
        facts = catalog.stat(key)
        return ManifestFile(
            key, facts.size, "application/octet-stream", "0" * 64, "0" * 8, "cloud", key, facts.modified,
            facts.etag, facts.version_id,
        )  # fmt: skip

    yield StorageCase(storage, put, lambda key: obstore.delete(store, key), lambda: not in_use(counters))
    storage.close()


STORAGE_CASES: Final = {"local": local, "s3": s3, "google": google, "azure": azure, "cached": cached}


def in_use(counters: Counters) -> int:
    """How many connections or streams are in use."""
    return counters.values()[UPSTREAM_IN_USE]

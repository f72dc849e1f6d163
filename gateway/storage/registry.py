"""Which storages there are: those of the settings, and those registered in `<data>/storages.json`.

OBJECT_TYPES is the table of object storages by type: a new one is a row there. An object storage is built
when it is first asked for, and its modules are imported only then, so a process that uses only files on disk
does not load the others.

`up` and `product add` publish files from any folder. A folder that is below no root of the settings is
registered as a storage of its own, and a single file as a storage of this file alone, so that running workers
find them without new settings. If a name is in both places, the storage of the settings is used.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.config.settings import Settings
from gateway.config.storages import (
    CloudSettings,
    LocalSettings,
    S3Settings,
    StorageSettings,
)
from gateway.errors import StorageError
from gateway.runtime.system_errors import advise
from gateway.storage.catalog import Catalog
from gateway.storage.interface import Storage
from gateway.storage.local.comparisons import Comparisons
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.registered_folders import REGISTRY, Registered, read_registry, register_entries
from gateway.storage.local.storage import LocalStorage
from gateway.storage.local.verified import FOLDER as VERIFIED
from gateway.storage.local.verified import VerifiedFiles
from gateway.storage.rules import ServingRules, refuse_key

if TYPE_CHECKING:
    from gateway.storage.cache.slices import SliceCache
    from gateway.storage.object_catalog import ObjectCatalog
    from gateway.storage.object_storage import ObjectStorage

ADOPTED: Final = "adopted"
"""The folder in the data folder with what workers found out about objects that were stored again."""
RECHECK_SECONDS: Final = 1.0
"""A file of registered folders that cannot be read is tried again for an unknown name at most this often:
manifests may name storages that do not exist, in any number. One that can be read is only looked at (a stat),
and read when it has changed, so what was just published is found at once."""
Count = Callable[..., None]
"""The type of `Counters.add`: the index of a counter, and how much to add to it (1 if left out)."""


def _no_count(_index: int, _by: int = 1) -> None:
    """Count nothing: nobody reads the counters of a command."""


def _s3_storage(name: str, table: S3Settings, count: Count) -> ObjectStorage:
    from gateway.storage.s3.bucket import make_bucket  # noqa: PLC0415
    from gateway.storage.s3.storage import S3Storage  # noqa: PLC0415

    return S3Storage(make_bucket(name, table), count)


def _s3_catalog(name: str, table: S3Settings) -> ObjectCatalog:
    from gateway.storage.s3.bucket import make_bucket  # noqa: PLC0415
    from gateway.storage.s3.catalog import S3Catalog  # noqa: PLC0415

    return S3Catalog(make_bucket(name, table), table)


def _cloud_storage(name: str, table: CloudSettings, count: Count) -> ObjectStorage:
    from gateway.storage.obstore.bucket import make_store  # noqa: PLC0415
    from gateway.storage.obstore.storage import CloudStorage  # noqa: PLC0415

    return CloudStorage(name, make_store(name, table), table.prefix, count)


def _cloud_catalog(name: str, table: CloudSettings) -> ObjectCatalog:
    from gateway.storage.obstore.bucket import address, make_store  # noqa: PLC0415
    from gateway.storage.obstore.catalog import CloudCatalog  # noqa: PLC0415

    return CloudCatalog(name, lambda: make_store(name, table), table.prefix, address(table))


class ObjectType(NamedTuple):
    """How an object storage is built from its name and its table of the settings.

    storage: to serve from. catalog: to publish from and to check.
    """

    storage: Callable[[str, Any, Count], ObjectStorage]
    catalog: Callable[[str, Any], ObjectCatalog]


OBJECT_TYPES: Final[dict[str, ObjectType]] = {
    "s3": ObjectType(_s3_storage, _s3_catalog),
    "gs": ObjectType(_cloud_storage, _cloud_catalog),
    "az": ObjectType(_cloud_storage, _cloud_catalog),
}
"""Every type of storage but `local`. Each function imports the modules that it needs."""


class CacheSettings(NamedTuple):
    """The cache in front of object storages: its folder, and how many bytes it may hold."""

    path: Path
    max_bytes: int


class ObjectLocation(NamedTuple):
    """Where a file is stored: the name of a storage, and the key there."""

    storage: str
    key: str


def _locate_below(
    folders: Iterable[LocalStorage], path: Path, *, as_written: bool = False
) -> ObjectLocation | None:
    """Find the nearest folder that may serve the file.

    as_written: the folder must be above the path as both are written; else, also where its links lead.
    """
    roots = {
        (root, storage.name)
        for storage in folders
        for root in (
            (storage.root.absolute(),) if as_written else (storage.root.absolute(), storage.root.resolve())
        )
    }
    for root, name in sorted(roots, key=lambda pair: len(pair[0].parts), reverse=True):
        if path != root and path.is_relative_to(root):
            key = os.fsencode(path.relative_to(root)).decode()
            if not refuse_key(key):
                return ObjectLocation(name, key)
    return None


class Storages:
    """The storages by name. Any thread may use it."""

    def __init__(
        self,
        configured: Mapping[str, StorageSettings],
        data: Path,
        open_files: int,
        *,
        count: Count = _no_count,
        cache: CacheSettings | None = None,
        private: Iterable[Path] = (),
    ) -> None:
        """Folders share one cache of `open_files` descriptors.

        configured: the tables of the settings. data: the folder with the file of registered folders, and with
        what is known of their files; nothing of it is served. count: adds to a counter of this process.
        cache: the cache to put in front of object storages, if any. private: other files and folders that are
        never served.
        """
        self.rules: Final = ServingRules(data, private)
        self._descriptors = DescriptorCache(open_files)
        self._comparisons = Comparisons(VerifiedFiles(data / VERIFIED))
        self._registry = data / REGISTRY
        self._adopted = data / ADOPTED
        self._configured = {
            name: LocalStorage(
                name, table.root, self._descriptors, rules=self.rules, comparisons=self._comparisons
            )
            for name, table in configured.items()
            if isinstance(table, LocalSettings)
        }
        self._local = dict(self._configured)
        self._singles: dict[Path, LocalStorage] = {}
        self._tables = {
            name: table for name, table in configured.items() if not isinstance(table, LocalSettings)
        }
        self._all: dict[str, Storage] = dict(self._configured)
        self._objects: dict[str, Storage] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._count = count
        self._cache_settings = cache
        self._slice_cache: SliceCache | None = None
        self._lock = threading.RLock()
        self._registry_version: tuple[int, int, int] | None = None
        self._registry_failed_at = float("-inf")

    @classmethod
    def of(
        cls,
        settings: Settings,
        open_files: int | None = None,
        *,
        count: Count = _no_count,
        cache: CacheSettings | None = None,
    ) -> Storages:
        """The storages of the settings, with what is private by the settings. open_files: see `__init__`."""
        return cls(
            settings.storage,
            settings.data,
            settings.open_files if open_files is None else open_files,
            count=count,
            cache=cache,
            private=settings.private_paths,
        )

    def __iter__(self) -> Iterator[Storage]:
        """Iterate over all storages, with object storages built and the registered folders read again."""
        self._refresh()
        for name in self._tables:
            self._build(name)
        return iter(self._all.values())

    def prepare(self) -> None:
        """Build the object storages now, so that no request waits for it. `get` raises the errors of this."""
        for name in self._tables:
            with suppress(StorageError):
                self._build(name)

    def get(self, name: str) -> Storage:
        """Return the storage of this name. Raises StorageError if there is none.

        For an unknown name the file of registered folders is looked at again: a stat, and a small read when
        it has changed. After an error, that waits for RECHECK_SECONDS.
        """
        storage = self._all.get(name)
        if storage is not None:
            return storage
        if name in self._tables:
            return self._build(name)
        with self._lock:  # other threads wait here and use what this one finds
            if time.monotonic() - self._registry_failed_at >= RECHECK_SECONDS:
                self._refresh()
            storage = self._all.get(name)
        if storage is None:
            raise StorageError(
                f"there is no storage {name!r}: configure [storage.{name}] as when the product was published"
            )
        return storage

    def local(self, name: str) -> LocalStorage:
        """Return the storage of this name, which has to be a folder. Raises StorageError if it is not."""
        storage = self.get(name)
        if isinstance(storage, LocalStorage):
            return storage
        raise StorageError(f"storage {name}: is a bucket, not a folder")

    def catalog(self, name: str) -> Catalog | None:
        """Return the catalog of the object storage of this name; None for a folder or an unknown name."""
        table = self._tables.get(name)
        if table is None:
            return None
        with self._lock:
            if name not in self._catalogs:
                catalog = OBJECT_TYPES[table.type].catalog(name, table)
                catalog.adopted = self._adopted
                self._catalogs[name] = catalog
            return self._catalogs[name]

    def catalogs(self) -> Iterator[Catalog]:
        """Iterate over the catalogs of all object storages of the settings."""
        return (catalog for name in self._tables if (catalog := self.catalog(name)) is not None)

    def locate_object(self, address: str) -> tuple[Catalog, str] | None:
        """Find the storage and the key of an address such as `s3://bucket/key`; None if it is in no storage.

        If several storages contain the address, it is the one with the longest root.
        """
        holders = [
            catalog
            for catalog in self.catalogs()
            if address.startswith(catalog.root) or f"{address}/" == catalog.root
        ]
        if not holders:
            return None
        nearest = max(holders, key=lambda catalog: len(catalog.root))
        return nearest, address[len(nearest.root) :]

    def locate(
        self, path: Path, *, alone: bool = False, real: Path | None = None, registered_only: bool = False
    ) -> ObjectLocation | None:
        """Find the storage and the key from which a file may be published; None if it is in no storage.

        Folders of the settings come before registered ones, and longer roots before shorter ones. alone: the
        file was named by itself, so if it was registered by itself before, it is in that storage, which comes
        before registered folders. path: absolute. real: where it leads without links, if it has links; then a
        root must be above the path as it is written, and only folders of the settings are looked for above
        `real` after that. registered_only: leaves out folders of the settings.
        """
        self._refresh()
        folders = [storage for storage in self._local.values() if storage.only is None and storage.takes_new]
        names = () if registered_only else self._configured
        configured = [each for each in folders if each.name in names]
        registered = [each for each in folders if each.name not in self._configured]
        has_links = real is not None and real != path
        found = _locate_below(configured, path, as_written=has_links)
        if found is None and alone:
            single = self._singles.get(path)
            found = None if single is None else ObjectLocation(single.name, str(single.only))
        found = found or _locate_below(registered, path, as_written=has_links)
        if found is None and real is not None and has_links:
            found = _locate_below(configured, real)
        return found

    def real_roots(self, names: Iterable[str]) -> dict[str, Path]:
        """The roots without links of those of the named storages that are of this machine."""
        self._refresh()
        return {name: self._local[name].root.resolve() for name in set(names) if name in self._local}

    def register(self, entries: Iterable[Registered]) -> None:
        """Make folders and single files storages, and register them. Raises ConfigurationError."""
        register_entries(self._registry.parent, entries)
        self._refresh()

    def close(self) -> None:
        """Close connections and descriptors; those in use are closed when they are released."""
        for storage in self._objects.values():
            storage.close()
        self._comparisons.close()
        self._descriptors.clear()

    def _build(self, name: str) -> Storage:
        """Build an object storage, with the cache in front of it unless it sends clients to itself."""
        with self._lock:
            if name in self._objects:
                return self._objects[name]
            from gateway.storage.adoption import Adoption  # noqa: PLC0415

            table = self._tables[name]
            origin = OBJECT_TYPES[table.type].storage(name, table, self._count)
            origin.adoption = Adoption(origin, self._adopted)
            storage: Storage = origin
            if self._cache_settings is not None and not storage.redirects:
                storage = self._put_cache_before(storage, self._cache_settings)
            self._objects[name] = storage
            self._all = {**self._all, name: storage}
            return storage

    def _put_cache_before(self, storage: Storage, cache: CacheSettings) -> Storage:
        from gateway.storage.cache.slices import SliceCache  # noqa: PLC0415
        from gateway.storage.cache.storage import CachedStorage  # noqa: PLC0415

        if self._slice_cache is None:
            self._slice_cache = SliceCache(cache.path, cache.max_bytes, self._count)
        return CachedStorage(storage, self._slice_cache)

    def _registered(self, name: str, entry: Registered) -> LocalStorage:
        """Return the storage of an entry: the one that is known, with its open files, if it is the same."""
        known = self._local.get(name)
        facts = (entry.root, entry.only, entry.takes_new)
        if known is not None and (known.root, known.only, known.takes_new) == facts:
            return known
        return LocalStorage(
            name,
            entry.root,
            self._descriptors,
            only=entry.only,
            takes_new=entry.takes_new,
            rules=self.rules,
            comparisons=self._comparisons,
        )

    def _refresh(self) -> None:
        """Read the file of registered folders again if it has changed. Raises StorageError."""
        with self._lock:
            try:
                facts = os.stat(self._registry)
            except FileNotFoundError:
                return
            except OSError as error:
                self._registry_failed_at = time.monotonic()
                raise StorageError(f"{self._registry} cannot be read: {advise(error)}") from error
            version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if version == self._registry_version:
                return
            try:
                registered = read_registry(self._registry.parent)
            except StorageError:
                self._registry_failed_at = time.monotonic()
                raise
            fresh = dict(self._configured)
            for name, entry in registered.items():
                if name not in fresh and name not in self._tables:
                    fresh[name] = self._registered(name, entry)
            self._local = fresh
            self._singles = {
                storage.root / storage.only: storage for storage in fresh.values() if storage.only is not None
            }
            self._all = {**fresh, **self._objects}
            self._registry_version = version

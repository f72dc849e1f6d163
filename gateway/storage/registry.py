"""Which storages there are: those of the settings, and those registered in `<data>/storages.json`.

Object storages are built when they are first asked for, and their modules imported then: workers and commands
that have files on disk only pay nothing for them. OBJECT_TYPES has them by type.

`up` and `product add` publish files from any folder; a folder below no configured root is registered as a
storage of its own, so that running workers find it without new settings. Of two of the same name the
settings' wins.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.config.storages import (
    CloudSettings,
    LocalSettings,
    S3Settings,
    StorageSettings,
)
from gateway.errors import StorageError
from gateway.storage.catalog import Catalog
from gateway.storage.interface import Storage
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.roots import REGISTRY, read_registry, register
from gateway.storage.local.storage import LocalStorage

if TYPE_CHECKING:
    from gateway.storage.cache.slices import SliceCache

RECHECK_SECONDS: Final = 1.0
"""How often at most an unknown name makes us look at the registry again: anyone may mint nonsense."""
Count = Callable[..., None]
"""`Counters.add`: an index, and how many (1)."""


def _no_count(_index: int, _by: int = 1) -> None:
    """Nobody reads the counters of a command."""


def _s3_storage(name: str, table: S3Settings, count: Count) -> Storage:
    from gateway.storage.s3.setup import make_bucket  # noqa: PLC0415
    from gateway.storage.s3.storage import S3Storage  # noqa: PLC0415

    return S3Storage(make_bucket(name, table), count)


def _s3_catalog(name: str, table: S3Settings) -> Catalog:
    from gateway.storage.s3.catalog import S3Catalog  # noqa: PLC0415
    from gateway.storage.s3.setup import make_bucket  # noqa: PLC0415

    return S3Catalog(make_bucket(name, table), table)


def _cloud_storage(name: str, table: CloudSettings, count: Count) -> Storage:
    from gateway.storage.obstore.setup import make_store  # noqa: PLC0415
    from gateway.storage.obstore.storage import CloudStorage  # noqa: PLC0415

    return CloudStorage(name, make_store(name, table), table.prefix, count)


def _cloud_catalog(name: str, table: CloudSettings) -> Catalog:
    from gateway.storage.obstore.catalog import CloudCatalog  # noqa: PLC0415
    from gateway.storage.obstore.setup import COMMAND_RETRIES, address, make_store  # noqa: PLC0415

    return CloudCatalog(name, lambda: make_store(name, table, COMMAND_RETRIES), table.prefix, address(table))


class ObjectType(NamedTuple):
    """How a type of object storage is built from its name and table: to serve from, and to look into."""

    storage: Callable[[str, Any, Count], Storage]
    catalog: Callable[[str, Any], Catalog]


OBJECT_TYPES: Final[dict[str, ObjectType]] = {
    "s3": ObjectType(_s3_storage, _s3_catalog),
    "gs": ObjectType(_cloud_storage, _cloud_catalog),
    "az": ObjectType(_cloud_storage, _cloud_catalog),
}
"""Every type but `local`. Each function imports what it needs itself."""


class CacheSettings(NamedTuple):
    """The cache of object storages: its folder and how many bytes it may hold."""

    path: Path
    max_bytes: int


class ObjectLocation(NamedTuple):
    """Where a file lies: a storage's name and the key there."""

    storage: str
    key: str


class Storages:
    """The storages by name, sharing one descriptor cache of `open_files`. Any thread may use it.

    count: of the process's counters. cache: for what is read from object storages, if they are to have one.
    """

    def __init__(
        self,
        configured: Mapping[str, StorageSettings],
        data: Path,
        open_files: int,
        *,
        count: Count = _no_count,
        cache: CacheSettings | None = None,
    ) -> None:
        self._cache = DescriptorCache(open_files)
        self._registry = data / REGISTRY
        self._configured = {
            name: LocalStorage(name, table.root, self._cache)
            for name, table in configured.items()
            if isinstance(table, LocalSettings)
        }
        self._local = dict(self._configured)
        self._tables = {
            name: table for name, table in configured.items() if not isinstance(table, LocalSettings)
        }
        self._all: dict[str, Storage] = dict(self._configured)
        self._objects: dict[str, Storage] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._count = count
        self._caching = cache
        self._slices: SliceCache | None = None
        self._lock = threading.RLock()
        self._seen: tuple[int, int, int] | None = None
        self._looked = float("-inf")

    def __iter__(self) -> Iterator[Storage]:
        """All storages, the registered ones as the registry has them now, object storages built."""
        self._refresh()
        for name in self._tables:
            self._build(name)
        return iter(self._all.values())

    def prepare(self) -> None:
        """Build the object storages now, so that no request waits for it. What fails now is told by `get`."""
        for name in self._tables:
            with suppress(StorageError):
                self._build(name)

    def get(self, name: str) -> Storage:
        """Return the storage of this name. Raises StorageError for none (or an unreadable registry).

        An unknown name looks at the registry again, RECHECK_SECONDS after the last time at the earliest: a
        stat, and a small read when it changed.
        """
        storage = self._all.get(name)
        if storage is not None:
            return storage
        if name in self._tables:
            return self._build(name)
        with self._lock:  # whoever comes while another thread looks, waits for what that finds
            if time.monotonic() - self._looked >= RECHECK_SECONDS:
                self._refresh()
            storage = self._all.get(name)
        if storage is None:
            raise StorageError(
                f"there is no storage {name!r}: configure [storage.{name}] as when the product was published"
            )
        return storage

    def local(self, name: str) -> LocalStorage:
        """Return the storage of this name, which is a folder. Raises StorageError for none and any other."""
        storage = self.get(name)
        if isinstance(storage, LocalStorage):
            return storage
        raise StorageError(f"storage {name}: is a bucket and no folder")

    def catalog(self, name: str) -> Catalog | None:
        """Return what looks into the object storage of this name; None for a folder or an unknown name."""
        table = self._tables.get(name)
        if table is None:
            return None
        with self._lock:
            if name not in self._catalogs:
                self._catalogs[name] = OBJECT_TYPES[table.type].catalog(name, table)
            return self._catalogs[name]

    def catalogs(self) -> Iterator[Catalog]:
        """Return one for each object storage of the settings."""
        return (catalog for name in self._tables if (catalog := self.catalog(name)) is not None)

    def locate_object(self, address: str) -> tuple[Catalog, str] | None:
        """Find the storage (the one that begins nearest) and the key of an address such as s3://bucket/key."""
        held = [
            catalog
            for catalog in self.catalogs()
            if address.startswith(catalog.root) or f"{address}/" == catalog.root
        ]
        if not held:
            return None
        nearest = max(held, key=lambda catalog: len(catalog.root))
        return nearest, address[len(nearest.root) :]

    def locate(self, path: Path) -> ObjectLocation | None:
        """Find the storage and key of a file: below a configured root (the longest), else a registered one.

        `path` is absolute and free of links, so that its key is too. None when no root holds it.
        """
        self._refresh()
        for configured in (True, False):
            roots = [
                (storage.root.resolve(), name)
                for name, storage in self._local.items()
                if (name in self._configured) is configured
            ]
            for root, name in sorted(roots, key=lambda pair: len(pair[0].parts), reverse=True):
                if path != root and path.is_relative_to(root):
                    return ObjectLocation(name, os.fsencode(path.relative_to(root)).decode())
        return None

    def register(self, folder: Path) -> str:
        """Make the folder a storage, kept in the registry; returns its name. Raises ConfigurationError."""
        name = register(self._registry.parent, folder)
        self._refresh()
        return name

    def close(self) -> None:
        """Close what the storages keep: connections, and descriptors; what is held closes when released."""
        for storage in self._objects.values():
            storage.close()
        self._cache.clear()

    def _build(self, name: str) -> Storage:
        """Build an object storage, with the cache around it unless clients are sent elsewhere."""
        with self._lock:
            storage = self._objects.get(name)
            if storage is not None:
                return storage
            table = self._tables[name]
            storage = OBJECT_TYPES[table.type].storage(name, table, self._count)
            if self._caching is not None and not storage.redirects:
                storage = self._wrap(storage, self._caching)
            self._objects[name] = storage
            self._all = {**self._all, name: storage}
            return storage

    def _wrap(self, storage: Storage, caching: CacheSettings) -> Storage:
        from gateway.storage.cache.slices import SliceCache  # noqa: PLC0415
        from gateway.storage.cache.storage import CachedStorage  # noqa: PLC0415

        if self._slices is None:
            self._slices = SliceCache(caching.path, caching.max_bytes, self._count)
        return CachedStorage(storage, self._slices)

    def _refresh(self) -> None:
        with self._lock:
            self._looked = time.monotonic()
            try:
                facts = os.stat(self._registry)
            except FileNotFoundError:
                return
            except OSError as error:
                raise StorageError(f"{self._registry} cannot be read: {error.strerror}") from error
            version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if version == self._seen:
                return
            registered = read_registry(self._registry.parent)
            fresh = dict(self._configured)
            for name, root in registered.items():
                known = self._local.get(name)
                if name not in fresh and name not in self._tables:
                    same = known is not None and known.root == root
                    fresh[name] = known if known and same else LocalStorage(name, root, self._cache)
            self._local = fresh
            self._all = {**fresh, **self._objects}
            self._seen = version

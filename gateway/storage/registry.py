"""Which storages there are: those of the settings, and those registered in `<data>/storages.json`.

`up` and `product add` publish files from any folder; a folder below no configured root is registered as a
storage of its own, so that running workers find it without new settings. Of two of the same name the
settings' wins. The file is written whole and renamed into place, by one writer at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from gateway.errors import ConfigurationError, StorageError
from gateway.storage.cache import DescriptorCache
from gateway.storage.local import LocalStorage

REGISTRY: Final = "storages.json"
RECHECK_SECONDS: Final = 1.0
"""How often at most an unknown name makes us look at the registry again: anyone may mint nonsense."""
_NAME_CHARACTERS: Final = 40
_DIGEST_CHARACTERS: Final = 8


class StorageTable(Protocol):
    """One `[storage.NAME]` table of the settings."""

    @property
    def root(self) -> Path | None:
        """The folder with the files."""


class Place(NamedTuple):
    """Where a file lies: a storage's name and the key there."""

    storage: str
    key: str


class Storages:
    """The storages by name, sharing one descriptor cache of `open_files`. Any thread may use it."""

    def __init__(self, configured: Mapping[str, StorageTable], data: Path, open_files: int) -> None:
        self._cache = DescriptorCache(open_files)
        self._registry = data / REGISTRY
        self._configured = {
            name: LocalStorage(name, table.root, self._cache)
            for name, table in configured.items()
            if table.root is not None
        }
        self._all = dict(self._configured)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._looked = float("-inf")

    def __iter__(self) -> Iterator[LocalStorage]:
        """All storages, the registered ones as the registry has them now."""
        self._refresh()
        return iter(self._all.values())

    def get(self, name: str) -> LocalStorage:
        """Return the storage of this name. Raises StorageError for none (or an unreadable registry).

        An unknown name looks at the registry again, RECHECK_SECONDS after the last time at the earliest: a
        stat, and a small read when it changed.
        """
        storage = self._all.get(name)
        if storage is not None:
            return storage
        if time.monotonic() - self._looked >= RECHECK_SECONDS:
            self._refresh()
            storage = self._all.get(name)
        if storage is None:
            raise StorageError(
                f"there is no storage {name!r}: configure [storage.{name}] as when the product was published"
            )
        return storage

    def locate(self, path: Path) -> Place | None:
        """Find the storage and key of a file: below a configured root (the longest), else a registered one.

        `path` is absolute and free of links, so that its key is too. None when no root holds it.
        """
        self._refresh()
        for configured in (True, False):
            roots = [
                (storage.root.resolve(), name)
                for name, storage in self._all.items()
                if (name in self._configured) is configured
            ]
            for root, name in sorted(roots, key=lambda pair: len(pair[0].parts), reverse=True):
                if path != root and path.is_relative_to(root):
                    return Place(name, os.fsencode(path.relative_to(root)).decode())
        return None

    def register(self, folder: Path) -> str:
        """Make the folder a storage, kept in the registry; returns its name. Raises ConfigurationError."""
        name = register(self._registry.parent, folder)
        self._refresh()
        return name

    def close(self) -> None:
        """Close the cached descriptors that nobody holds; the others close when they are released."""
        self._cache.clear()

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
                known = self._all.get(name)
                if name not in fresh:
                    same = known is not None and known.root == root
                    fresh[name] = known if known and same else LocalStorage(name, root, self._cache)
            self._all = fresh
            self._seen = version


def read_registry(data: Path) -> dict[str, Path]:
    """Read the registered roots by name; none when nothing was registered. Raises StorageError."""
    path = data / REGISTRY
    try:
        plain = json.loads(path.read_bytes())
        return {
            str(name): Path(table["root"]) for name, table in plain.items() if table.get("type") == "local"
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(
            f'{path} is damaged: it should hold {{"NAME": {{"type": "local", "root": "…"}}}}'
        ) from None


def name_for(folder: Path) -> str:
    """Name a folder for the registry: after the folder, and a digest that tells namesakes apart."""
    word = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:_NAME_CHARACTERS].strip("-")
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{word or 'files'}-{digest}"


def register(data: Path, folder: Path) -> str:
    """Write a folder into the registry, unless it is there; returns its storage's name.

    The file has mode 0600 and is replaced at once, so a reader never sees half of it. Raises
    ConfigurationError when it cannot be written or the folder's path is not valid UTF-8.
    """
    folder = folder.resolve()
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ConfigurationError([f"{str(folder)!r} is not valid UTF-8; rename the folder"]) from None
    name = name_for(folder)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_writer(data):
            known = read_registry(data)
            if known.get(name) != folder:
                _write(data / REGISTRY, known | {name: folder})
    except StorageError as error:
        raise ConfigurationError([str(error)]) from error
    except OSError as error:
        raise ConfigurationError([f"{data / REGISTRY} cannot be written: {error.strerror}"]) from error
    return name


@contextmanager
def _only_writer(data: Path) -> Iterator[None]:
    lock = os.open(
        data / (REGISTRY + ".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go of by closing
        yield
    finally:
        os.close(lock)


def _write(path: Path, roots: Mapping[str, Path]) -> None:
    plain = {name: {"type": "local", "root": str(root)} for name, root in sorted(roots.items())}
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(fd)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)
        raise

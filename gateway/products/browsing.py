"""What lies in the storages, folder by folder, for a person who chooses what to publish.

Nobody gets out of a storage's root here: folders are opened as files are (`LocalStorage.open_folder`), keys
are plain paths below the root, and what is chosen is published from this storage under the key that was
looked at. Hidden names, links to folders and links that lead out are left out, and counted. All of this
blocks, for threads, and reads no content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from gateway.errors import StorageError
from gateway.manifest import composed, is_hidden
from gateway.products.validation import MAX_FILES
from gateway.storage.catalog import Catalog
from gateway.storage.local.confinement import parts_of
from gateway.storage.local.storage import LocalStorage
from gateway.storage.registry import Storages
from gateway.storage.rules import refuse_key

MOST_ENTRIES: Final = 500
"""Entries of a folder that are shown: a page of more is no help to anybody, and takes long to send."""
KEYS_READ: Final = 5_000
"""Keys of a bucket that are looked at for one folder: a bucket has no folders, so all below it are listed."""


class Place(NamedTuple):
    """A storage from which may be published. root: the folder of this machine, or the bucket's address."""

    name: str
    root: str


class Entry(NamedTuple):
    """What lies in a folder. key: in its storage. size: in bytes, None of a folder and in a bucket's list."""

    name: str
    key: str
    is_folder: bool
    size: int | None = None


@dataclass(frozen=True)
class Folder:
    """What a folder has, folders first. left_out: names that are not shown. is_cut: whether there is more."""

    place: Place
    folder: str
    entries: tuple[Entry, ...]
    left_out: int = 0
    is_cut: bool = False

    @property
    def trail(self) -> list[tuple[str, str]]:
        """The folders from the root down to this one: the name of each, and its key."""
        parts = self.folder.split("/") if self.folder else []
        return [(part, "/".join(parts[: number + 1])) for number, part in enumerate(parts)]


class ChosenFile(NamedTuple):
    """A file that is to be published. name: for the customer. size: in bytes."""

    name: str
    key: str
    size: int


def list_places(storages: Storages) -> list[Place]:
    """The storages from which may be published, by name."""
    folders = [
        Place(each.name, str(each.root))
        for each in storages
        if isinstance(each, LocalStorage) and each.only is None and each.takes_new
    ]
    buckets = [Place(each.name, each.root) for each in storages.catalogs()]
    return sorted([*folders, *buckets])


def list_folder(storages: Storages, name: str, folder: str = "") -> Folder:
    """What a folder of a storage has; "" is the root. Raises StorageError."""
    catalog = storages.catalog(name)
    if catalog is not None:
        return _list_bucket(catalog, folder)
    storage = _folder_storage(storages, name)
    entries, left_out, is_cut = [], 0, False
    for entry in _entries(storage, folder):
        if entry is None:
            left_out += 1
        else:
            entries.append(entry)
    entries.sort(key=lambda each: (not each.is_folder, each.name))
    if len(entries) > MOST_ENTRIES:
        entries, is_cut = entries[:MOST_ENTRIES], True
    return Folder(Place(name, str(storage.root)), folder, tuple(entries), left_out, is_cut)


def choose_files(storages: Storages, name: str, folder: str, keys: Sequence[str]) -> list[ChosenFile]:
    """The files that are meant by entries of a folder, in order: each file, and all files below each folder.

    Customers see them as they lie below the folder; where one folder alone is chosen, as they lie below that.
    Raises StorageError, also where there are none, or more than a version may have.
    """
    prefix = f"{folder}/" if folder else ""
    for key in keys:
        _check_path(key)
        if not key.startswith(prefix):
            raise StorageError(f"{key!r} does not lie in the folder that was shown")
    catalog = storages.catalog(name)
    found: list[ChosenFile] = []
    for key in dict.fromkeys(keys):
        files = (
            _files_at(_folder_storage(storages, name), key) if catalog is None else _objects_at(catalog, key)
        )
        for is_below, path, size in files:
            base = f"{key}/" if is_below and len(keys) == 1 else prefix
            found.append(ChosenFile(composed(path.removeprefix(base)), path, size))
            if len(found) > MAX_FILES:
                raise StorageError(f"there are more than {MAX_FILES} files, which one version cannot hold")
    if not found:
        raise StorageError("there are no files to publish in what was chosen")
    return found


def _check_path(path: str) -> None:
    try:
        parts_of(path)
    except ValueError as error:
        raise StorageError(f"{path!r} cannot be opened: {error}") from None


def _folder_storage(storages: Storages, name: str) -> LocalStorage:
    storage = storages.local(name)
    if storage.only is not None or not storage.takes_new:
        raise StorageError(f"storage {name}: has one published file, and nothing more to choose")
    return storage


def _entries(storage: LocalStorage, folder: str) -> Iterator[Entry | None]:
    """The entries of a folder in no order; None for each that is left out."""
    descriptor = storage.open_folder(folder)
    try:
        with os.scandir(descriptor) as found:
            for each in found:
                yield _entry(storage, folder, each)
    except OSError as error:
        raise StorageError(f"storage {storage.name}: {folder!r} cannot be listed") from error
    finally:
        os.close(descriptor)


def _entry(storage: LocalStorage, folder: str, found: os.DirEntry[str]) -> Entry | None:
    try:
        name = os.fsencode(found.name).decode()
        key = f"{folder}/{name}" if folder else name
        if is_hidden(name):
            return None
        if found.is_symlink():  # the storage says whether it leads to a file below the root
            return Entry(name, key, False, storage.stat(key).size)
        facts = found.stat(follow_symlinks=False)
    except (UnicodeDecodeError, OSError, StorageError):
        return None
    if stat.S_ISDIR(facts.st_mode):
        return Entry(name, key, True)
    return Entry(name, key, False, facts.st_size) if stat.S_ISREG(facts.st_mode) else None


def _files_at(storage: LocalStorage, key: str) -> Iterator[tuple[bool, str, int]]:
    """The file of a key, or the files below its folder, sorted. Each: is it below, its key, its size."""
    try:
        folder = storage.open_folder(key)
    except StorageError:
        yield False, key, storage.stat(key).size
        return
    os.close(folder)
    waiting = [key]
    while waiting:
        entries = [each for each in _entries(storage, waiting.pop()) if each is not None]
        for each in sorted(entries):
            if not each.is_folder:
                yield True, each.key, storage.stat(each.key).size
        waiting += sorted((each.key for each in entries if each.is_folder), reverse=True)


def _list_bucket(catalog: Catalog, folder: str) -> Folder:
    if folder:
        _check_path(folder)
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Entry] = {}
    left_out = 0
    keys = list(islice(catalog.list(prefix), KEYS_READ))
    for key in keys:
        name, slash, _ = key.removeprefix(prefix).partition("/")
        if refuse_key(name) or not name:
            left_out += 1
        else:
            found.setdefault(name + slash, Entry(name, prefix + name, bool(slash)))
        if len(found) >= MOST_ENTRIES:
            break
    entries = tuple(sorted(found.values(), key=lambda each: (not each.is_folder, each.name)))
    is_cut = len(keys) >= KEYS_READ or len(found) >= MOST_ENTRIES
    return Folder(Place(catalog.name, catalog.root), folder, entries, left_out, is_cut)


def _objects_at(catalog: Catalog, key: str) -> Iterator[tuple[bool, str, int]]:
    listed = islice(catalog.list(f"{key}/"), MAX_FILES + 1)
    below = [each for each in listed if not refuse_key(each)]
    if not below:
        yield False, key, catalog.stat(key).size
        return
    for each in below:
        yield True, each, catalog.stat(each).size

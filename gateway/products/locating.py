"""In which storage a file to publish is, and under which key. What is in no storage is registered.

A path is kept as the user gave it, with its links, and opened below the storage's root in the same way. So
`current/film.mp4` leads to the next release when `current` is turned to it. Only where a path cannot be
opened like that (a link leads out of the root), it is published under the path to which the links lead now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.errors import ConfigurationError, StorageError
from gateway.manifest import Manifest
from gateway.products.scanning import Publication, ScannedFile, printable, utf8
from gateway.storage.local.registered_folders import Registered
from gateway.storage.registry import ObjectLocation, Storages


def locate_files(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation]:
    """Find the storage and the key of each file; register folders and single files that are in no storage.

    Files of one folder are in the same storage, so it is looked for once a folder. A file that was named by
    itself gets a storage of its own, so that nothing beside it can be published through its storage, and no
    link in its place.
    """
    given = [_without_links(each) if each.alone and each.path.is_symlink() else each for each in files]
    found = _register_missing(given, storages, _find(given, storages))
    if None in found:
        pairs = zip(given, found, strict=True)
        given = [each if location is not None else _without_links(each) for each, location in pairs]
        found = _register_missing(given, storages, _find(given, storages))
    for scanned, location in zip(files, found, strict=True):
        if location is None:
            raise ConfigurationError(
                [f"{printable(scanned.path)} is in no storage, and could not be registered"]
            )
    return [location for location in found if location is not None]


def _without_links(scanned: ScannedFile) -> ScannedFile:
    return replace(scanned, path=scanned.real, folder=scanned.real.parent, alone=True)


def _register_missing(
    files: Sequence[ScannedFile], storages: Storages, found: list[ObjectLocation | None]
) -> list[ObjectLocation | None]:
    """Register what is in no storage, and find it again. What cannot be opened there stays None."""
    missing = {_entry(scanned) for scanned, location in zip(files, found, strict=True) if location is None}
    if not missing:
        return found
    storages.register(missing)
    return _find(files, storages)


def _entry(scanned: ScannedFile) -> Registered:
    if scanned.alone:
        return Registered(scanned.folder, only=scanned.path.name)
    return Registered(scanned.folder, whole=True)


def _find(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation | None]:
    folders: dict[Path, ObjectLocation | None] = {}
    locations: list[ObjectLocation | None] = []
    for scanned in files:
        if scanned.alone:
            locations.append(_locate(scanned, storages))
            continue
        parent = scanned.path.parent
        if parent not in folders:
            location = _locate(scanned, storages)
            folders[parent] = location and location._replace(key=location.key.rpartition("/")[0])
        folder = folders[parent]
        name = utf8(scanned.path.name)
        key = f"{folder.key}/{name}" if folder and folder.key else name
        locations.append(folder and folder._replace(key=key))
    return locations


def _locate(scanned: ScannedFile, storages: Storages) -> ObjectLocation | None:
    """Find the storage from which a file can be opened, if there is one."""
    for registered_only in (False, True):
        location = storages.locate(
            scanned.path, alone=scanned.alone, real=scanned.real, registered_only=registered_only
        )
        if location is None or scanned.real == scanned.path:
            return location
        try:
            os.close(storages.local(location.storage).open_descriptor(location.key)[0])
        except StorageError:
            continue  # a link leads out of the storage's root
        return location
    return None


def pinned_links(publication: Publication, manifest: Manifest, storages: Storages) -> Iterator[str]:
    """A warning if files are not published under the path that was given, because of its links."""
    pinned = []
    for scanned, file in zip(publication.scanned, manifest.files, strict=True):
        if isinstance(scanned, ScannedFile) and scanned.path != scanned.real:
            root = storages.local(file.storage).root.absolute()
            if root / file.key != scanned.path:
                pinned.append(scanned)
    if pinned:
        more = f" (and {len(pinned) - 1} more)" if len(pinned) > 1 else ""
        yield (
            f"{printable(pinned[0].path)} is published as {printable(pinned[0].real)}, where its links lead "
            f"now{more}: a link that is turned elsewhere is not followed"
        )

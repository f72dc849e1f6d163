"""In which storage a file to publish is, and under which key. Folders that are in no storage are registered.

A path is kept as the user gave it, with its links, and opened below the storage's root in the same way. So
`current/film.mp4` leads to the next release when `current` is turned to it. Only where a path cannot be
opened like that (a link leads out of the root), it is published under the path to which the links lead now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.errors import ConfigurationError, StorageError
from gateway.manifest import Manifest
from gateway.products.scanning import Publication, ScannedFile, printable, utf8
from gateway.storage.registry import ObjectLocation, Storages


def locate_files(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation]:
    """Find the storage and the key of each file. Raises ConfigurationError.

    Files of one folder are in the same storage, so it is looked for once a folder.
    """
    folders: dict[Path, ObjectLocation] = {}
    locations = []
    for scanned in files:
        parent = scanned.path.parent
        folder = folders.get(parent)
        if folder is None or scanned.path.is_symlink():
            location = _locate(scanned, storages)
            if not scanned.path.is_symlink():
                folders[parent] = ObjectLocation(location.storage, location.key.rpartition("/")[0])
        else:
            name = utf8(scanned.path.name)
            location = ObjectLocation(folder.storage, f"{folder.key}/{name}" if folder.key else name)
        locations.append(location)
    return locations


def _locate(scanned: ScannedFile, storages: Storages) -> ObjectLocation:
    location = storages.locate(scanned.path, scanned.real)
    if location is not None and _opens(scanned, location, storages):
        return location
    storages.register(scanned.folder)
    location = storages.locate(scanned.path, scanned.path)
    if location is not None and _opens(scanned, location, storages):
        return location
    if scanned.real != scanned.path:
        location = storages.locate(scanned.real)
        if location is None:
            storages.register(scanned.real.parent)
            location = storages.locate(scanned.real)
    if location is None:
        raise ConfigurationError(
            [f"{printable(scanned.path)} is in no storage, and its folder could not be registered"]
        )
    return location


def _opens(scanned: ScannedFile, location: ObjectLocation, storages: Storages) -> bool:
    """Whether a path with links can be opened below its storage's root. One without links always can."""
    if scanned.real == scanned.path:
        return True
    try:
        os.close(storages.local(location.storage).open_descriptor(location.key)[0])
    except StorageError:
        return False
    return True


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

"""Whether two manifests have the same content, and a manifest whose files are elsewhere now. Pure.

The content of a version is its files' names, sizes and SHA-256. Where a file is stored, when it was modified
and which ETag a bucket gave it may change, as when a folder is moved or restored from a backup.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.manifest import Manifest, ManifestFile, composed
from gateway.storage.published import is_strong


def same_content(one: Manifest, other: Manifest) -> bool:
    """Whether both have the same files for a customer, in whatever order and wherever they are stored."""
    return len(one.files) == len(other.files) and _contents(one) == _contents(other)


def same_places(one: Manifest, other: Manifest) -> bool:
    """Whether the files of both, which have the same content, are stored under the same keys."""
    return _places(one) == _places(other)


def moved(manifest: Manifest, found: Manifest) -> Manifest:
    """The manifest with each file where `found` has the file of this name; the others stay where they are.

    The order of the files stays, because tokens count bytes by the number of a file. So does the time of a
    file, which is its Last-Modified, unless only the time shows whether an object was replaced.
    """
    places = {composed(file.name): file for file in found.files}
    return replace(
        manifest,
        files=tuple(_moved_file(file, places.get(composed(file.name), file)) for file in manifest.files),
    )


def _moved_file(file: ManifestFile, found: ManifestFile) -> ManifestFile:
    dated = found.version_id == "" and found.etag != "" and not is_strong(found.etag)
    return replace(
        file,
        storage=found.storage,
        key=found.key,
        etag=found.etag,
        version_id=found.version_id,
        modified=found.modified if dated else file.modified,
    )


def _contents(manifest: Manifest) -> dict[str, tuple[int, str]]:
    return {composed(file.name): (file.size, file.sha256) for file in manifest.files}


def _places(manifest: Manifest) -> dict[str, tuple[str, str]]:
    return {composed(file.name): (file.storage, file.key) for file in manifest.files}

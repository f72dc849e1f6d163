"""The files of a registered version are elsewhere now: find them, and compare them with the version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.errors import ConfigurationError, StorageError
from gateway.manifest import Manifest, ManifestFile, composed
from gateway.products.bucket_scanning import Progress, no_progress
from gateway.products.scanning import Publication, plan_publication
from gateway.storage.interface import BeingCompared
from gateway.storage.registry import Storages


def plan_relocation(
    known: Manifest,
    paths: Sequence[Path | str],
    private: Path | None,
    storages: Storages,
    progress: Progress = no_progress,
) -> Publication:
    """Find the files of a version below the paths, by their names; other files there are left out.

    A file of the version that is not there stays where it is, and must still be there. Raises
    ConfigurationError with all faults.
    """
    found = plan_publication(paths, private, storages, progress)
    wanted = {composed(file.name): file for file in known.files}
    scanned = tuple(each for each in found.scanned if each.name in wanted)
    faults = [
        f"{each.address} has {each.size} bytes, but {each.name!r} of the version has {wanted[each.name].size}"
        for each in scanned
        if each.size != wanted[each.name].size
    ]
    faults += _faults_of_missing(wanted, {each.name for each in scanned}, storages)
    if not scanned:
        faults = [f"no file there has the name of a file of the version, such as {known.files[0].name!r}"]
    if faults:
        raise ConfigurationError(faults)
    return Publication(scanned, found.skipped)


def _faults_of_missing(
    wanted: Mapping[str, ManifestFile], found: set[str], storages: Storages
) -> Iterator[str]:
    for name, file in wanted.items():
        if name in found:
            continue
        try:
            catalog = storages.catalog(file.storage)
            if catalog is not None:
                catalog.check(file)
            else:
                storages.local(file.storage).check(file)
        except BeingCompared:
            continue
        except StorageError as error:
            yield f"{file.name!r} is not there, and not in its old place: {error}"


def compare(known: Manifest, found: Manifest) -> None:
    """Compare the digests of files that were found. Raises ConfigurationError with every difference."""
    wanted = {composed(file.name): file.sha256 for file in known.files}
    faults = [
        f"{file.name!r} has other content: SHA-256 {file.sha256} instead of {wanted[file.name]}"
        for file in found.files
        if file.sha256 != wanted[file.name]
    ]
    if faults:
        raise ConfigurationError(faults)

"""Publishing: from paths on disk and addresses of objects to a manifest.

plan_publication   finds the files and their names, and reports all errors at once (scanning.py)
hash_files         reads them for SHA-256 and CRC-32, several at a time (hashing.py), and registers storages
show_progress      shows a bar to a person at a terminal
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.errors import ConfigurationError
from gateway.manifest import Manifest
from gateway.products.hashing import (
    OBJECT_READERS,
    EarlierFiles,
    Hasher,
    HashingFailed,
    Report,
    run_jobs,
)
from gateway.products.scanning import HIDDEN_HELP, Publication, ScannedFile, plan_publication, printable, utf8
from gateway.storage.local.registered_folders import Registered
from gateway.storage.registry import ObjectLocation, Storages

__all__ = [
    "HIDDEN_HELP",
    "Publication",
    "Report",
    "ScannedFile",
    "hash_files",
    "plan_publication",
    "show_progress",
]


def hash_files(
    publication: Publication,
    storages: Storages,
    product: str,
    version: str,
    *,
    report: Report | None = None,
    previous: Manifest | None = None,
    trust: bool = False,
) -> Manifest:
    """Read every file and make the manifest. Blocks for as long as that takes, and uses all CPUs.

    Files below no root get a storage, which is registered permanently. report: called from worker threads.
    previous: an earlier manifest, from which digests are taken for files of the same storage, key, size and
    modification time, which are then not read. Like serving, that relies on nobody changing a file and
    setting its time back. For objects, ETag and version must be the same. trust: use the digests that an
    object's storage has, without reading the object.

    Raises ConfigurationError when files cannot be read, or change meanwhile. It stops at once then, and when
    it is interrupted.
    """
    files = [each for each in publication.scanned if isinstance(each, ScannedFile)]
    locations = iter(_locate(files, storages))
    known = EarlierFiles([previous] if previous else [], storages)
    stop = threading.Event()
    hasher = Hasher(storages, report or (lambda _: None), stop.is_set, trust)
    readers = len(os.sched_getaffinity(0))
    if len(files) < len(publication.scanned):
        readers = max(readers, OBJECT_READERS)
    jobs = [
        partial(hasher.describe, each, next(locations), known.file(each))
        if isinstance(each, ScannedFile)
        else partial(hasher.describe_object, each, known.object(each))
        for each in publication.scanned
    ]
    try:
        return Manifest(product, version, tuple(run_jobs(jobs, readers, stop)))
    except HashingFailed as failed:
        raise ConfigurationError([str(error) for _, error in failed.faults]) from failed


def _locate(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation]:
    """Find the storage and the key of each file; register folders and single files that are in no storage.

    Files of one folder are in the same storage, so it is looked for once a folder. A file that was named by
    itself gets a storage of its own, so that nothing beside it can be published through its storage.
    """
    found = _find(files, storages)
    missing = {_entry(scanned) for scanned, location in zip(files, found, strict=True) if location is None}
    if missing:
        storages.register(missing)
        found = _find(files, storages)
    for scanned, location in zip(files, found, strict=True):
        if location is None:
            raise ConfigurationError(
                [f"{printable(scanned.path)} is in no storage, and could not be registered"]
            )
    return [location for location in found if location is not None]


def _entry(scanned: ScannedFile) -> Registered:
    if scanned.alone:
        return Registered(scanned.folder, only=scanned.path.name)
    return Registered(scanned.folder, whole=True)


def _find(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation | None]:
    folders: dict[Path, ObjectLocation | None] = {}
    locations: list[ObjectLocation | None] = []
    for scanned in files:
        if scanned.alone:
            locations.append(storages.locate(scanned.path, alone=True))
            continue
        parent = scanned.path.parent
        if parent not in folders:
            location = storages.locate(scanned.path)
            folders[parent] = location and location._replace(key=location.key.rpartition("/")[0])
        folder = folders[parent]
        name = utf8(scanned.path.name)
        key = f"{folder.key}/{name}" if folder and folder.key else name
        locations.append(folder and folder._replace(key=key))
    return locations


@contextmanager
def show_progress(total: int, label: str = "Hashing") -> Iterator[Report]:
    """Show bytes, speed and time left on stderr while the block runs, if that is a terminal.

    Yields what to call with the bytes done, from any thread. Afterwards the bar is removed.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)

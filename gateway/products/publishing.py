"""Publishing: from paths on disk and addresses of objects to a manifest.

plan_publication   finds the files and their names, and reports all errors at once (scanning.py)
hash_files         reads them for SHA-256 and CRC-32, several at a time (hashing.py), and registers storages
show_progress      shows a bar to a person at a terminal
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

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
from gateway.products.locating import locate_files
from gateway.products.scanning import HIDDEN_HELP, Publication, ScannedFile, plan_publication
from gateway.storage.registry import Storages

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
    previous: an earlier manifest, from which digests are taken for files that this machine knows to be
    unchanged since (`storage/local/verified.py`), which are then not read. For objects, ETag and version must
    be the same. trust: use the digests that an object's storage has, without reading the object.

    Raises ConfigurationError when files cannot be read, or change meanwhile. It stops at once then, and when
    it is interrupted.
    """
    files = [each for each in publication.scanned if isinstance(each, ScannedFile)]
    locations = iter(locate_files(files, storages))
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

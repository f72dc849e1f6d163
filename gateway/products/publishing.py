"""Publishing: from paths on disk and addresses of objects to a manifest.

plan_publication   finds the files and their names, and reports all errors at once (scanning.py)
hash_files         reads them for SHA-256 and CRC-32, several at a time, and registers storages
show_progress      shows a bar to a person at a terminal
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.errors import ConfigurationError, StorageError
from gateway.http.fields import media_type
from gateway.manifest import Manifest, ManifestFile
from gateway.products.bucket_scanning import ScannedObject
from gateway.products.scanning import HIDDEN_HELP, Publication, ScannedFile, plan_publication, printable, utf8
from gateway.storage.published import is_strong
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

HASH_BYTES: Final = 1 << 18
"""Bytes of one read, during which other threads run. 128 KiB to 4 MiB were equally fast (0.9 GB/s a
thread)."""
OBJECT_READERS: Final = 8
"""Objects read at once. A connection to S3 brings some 100 MB/s, and a CPU hashes 900 MB/s."""
Report = Callable[[int], None]
"""Called with the bytes done since the last call, from several threads."""


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
    known = _EarlierFiles(previous)
    stop = threading.Event()
    hasher = _Hasher(storages, report or (lambda _: None), stop, trust)
    readers = len(os.sched_getaffinity(0))
    if len(files) < len(publication.scanned):
        readers = max(readers, OBJECT_READERS)
    pool = ThreadPoolExecutor(readers, thread_name_prefix="hash")
    jobs: list[Future[ManifestFile]] = []
    try:
        for each in publication.scanned:
            if isinstance(each, ScannedFile):
                location = next(locations)
                jobs.append(pool.submit(hasher.describe, each, location, known.file(each, location)))
            else:
                jobs.append(pool.submit(hasher.describe_object, each, known.object(each)))
        wait(jobs, return_when=FIRST_EXCEPTION)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    errors = [error for job in jobs if not job.cancelled() and (error := job.exception())]
    faults = [str(error) for error in errors if isinstance(error, StorageError)]
    if faults:
        raise ConfigurationError(faults)
    for error in errors:
        if not isinstance(error, _Stopped):  # the other jobs raise it because of the first error
            raise error
    return Manifest(product, version, tuple(job.result() for job in jobs))


def _locate(files: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation]:
    """Find the storage and the key of each file; register folders that are in no storage.

    Files of one folder are in the same storage, so it is looked for once a folder.
    """
    folders: dict[Path, ObjectLocation] = {}
    locations = []
    for scanned in files:
        parent = scanned.path.parent
        folder = folders.get(parent)
        if folder is None:
            location = storages.locate(scanned.path)
            if location is None:
                storages.register(scanned.folder)
                location = storages.locate(scanned.path)
            if location is None:
                raise ConfigurationError(
                    [f"{printable(scanned.path)} is in no storage, and its folder could not be registered"]
                )
            folder = folders[parent] = ObjectLocation(location.storage, location.key.rpartition("/")[0])
        name = utf8(scanned.path.name)
        locations.append(ObjectLocation(folder.storage, f"{folder.key}/{name}" if folder.key else name))
    return locations


class _EarlierFiles:
    """The files of an earlier manifest, found by what shows that they have not changed."""

    def __init__(self, manifest: Manifest | None) -> None:
        files = () if manifest is None else manifest.files
        self._files = {(file.storage, file.key, file.size, file.modified): file for file in files}
        self._objects = {
            (file.storage, file.key, file.size, file.etag, file.version_id): file
            for file in files
            if is_strong(file.etag) or file.version_id
        }

    def file(self, scanned: ScannedFile, location: ObjectLocation) -> ManifestFile | None:
        return self._files.get((*location, scanned.size, scanned.modified))

    def object(self, scanned: ScannedObject) -> ManifestFile | None:
        facts = scanned.facts
        return self._objects.get((scanned.storage, facts.key, facts.size, facts.etag, facts.version_id))


class _Stopped(Exception):
    """Another file failed, or the user has interrupted the command."""


class _Hasher:
    """Reads files and objects for their digests, in threads. trust: use the digests that a storage has."""

    def __init__(self, storages: Storages, report: Report, stop: threading.Event, trust: bool) -> None:
        self._storages = storages
        self._report = report
        self._stop = stop
        self._trust = trust

    def describe(
        self, scanned: ScannedFile, location: ObjectLocation, old: ManifestFile | None
    ) -> ManifestFile:
        """Make the entry of one file. Raises StorageError when it cannot be served, or has changed."""
        storage = self._storages.local(location.storage)
        fd, facts = storage.open_descriptor(location.key)
        try:
            self._expect(scanned, facts)
            if old is None:
                sha256, crc32 = self._digest(fd, scanned)
                self._expect(scanned, os.fstat(fd))
                # The path must still lead to what was read, not to another file of the same size and time.
                again, now = storage.open_descriptor(location.key)
                os.close(again)
                self._expect(scanned, now)
                if not os.path.samestat(facts, now):
                    self._raise_changed(scanned)
            else:
                sha256, crc32 = old.sha256, old.crc32
                self._report(scanned.size)
        finally:
            os.close(fd)
        return ManifestFile(
            name=scanned.name,
            size=scanned.size,
            type=media_type(scanned.name),
            sha256=sha256,
            crc32=crc32,
            storage=location.storage,
            key=location.key,
            modified=scanned.modified,
        )

    def describe_object(self, scanned: ScannedObject, old: ManifestFile | None) -> ManifestFile:
        """Make the entry of one object. Raises StorageError when it cannot be read, or has changed."""
        facts = scanned.facts
        modified = facts.modified
        if old is not None:
            sha256, crc32 = old.sha256, old.crc32
            modified = old.modified  # the ETag or the version is what identifies it
            self._report(facts.size)
        elif self._trust and scanned.has_digests:
            sha256, crc32 = facts.sha256, facts.crc32
            self._report(facts.size)
        else:
            sha256, crc32 = self._digest_object(scanned)
        return ManifestFile(
            name=scanned.name,
            size=facts.size,
            type=media_type(scanned.name),
            sha256=sha256,
            crc32=crc32,
            storage=scanned.storage,
            key=facts.key,
            modified=modified,
            etag=facts.etag,
            version_id=facts.version_id,
        )

    def _digest_object(self, scanned: ScannedObject) -> tuple[str, str]:
        """Read an object and return its digests. Those that its storage has must be the same."""
        catalog = self._storages.catalog(scanned.storage)
        assert catalog is not None  # the object was found in it
        facts = scanned.facts
        sha256, crc32 = hashlib.sha256(), 0
        for chunk in catalog.read(facts):
            if self._stop.is_set():
                raise _Stopped
            sha256.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            self._report(len(chunk))
        found = (sha256.hexdigest(), f"{crc32:08x}")
        for what, stored, actual in zip(
            ("SHA-256", "CRC-32"), (facts.sha256, facts.crc32), found, strict=True
        ):
            if stored not in ("", actual):
                raise StorageError(
                    f"{scanned.address} is damaged, or its stored {what} is wrong: "
                    f"stored {stored}, but the content has {actual}; upload it again"
                )
        return found

    def _digest(self, fd: int, scanned: ScannedFile) -> tuple[str, str]:
        sha256, crc32, at = hashlib.sha256(), 0, 0
        buffer = memoryview(bytearray(min(HASH_BYTES, scanned.size + 1)))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while True:
            if self._stop.is_set():
                raise _Stopped
            try:
                size = os.preadv(fd, (buffer,), at)
            except OSError as error:
                raise StorageError(f"{printable(scanned.path)} cannot be read: {error.strerror}") from error
            if not size:
                return sha256.hexdigest(), f"{crc32:08x}"
            chunk = buffer[:size]
            sha256.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            at += size
            if at > scanned.size:
                self._raise_changed(scanned)
            self._report(size)

    def _expect(self, scanned: ScannedFile, facts: os.stat_result) -> None:
        if (facts.st_size, facts.st_mtime_ns) != (scanned.size, scanned.modified):
            self._raise_changed(scanned)

    def _raise_changed(self, scanned: ScannedFile) -> None:
        raise StorageError(
            f"{printable(scanned.path)} changed while it was published; publish again when it is complete"
        )


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

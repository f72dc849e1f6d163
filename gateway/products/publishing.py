"""Publishing: from paths on disk and addresses of objects to a manifest.

plan_publication   looks: which files, under which names; every fault told at once (scanning.py)
hash_files         reads: SHA-256 and CRC-32 in one pass, several files at a time; registers storages
show_progress      a bar for a person at a terminal
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
from gateway.products.scanning import HIDDEN_HELP, Publication, ScannedFile, plan_publication, shown, utf8
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
"""Bytes of one read: other threads run meanwhile; 128 KiB to 4 MiB were alike (0.9 GB/s a thread)."""
OBJECT_READERS: Final = 8
"""Objects read at once: a connection to S3 brings some 100 MB/s, and a CPU takes the digests of 900."""
Report = Callable[[int], None]
"""Told the bytes done since the last call; called from several threads."""


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
    """Read every file and make the manifest; blocks for as long as that takes, on all CPUs.

    Files below no root are given a storage, registered for good. Digests are taken over from `previous` for
    files of the same storage, key, size and modification time, which are then not read: that trusts, as
    serving does, that whoever changes a file does not set its time back. Of objects, ETag and version must be
    the same. `trust`: digests that an object's storage keeps are believed.

    `report` is called from worker threads. Raises ConfigurationError when files cannot be read, or change
    meanwhile; stops at once then, and when interrupted.
    """
    files = [each for each in publication.scanned if isinstance(each, ScannedFile)]
    places = iter(_place(files, storages))
    known = _Known(previous)
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
                place = next(places)
                jobs.append(pool.submit(hasher.describe, each, place, known.file(each, place)))
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
        if not isinstance(error, _Stopped):  # which is only what the other jobs make of it
            raise error
    return Manifest(product, version, tuple(job.result() for job in jobs))


def _place(scanned: Sequence[ScannedFile], storages: Storages) -> list[ObjectLocation]:
    """Find each file's storage and key, registering folders that have none. Files of one folder are alike."""
    homes: dict[Path, ObjectLocation] = {}
    places = []
    for scanned_file in scanned:
        parent = scanned_file.path.parent
        home = homes.get(parent)
        if home is None:
            place = storages.locate(scanned_file.path)
            if place is None:
                storages.register(scanned_file.folder)
                place = storages.locate(scanned_file.path)
            if place is None:
                raise ConfigurationError(
                    [f"{shown(scanned_file.path)} is below no storage's root, nor could one be made"]
                )
            home = homes[parent] = ObjectLocation(place.storage, place.key.rpartition("/")[0])
        name = utf8(scanned_file.path.name)
        places.append(ObjectLocation(home.storage, f"{home.key}/{name}" if home.key else name))
    return places


class _Known:
    """The files of an earlier manifest, by what shows that they are still the same."""

    def __init__(self, manifest: Manifest | None) -> None:
        files = () if manifest is None else manifest.files
        self._files = {(file.storage, file.key, file.size, file.modified): file for file in files}
        self._objects = {
            (file.storage, file.key, file.size, file.etag, file.version_id): file
            for file in files
            if file.etag
        }

    def file(self, scanned_file: ScannedFile, place: ObjectLocation) -> ManifestFile | None:
        return self._files.get((*place, scanned_file.size, scanned_file.modified))

    def object(self, scanned_file: ScannedObject) -> ManifestFile | None:
        facts = scanned_file.facts
        return self._objects.get((scanned_file.storage, facts.key, facts.size, facts.etag, facts.version_id))


class _Stopped(Exception):
    """Another file failed, or the user interrupted."""


class _Hasher:
    """Reads files and objects for their digests, in threads. trust: believe a storage's digests."""

    def __init__(self, storages: Storages, report: Report, stop: threading.Event, trust: bool) -> None:
        self._storages = storages
        self._report = report
        self._stop = stop
        self._trust = trust

    def describe(
        self, scanned_file: ScannedFile, place: ObjectLocation, old: ManifestFile | None
    ) -> ManifestFile:
        """Make one file's entry. Raises StorageError when it cannot be served or is not what was planned."""
        storage = self._storages.local(place.storage)
        fd, facts = storage.open_descriptor(place.key)
        try:
            self._expect(scanned_file, facts)
            if old is None:
                sha256, crc32 = self._digest(fd, scanned_file)
                self._expect(scanned_file, os.fstat(fd))
                # The path must still lead to what was read, not to a twin of the same size and time.
                again, now = storage.open_descriptor(place.key)
                os.close(again)
                self._expect(scanned_file, now)
                if not os.path.samestat(facts, now):
                    self._changed(scanned_file)
            else:
                sha256, crc32 = old.sha256, old.crc32
                self._report(scanned_file.size)
        finally:
            os.close(fd)
        return ManifestFile(
            name=scanned_file.name,
            size=scanned_file.size,
            type=media_type(scanned_file.name),
            sha256=sha256,
            crc32=crc32,
            storage=place.storage,
            key=place.key,
            modified=scanned_file.modified,
        )

    def describe_object(self, scanned_file: ScannedObject, old: ManifestFile | None) -> ManifestFile:
        """Make one object's entry. Raises StorageError when it cannot be read or is not what was planned."""
        facts = scanned_file.facts
        if old is not None:
            sha256, crc32 = old.sha256, old.crc32
            self._report(facts.size)
        elif self._trust and scanned_file.has_digests:
            sha256, crc32 = facts.sha256, facts.crc32
            self._report(facts.size)
        else:
            sha256, crc32 = self._digest_object(scanned_file)
        return ManifestFile(
            name=scanned_file.name,
            size=facts.size,
            type=media_type(scanned_file.name),
            sha256=sha256,
            crc32=crc32,
            storage=scanned_file.storage,
            key=facts.key,
            modified=facts.modified,
            etag=facts.etag,
            version_id=facts.version_id,
        )

    def _digest_object(self, scanned_file: ScannedObject) -> tuple[str, str]:
        """Read an object. A digest that its storage keeps must be the same."""
        catalog = self._storages.catalog(scanned_file.storage)
        assert catalog is not None  # the scanned_file was found in it
        facts = scanned_file.facts
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
                    f"{scanned_file.address} is damaged, or its stored {what} is wrong: "
                    f"stored {stored}, but the content has {actual}; upload it again"
                )
        return found

    def _digest(self, fd: int, scanned_file: ScannedFile) -> tuple[str, str]:
        sha256, crc32, at = hashlib.sha256(), 0, 0
        buffer = memoryview(bytearray(min(HASH_BYTES, scanned_file.size + 1)))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while True:
            if self._stop.is_set():
                raise _Stopped
            try:
                got = os.preadv(fd, (buffer,), at)
            except OSError as error:
                raise StorageError(f"{shown(scanned_file.path)} cannot be read: {error.strerror}") from error
            if not got:
                return sha256.hexdigest(), f"{crc32:08x}"
            piece = buffer[:got]
            sha256.update(piece)
            crc32 = zlib.crc32(piece, crc32)
            at += got
            if at > scanned_file.size:
                self._changed(scanned_file)
            self._report(got)

    def _expect(self, scanned_file: ScannedFile, facts: os.stat_result) -> None:
        if (facts.st_size, facts.st_mtime_ns) != (scanned_file.size, scanned_file.modified):
            self._changed(scanned_file)

    def _changed(self, scanned_file: ScannedFile) -> None:
        raise StorageError(
            f"{shown(scanned_file.path)} changed while it was published; publish again when it is complete"
        )


@contextmanager
def show_progress(total: int, label: str = "Hashing") -> Iterator[Report]:
    """Draw a bar with bytes, speed and time left on stderr while the block runs, if that is a terminal.

    Yields what to call with the bytes done, from any thread. The bar is gone afterwards.
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

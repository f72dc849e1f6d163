"""Reading files and objects for their digests, many at once.

EarlierFiles       what was read for an earlier version, and need not be read again
Hasher             makes the manifest's entry of one file or object
run_jobs           runs many of these in threads, and stops all when one fails
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from gateway.errors import StorageError
from gateway.http.file_names import media_type
from gateway.manifest import Manifest, ManifestFile
from gateway.products.bucket_scanning import ScannedObject
from gateway.products.scanning import ScannedFile, printable
from gateway.runtime.system_errors import advise
from gateway.storage.local.blob import identity_of
from gateway.storage.published import is_strong
from gateway.storage.registry import ObjectLocation, Storages

HASH_BYTES: Final = 1 << 18
"""Bytes of one read, during which other threads run. 128 KiB to 4 MiB were equally fast (0.9 GB/s a
thread)."""
OBJECT_READERS: Final = 8
"""Objects read at once. A connection to S3 brings some 100 MB/s, and a CPU hashes 900 MB/s."""
Report = Callable[[int], None]
"""Called with the bytes done since the last call, from several threads."""


class EarlierFiles:
    """The files of earlier manifests, found by what shows that they have not changed.

    Their digests must have been computed by us: the caller leaves out manifests whose digests were trusted.
    """

    def __init__(self, manifests: Iterable[Manifest], storages: Storages) -> None:
        files = [file for manifest in manifests for file in manifest.files]
        roots = storages.real_roots(file.storage for file in files)
        self._files: dict[tuple[Path, int], list[ManifestFile]] = {}
        for file in files:
            if file.storage in roots:
                place = roots[file.storage] / file.key
                self._files.setdefault((place, file.size), []).append(file)
        self._objects = {
            (file.storage, file.key, file.size, file.etag, file.version_id): file
            for file in files
            if is_strong(file.etag) or file.version_id
        }

    def file(self, scanned: ScannedFile) -> Sequence[ManifestFile]:
        """Return what earlier manifests say of the same path, from whatever storage it was published."""
        return self._files.get((scanned.real, scanned.size), ())

    def object(self, scanned: ScannedObject) -> ManifestFile | None:
        """Return what an earlier manifest says of the same object."""
        facts = scanned.facts
        return self._objects.get((scanned.storage, facts.key, facts.size, facts.etag, facts.version_id))


class Stopped(Exception):
    """Another file failed, or the user has interrupted the command, or the service stops."""


class HashingFailed(Exception):
    """Files could not be read. faults: the numbers of their jobs, with what went wrong."""

    def __init__(self, faults: Sequence[tuple[int, StorageError]]) -> None:
        super().__init__("; ".join(str(error) for _, error in faults))
        self.faults = tuple(faults)


def run_jobs(
    jobs: Sequence[Callable[[], ManifestFile]], readers: int, stop: threading.Event
) -> list[ManifestFile]:
    """Run the jobs of a Hasher in `readers` threads, and return what they make, in order. Blocks.

    stop: set at the end, also when this is interrupted; the Hasher looks at it. Raises HashingFailed as soon
    as one job has failed, and Stopped when the Hasher was stopped by somebody else.
    """
    pool = ThreadPoolExecutor(readers, thread_name_prefix="hash")
    futures: list[Future[ManifestFile]] = []
    try:
        futures += [pool.submit(job) for job in jobs]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    errors = [
        (number, error)
        for number, future in enumerate(futures)
        if not future.cancelled() and (error := future.exception())
    ]
    faults = [(number, error) for number, error in errors if isinstance(error, StorageError)]
    if faults:
        raise HashingFailed(faults)
    for _, error in sorted(errors, key=lambda each: isinstance(each[1], Stopped)):
        raise error  # Stopped only when nothing else was raised: other jobs raise it after the first error
    return [future.result() for future in futures]


class Hasher:
    """Reads files and objects for their digests, in threads. trust: use the digests that a storage has."""

    def __init__(
        self, storages: Storages, report: Report, is_stopped: Callable[[], bool], trust: bool
    ) -> None:
        self._storages = storages
        self._report = report
        self._is_stopped = is_stopped
        self._trust = trust

    def describe(
        self, scanned: ScannedFile, location: ObjectLocation, earlier: Sequence[ManifestFile]
    ) -> ManifestFile:
        """Make the entry of one file. Raises StorageError when it cannot be served, or has changed.

        earlier: what it was before. It is not read if it is known to be unchanged since.
        """
        storage = self._storages.local(location.storage)
        fd, facts = storage.open_descriptor(location.key)
        try:
            self._expect(scanned, facts)
            old = next((each for each in earlier if storage.knows_content(each, facts)), None)
            if old is None:
                sha256, crc32 = self._digest(fd, scanned)
                # The path must still lead to what was read, not to another file of the same size and time.
                again, now = storage.open_descriptor(location.key)
                os.close(again)
                for each in (os.fstat(fd), now):
                    if identity_of(each) != identity_of(facts):
                        self._raise_changed(scanned)
            else:
                sha256, crc32 = old.sha256, old.crc32
                self._report(scanned.size)
        finally:
            os.close(fd)
        file = ManifestFile(
            name=scanned.name,
            size=scanned.size,
            type=media_type(scanned.name),
            sha256=sha256,
            crc32=crc32,
            storage=location.storage,
            key=location.key,
            modified=min(scanned.modified, time.time_ns()),  # it becomes Last-Modified
        )
        storage.remember_content(file, facts)
        return file

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
            if self._is_stopped():
                raise Stopped
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
            if self._is_stopped():
                raise Stopped
            try:
                size = os.preadv(fd, (buffer,), at)
            except OSError as error:
                raise StorageError(f"{printable(scanned.path)} cannot be read: {advise(error)}") from error
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

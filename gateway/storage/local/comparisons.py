"""Compares the content of files with their published SHA-256, when size agrees but times or inode do not.

- Comparisons run in threads of their own, never on the event loop, and never in the threads that open files
  and read cold ones. Small files have other threads than large ones, so that they never wait for those.
- All processes of a machine share the work. A lock on one byte of `<data>/verified/lock` makes one of them
  read the file; the others wait, and then find the result in the record (`verified.py`). Two locks more allow
  LARGE_AT_ONCE large files at once on the whole machine.
- A file that turned out different is not read again as long as it stays the same. One that keeps changing, or
  cannot be read, is read at growing intervals.
- Each comparison is logged: what was compared, why, and how it ended.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.file_locks import try_lock
from gateway.storage.local.blob import reason
from gateway.storage.local.verified import Fingerprint, Record, VerifiedFiles, record_name

SMALL_BYTES: Final = 64 << 20
"""Up to here a file counts as small: it is read in a tenth of a second, or in a second from a slow disk."""
SMALL_AT_ONCE: Final = 4
LARGE_AT_ONCE: Final = 2
"""How many comparisons run at once: of small files in a process, of large ones on the machine. One thread
hashes some 0.9 GB/s, so more would take CPU time and disk from the downloads."""
MOST_WAITING: Final = 1000
"""How many comparisons may wait in a process. Further ones are refused, and asked for again."""
READ_BYTES: Final = 1 << 18
POLL_SECONDS: Final = 0.02
"""How often a lock is tried for that another process has."""
DIFFERENT_SECONDS: Final = 600.0
"""How long a file that has not changed since counts as different. It is read again after that, because some
network file systems do not show every change."""
FREE_FAILURES: Final = 3
"""After so many comparisons in a row that did not end well, pauses begin. So a wrong file that is put right
is served at once."""
MOST_PAUSE: Final = 300.0
FORGET_SECONDS: Final = 3600.0
"""Failures that are older than this do not count any more."""
BYTES_A_SECOND: Final = 200_000_000
"""For the estimate of how long a comparison takes: a disk reads at least this much."""
LOCK_FILE: Final = "lock"
_LOCK_DIGITS: Final = 14
_LARGE_LOCK: Final = 2**62

_log = logging.getLogger("gateway")


class OpensFiles(Protocol):
    """The part of a local storage that comparisons use."""

    def open_descriptor(self, key: str) -> tuple[int, os.stat_result]:
        """Open a file, for the caller to close. Raises StorageError."""


class _Stopped(Exception):
    """The process ends."""


class Comparisons:
    """The comparisons of one process. Any thread may use them."""

    def __init__(self, verified: VerifiedFiles) -> None:
        self.verified = verified
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pools: list[ThreadPoolExecutor] = []

    def begin(self, storage: OpensFiles, file: ManifestFile) -> Future[None] | None:
        """Begin to compare a file, or join the comparison that runs; None when too many wait already.

        The future has no result of its own: the record says how the comparison ended.
        """
        name = record_name(file)
        with self._lock:
            running = self._running.get(name)
            if running is not None:
                return running
            if len(self._running) >= MOST_WAITING or self._stop.is_set():
                return None
            if not self._pools:
                self._pools = [
                    ThreadPoolExecutor(SMALL_AT_ONCE, thread_name_prefix="compare-small"),
                    ThreadPoolExecutor(LARGE_AT_ONCE, thread_name_prefix="compare-large"),
                ]
            future = self._pools[file.size > SMALL_BYTES].submit(self._run, storage, file, name)
            self._running[name] = future
            return future

    def close(self) -> None:
        """Stop all comparisons; those that have begun end at their next read."""
        self._stop.set()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, storage: OpensFiles, file: ManifestFile, name: str) -> None:
        try:
            with self._only_one(name, file.size):
                self._compare(storage, file)
        except _Stopped:
            pass
        except StorageError as error:
            self._fail(file, None, str(error))
        except Exception as error:
            _log.exception("a comparison ended by an unexpected error")
            self._fail(file, None, f"the comparison failed: {type(error).__name__}")
        finally:
            with self._lock:
                self._running.pop(name, None)

    def _compare(self, storage: OpensFiles, file: ManifestFile) -> None:
        fd, facts = storage.open_descriptor(file.key)
        try:
            fingerprint = Fingerprint.of(facts)
            record = self.verified.read(file)
            if (
                facts.st_size != file.size
                or fingerprint in record.verified
                or is_refused(record, fingerprint)
            ):
                return  # another process has compared it, or it has changed meanwhile
            begun = time.monotonic()
            digest = self._digest(fd)
            if Fingerprint.of(os.fstat(fd)) != fingerprint:
                self._fail(file, None, "it changed while it was compared with its SHA-256")
                return
        finally:
            os.close(fd)
        facts_told = {
            "storage": file.storage,
            "key": file.key,
            "why": reason_to_compare(file, record, fingerprint),
            "bytes": file.size,
            "seconds": round(time.monotonic() - begun, 3),
        }
        if digest == file.sha256:
            self.verified.verify(file, fingerprint)
            _log.info("a file was compared with its SHA-256 and is as published", extra=facts_told)
        else:
            _log.warning("a file was compared with its SHA-256 and has other content", extra=facts_told)
            self._fail(file, fingerprint, "its content has another SHA-256")

    def _digest(self, fd: int) -> str:
        digest, at = hashlib.sha256(), 0
        buffer = memoryview(bytearray(READ_BYTES))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        try:
            while size := os.preadv(fd, (buffer,), at):
                if self._stop.is_set():
                    raise _Stopped
                digest.update(buffer[:size])
                at += size
        except OSError as error:
            raise StorageError(reason(error)) from error
        return digest.hexdigest()

    def _fail(self, file: ManifestFile, fingerprint: Fingerprint | None, fault: str) -> None:
        known = self.verified.read(file)
        failures = 1 + (known.failures if time.time() - known.again < FORGET_SECONDS else 0)
        over = failures - FREE_FAILURES
        pause = min(2.0**over, MOST_PAUSE) if over > 0 else 0.0
        self.verified.refuse(file, fingerprint, failures, pause, fault)

    @contextmanager
    def _only_one(self, name: str, size: int) -> Iterator[None]:
        """Hold the file's lock, and for a large file one of LARGE_AT_ONCE, against all other processes.

        Without a folder that can be written, each process compares for itself.
        """
        folder = self.verified.folder
        held: list[int] = []
        try:
            if folder is not None:
                with suppress(OSError):
                    held.append(self._wait_for(folder, [int(name[:_LOCK_DIGITS], 16)]))
                    if size > SMALL_BYTES:
                        held.append(self._wait_for(folder, [_LARGE_LOCK + n for n in range(LARGE_AT_ONCE)]))
            yield
        finally:
            for fd in held:
                os.close(fd)

    def _wait_for(self, folder: Path, places: list[int]) -> int:
        """Wait for the lock of one of these bytes; return the descriptor that holds it. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(folder / LOCK_FILE, flags, 0o600)
        try:
            while not any(try_lock(fd, at) for at in places):
                if self._stop.wait(POLL_SECONDS):
                    raise _Stopped
        except BaseException:
            os.close(fd)
            raise
        return fd


def is_refused(record: Record, fingerprint: Fingerprint) -> bool:
    """Whether a file of this fingerprint is known to have other content."""
    return record.different == fingerprint and time.time() - record.at < DIFFERENT_SECONDS


def reason_to_compare(file: ManifestFile, record: Record, fingerprint: Fingerprint) -> str:
    """Say what differs from what was seen last, or why nothing that was seen can tell."""
    if record.verified:
        return fingerprint.difference(record.verified[0])
    if fingerprint.modified != file.modified:
        return f"modification time {fingerprint.modified} instead of {file.modified}"
    return f"first seen here, and the modification time {file.modified} cannot tell contents apart"


def estimate_seconds(size: int) -> int:
    """About how many seconds a comparison of so many bytes takes."""
    return 1 + size // BYTES_A_SECOND

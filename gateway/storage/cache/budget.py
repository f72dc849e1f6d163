"""The budget of the cache: how many bytes it holds, for all processes together, and what is evicted.

One file, TOTAL_FILE in the cache's folder, has the total: how many bytes the finished slices and those being
written take on the disk. The total is raised under a lock before a file is made, and lowered after a file is
removed. So after a `kill -9` it may be too high, never too low. When there is no room left, the files are
counted, and the slices that were used longest ago are removed until the others take only LOW of the budget.
After a reboot of the machine the total may be older than the files, so they are counted then too.

Locks are those of `file_locks.py`: each holder opens the file by itself, and the kernel releases its lock
when it ends, even by a crash. Each byte of the file's range is a lock of its own: one for each slice being
written (by its digest), one for the total, and one for the process that evicts. No caller blocks on a lock: a
caller that does not get one tries again later.
"""

from __future__ import annotations

import functools
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from gateway.storage.cache.slice_files import PART, cost_of
from gateway.storage.file_locks import try_lock

T = TypeVar("T")

TOTAL_FILE: Final = b"ledger"
"""Earlier releases use this name too, so both releases can share a cache during an upgrade."""
LOW: Final = 0.9
"""The share of the budget that is in use after an eviction. One eviction makes room for many slices, because
it has to count every slice."""
_BATCH: Final = 32
"""How many slices are removed before the total is lowered, and other processes may use the room."""
_TOTAL_LOCK: Final = 2**62
_EVICTION_LOCK: Final = 2**62 + 1
_LOCK_DIGITS: Final = 14
"""How many hex digits of its digest make the number of a slice's lock."""
_DIGEST_DIGITS: Final = 64
_PATIENCE: Final = 1.0
_PAUSE: Final = 0.001
"""Seconds: how long the lock of the total is tried for, and how often."""

_RECORD: Final = struct.Struct("<8s16sQ")
"""The content of the file: _MAGIC, the boot of the machine, the total in bytes."""
_MAGIC: Final = b"dgcache1"


class NoRoom(Exception):
    """Nothing can be evicted any more: the slices being written take all of the budget."""


class _CountedFile(NamedTuple):
    used: int
    path: bytes
    cost: int


@functools.cache
def _boot() -> bytes:
    """Return the id of the present boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


class CacheBudget:
    """The budget of the cache below one folder. All methods but `lock` are for threads."""

    def __init__(self, root: bytes, max_bytes: int) -> None:
        self._root = root
        self._max = max_bytes

    def lock(self, digest: str) -> int | None:
        """Become the only writer of a slice, until the returned descriptor is closed.

        Returns None while another process or task is that writer. Never waits.
        """
        return self._lock(int(digest[:_LOCK_DIGITS], 16))

    def reserve(self, cost: int, make: Callable[[], T]) -> T | None:
        """Reserve room for a file of `cost` bytes and make the file; return what `make` returns.

        Returns None when there is no room (call `evict`), or while another process changes the total.
        """
        fd = self._lock(_TOTAL_LOCK)
        if fd is None:
            return None
        try:
            total = self._read(fd)
            if total is None or total + cost > self._max:
                return None
            self._write(fd, total + cost)
            try:
                return make()
            except BaseException:
                self._write(fd, total)
                raise
        finally:
            os.close(fd)

    def release(self, cost: int) -> None:
        """Give room back after a file was removed. If the lock is busy, the next count corrects the total."""
        fd = self._lock_soon(_TOTAL_LOCK)
        if fd is None:
            return
        try:
            total = self._read(fd)
            if total is not None:
                self._write(fd, max(0, total - cost))
        finally:
            os.close(fd)

    def evict(self, cost: int) -> int | None:
        """Make room for a file of `cost` bytes; return how many slices were removed.

        Returns None when another process is evicting. Raises NoRoom when nothing is left to remove.
        """
        evictor = self._lock(_EVICTION_LOCK)
        if evictor is None:
            return None
        try:
            total, found = self._count(cost)
            if total + cost <= self._max:
                return 0
            return self._remove(total, found, int(self._max * LOW) - cost, cost)
        finally:
            os.close(evictor)

    def _count(self, cost: int) -> tuple[int, list[_CountedFile]]:
        """Return the total and no files if there is room for `cost`; else count, and return the slices too.

        The slices are sorted: the one used longest ago is the first.
        """
        fd = self._lock_soon(_TOTAL_LOCK)
        if fd is None:
            raise NoRoom
        try:
            known = self._read(fd)
            if known is not None and known + cost <= self._max:
                return known, []
            found = list(self._scan())
            total = sum(file.cost for file in found)
            self._write(fd, total)
        finally:
            os.close(fd)
        return total, sorted(file for file in found if not file.path.endswith(PART))

    def _remove(self, total: int, found: list[_CountedFile], low: int, cost: int) -> int:
        """Remove slices until the total is `low`; return how many. Raises NoRoom if that is not enough."""
        removed = freed = unwritten = 0
        for file in found:
            if total - freed <= low:
                break
            try:
                os.unlink(file.path)
                removed += 1
                unwritten += file.cost
            except FileNotFoundError:
                pass  # the process that removed it has lowered the total
            freed += file.cost
            if removed % _BATCH == 0:
                self.release(unwritten)
                unwritten = 0
        self.release(unwritten)
        if total - freed + cost > self._max:
            raise NoRoom
        return removed

    def _scan(self) -> Iterator[_CountedFile]:
        """Find every slice and every slice being written; remove the files of writers that have died."""
        with os.scandir(self._root) as folders:
            names = [entry.path for entry in folders if entry.is_dir(follow_symlinks=False)]
        for name in names:
            seen: set[int] = set()
            with suppress(FileNotFoundError), os.scandir(name) as entries:
                for entry in entries:
                    digest = entry.name.removesuffix(PART)
                    if len(digest) != _DIGEST_DIGITS:
                        continue
                    if entry.name.endswith(PART):
                        self._remove_dead(entry.path, digest)
                        yield from _count_file(entry.path, seen)
                    # Look for the final name too: the file may have been renamed since the folder was read.
                    yield from _count_file(entry.path.removesuffix(PART), seen)

    def _remove_dead(self, path: bytes, digest: bytes) -> None:
        """Remove a file being written if its lock is free, because then its writer has died."""
        fd = self.lock(digest.decode())
        if fd is None:
            return
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)
        finally:
            os.close(fd)

    def _lock(self, at: int) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._root + b"/" + TOTAL_FILE, flags, 0o600)
        try:
            if try_lock(fd, at):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _lock_soon(self, at: int) -> int | None:
        """Try for a lock for up to _PATIENCE seconds."""
        deadline = time.monotonic() + _PATIENCE
        while (fd := self._lock(at)) is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return fd

    def _read(self, fd: int) -> int | None:
        """Read the total; None when the files have to be counted."""
        data = os.pread(fd, _RECORD.size, 0)
        if len(data) < _RECORD.size:
            return None
        magic, boot, total = _RECORD.unpack(data)
        return int(total) if (magic, boot) == (_MAGIC, _boot()) else None

    def _write(self, fd: int, total: int) -> None:
        os.pwrite(fd, _RECORD.pack(_MAGIC, _boot(), total), 0)


def _count_file(path: bytes, seen: set[int]) -> Iterator[_CountedFile]:
    """Count a file, unless it is gone or was counted under another name."""
    with suppress(FileNotFoundError):
        facts = os.lstat(path)
        if facts.st_ino not in seen:
            seen.add(facts.st_ino)
            yield _CountedFile(facts.st_atime_ns, path, cost_of(facts.st_size))

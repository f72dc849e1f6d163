"""How much the cache holds, known to all processes that share it; and what has to go when it is too much.

One file, `<path>/ledger`, has the total: what slices and those being written take. It is changed under a
lock, and before a file is made; so it may say too much after a `kill -9`, never too little. When there is no
room the truth is counted, and the slices that were not asked for longest go, until LOW of the budget is
left. After another boot of the machine the number may be older than the files, and is counted anew.

Locks are those of open file descriptions (`F_OFD_SETLK`, fcntl(2)): each holder opens the file by itself, so
they hold between threads and between processes, and go with their holder, whatever ends it. Each byte of the
file's range is a lock of its own: one for each slice being written (by its digest), one for the total, one
for the evictor. None is waited for: who does not get one tries again.
"""

from __future__ import annotations

import fcntl
import functools
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from gateway.storage.cache.slice_files import PART, cost_of

T = TypeVar("T")

LOW: Final = 0.9
"""Of the budget: making room for one slice makes room for many, as counting costs a look at every slice."""
_BATCH: Final = 32
"""Slices removed before the total is changed, and others may have the room."""
_TOTAL: Final = 2**62
_EVICTOR: Final = 2**62 + 1
_LOCK_DIGITS: Final = 14
_DIGEST_DIGITS: Final = 64
_PATIENCE: Final = 1.0
_PAUSE: Final = 0.001

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid (0 for these locks)."""
_RECORD: Final = struct.Struct("<8s16sQ")
_MAGIC: Final = b"dgcache1"


class NoRoom(Exception):
    """What is being written takes all of the budget."""


class _Found(NamedTuple):
    used: int
    path: bytes
    cost: int


@functools.cache
def _boot() -> bytes:
    """What tells this boot of the machine from others."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


def _try_lock(fd: int, at: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


class Ledger:
    """The budget of the cache below one folder. Its methods are for threads, but for `lock`."""

    def __init__(self, root: bytes, max_bytes: int) -> None:
        self._root = root
        self._max = max_bytes

    def lock(self, digest: str) -> int | None:
        """Become who writes a slice, until the descriptor is closed; None while another does. At once."""
        return self._lock(int(digest[:_LOCK_DIGITS], 16))

    def reserve(self, cost: int, make: Callable[[], T]) -> T | None:
        """Take room for a file, and make it; None when there is no room (`evict`), or another is counting."""
        fd = self._lock(_TOTAL)
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
        """Give room back, after the file went. If it cannot be written down, the next count puts it right."""
        fd = self._lock_soon(_TOTAL)
        if fd is None:
            return
        try:
            total = self._read(fd)
            if total is not None:
                self._write(fd, max(0, total - cost))
        finally:
            os.close(fd)

    def evict(self, cost: int) -> int | None:
        """Make room for a file; how many slices went. None when another process is doing so.

        Raises NoRoom when nothing is left that could go.
        """
        evictor = self._lock(_EVICTOR)
        if evictor is None:
            return None
        try:
            total, found = self._count(cost)
            if total + cost <= self._max:
                return 0
            return self._remove(total, found, int(self._max * LOW) - cost, cost)
        finally:
            os.close(evictor)

    def _count(self, cost: int) -> tuple[int, list[_Found]]:
        """The total, counted anew if there is no room for `cost`; and then what there is, oldest first."""
        fd = self._lock_soon(_TOTAL)
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

    def _remove(self, total: int, found: list[_Found], low: int, cost: int) -> int:
        removed = freed = unwritten = 0
        for file in found:
            if total - freed <= low:
                break
            try:
                os.unlink(file.path)
                removed += 1
                unwritten += file.cost
            except FileNotFoundError:
                pass  # whoever removed it has written that down
            freed += file.cost
            if removed % _BATCH == 0:
                self.release(unwritten)
                unwritten = 0
        self.release(unwritten)
        if total - freed + cost > self._max:
            raise NoRoom
        return removed

    def _scan(self) -> Iterator[_Found]:
        """Every slice, and every one being written; what was left by writers that died is removed."""
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
                        yield from _look(entry.path, seen)
                    # Also by the name it may have got since the folder was read.
                    yield from _look(entry.path.removesuffix(PART), seen)

    def _remove_dead(self, path: bytes, digest: bytes) -> None:
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
        fd = os.open(self._root + b"/ledger", flags, 0o600)
        try:
            if _try_lock(fd, at):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _lock_soon(self, at: int) -> int | None:
        deadline = time.monotonic() + _PATIENCE
        while (fd := self._lock(at)) is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return fd

    def _read(self, fd: int) -> int | None:
        """The total; None when it has to be counted."""
        data = os.pread(fd, _RECORD.size, 0)
        if len(data) < _RECORD.size:
            return None
        magic, boot, total = _RECORD.unpack(data)
        return int(total) if (magic, boot) == (_MAGIC, _boot()) else None

    def _write(self, fd: int, total: int) -> None:
        os.pwrite(fd, _RECORD.pack(_MAGIC, _boot(), total), 0)


def _look(path: bytes, seen: set[int]) -> Iterator[_Found]:
    """A file, unless it is gone or was seen by another name."""
    with suppress(FileNotFoundError):
        facts = os.lstat(path)
        if facts.st_ino not in seen:
            seen.add(facts.st_ino)
            yield _Found(facts.st_atime_ns, path, cost_of(facts.st_size))

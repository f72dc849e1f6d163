"""An open regular file as a blob: counted, read only by offset, and asked whether its pages are in memory.

`unchanged`, `read_cached`, `is_in_memory`, `acquire` and `release` are for the event loop; `pread` and
`read_into_memory` block and are for threads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from gateway.errors import StorageError
from gateway.storage.local.page_cache import READ_BYTES, Pages, ask_how, in_memory, read_in

KEPT_BYTES: Final = 16 * 1024
"""Largest file whose content is kept with its descriptor: two system calls less a request, and 16 MiB in all
with 1024 open files."""

_REASONS: Final[Mapping[int, str]] = {
    errno.ENOENT: "is missing",
    errno.ENOTDIR: "is missing (a part of its path is a file or a link)",
    errno.EXDEV: "leads out of the storage's root through a link",
    errno.ELOOP: "is a link that cannot be followed here",
    errno.EACCES: "may not be read by the user this runs as",
    errno.EPERM: "may not be read by the user this runs as",
    errno.EISDIR: "is a folder, not a file",
    errno.ENXIO: "is a socket or a device, not a file",
    errno.EMFILE: "cannot be opened: too many files are open (raise `ulimit -n` or lower open_files)",
    errno.ENFILE: "cannot be opened: the system has too many open files",
    errno.ESTALE: "is on a network file system that lost track of it (stale handle)",
    errno.EIO: "cannot be read: the disk reports an input/output error",
}


class LocalBlob:
    """An open regular file with the size and time it was published with. Implements `FileBlob`."""

    __slots__ = (
        "_content",
        "_kept",
        "_lock",
        "_pages",
        "checked_at",
        "described",
        "fd",
        "identity",
        "modified",
        "path",
        "size",
        "users",
    )

    def __init__(
        self, fd: int, facts: os.stat_result, path: bytes, described: str, lock: threading.Lock
    ) -> None:
        self.fd = fd
        self.size = facts.st_size
        self.modified = facts.st_mtime_ns
        self.identity = (facts.st_ino, facts.st_dev)
        self.path = path
        self.described = described
        self._pages = ask_how(fd)
        self._lock = lock
        self.users = 1
        self.checked_at = 0.0  # when its path was last seen to lead here (monotonic seconds)
        self._kept = False
        self._content: bytes | None = None

    @property
    def as_file(self) -> LocalBlob:
        """Itself: it has a descriptor."""
        return self

    @property
    def as_object(self) -> None:
        """None: its bytes are here."""

    def acquire(self) -> Self:
        """Hold it once more. Raises RuntimeError when it was closed: nobody held it."""
        with self._lock:
            if self.fd < 0:
                raise RuntimeError(f"{self.described} was acquired after it was closed")
            self.users += 1
        return self

    def release(self) -> None:
        """Let go of it; closed when nobody else holds it and the cache does not keep it.

        Raises RuntimeError when nobody holds it.
        """
        with self._lock:
            if self.users == 0:
                raise RuntimeError(f"{self.described} was released more often than acquired")
            self.users -= 1
            if self.users or self._kept:
                return
            unused = self.take_unused()
        close(unused)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.release()

    def unchanged(self) -> bool:
        """Whether the open file still has the size and time of its opening (a deleted one has)."""
        try:
            facts = os.fstat(self.fd)
        except OSError:
            return False
        return facts.st_size == self.size and facts.st_mtime_ns == self.modified

    def read_now(self, start: int, stop: int) -> bytes | None:
        """Read the bytes from `start` up to `stop` if that needs no disk, else None; they are as published.

        The content of a file of up to KEPT_BYTES is kept once it was read and the file had not changed
        meanwhile. Raises StorageError when it has changed.
        """
        content = self._content
        if content is not None:
            return content[start:stop]
        data = self.read_cached(start, stop)
        if data is not None:
            if not self.unchanged():
                raise StorageError(f"{self.described} changed while it was read")
            if len(data) == self.size <= KEPT_BYTES:
                self._content = data
        return data

    def pread(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`; blocks.

        Raises StorageError when they cannot be read or end early.
        """
        pieces = []
        try:
            while start < stop:
                piece = os.pread(self.fd, stop - start, start)
                if not piece:
                    raise StorageError(f"{self.described} was truncated while it was read")
                pieces.append(piece)
                start += len(piece)
        except OSError as error:
            raise StorageError(f"{self.described} {reason(error)}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_cached(self, start: int, stop: int) -> bytes | None:
        """Read the bytes from `start` up to `stop` when all are in memory, else None. For small spans."""
        if self._pages is Pages.NOWAIT:
            buffer = bytearray(stop - start)
            try:
                got = os.preadv(self.fd, (buffer,), start, os.RWF_NOWAIT)
            except OSError:
                return None  # not in memory; or a fault, which the read in a thread will name
            return bytes(buffer) if got == len(buffer) else None
        if not self.is_in_memory(start, stop):
            return None
        try:
            piece = os.pread(self.fd, stop - start, start)
        except OSError:
            return None
        return piece if len(piece) == stop - start else None

    def is_in_memory(self, start: int, stop: int, *, follows: bool = False) -> bool:
        """Whether sending this span would probably not wait for a disk; follows: see `in_memory`."""
        return in_memory(self.fd, self._pages, start, stop, follows=follows)

    def read_into_memory(self, start: int, stop: int) -> None:
        """Read the span, so that sending it will not wait; blocks. Hold the blob until it returns.

        Raises StorageError when it cannot be read or ends early.
        """
        try:
            read_in(self.fd, start, stop)
        except EOFError:
            raise StorageError(f"{self.described} was truncated while it was read") from None
        except OSError as error:
            raise StorageError(f"{self.described} {reason(error)}") from error

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in pieces of READ_BYTES; what is not in memory is read in a thread."""
        while start < stop:
            end = min(start + READ_BYTES, stop)
            piece = self.read_cached(start, end)
            if piece is None:
                # The thread holds the blob of its own: when we are cancelled it is still reading.
                self.acquire()
                reading = _readers().submit(self.pread, start, end)
                reading.add_done_callback(lambda _: self.release())
                piece = await asyncio.wrap_future(reading)
            yield piece
            start = end

    def take_unused(self) -> int:
        """Take the descriptor to close, when nothing holds the blob; else -1. Call with the lock held."""
        if self.users or self._kept:
            return -1
        unused, self.fd = self.fd, -1
        return unused

    def mark_kept(self, kept: bool) -> int:
        """Say whether the cache keeps it; returns a descriptor to close, or -1. Call with the lock held."""
        self._kept = kept
        return self.take_unused()


def reason(error: OSError) -> str:
    """Say in a few words what a failed system call means for the file; they follow its name."""
    return _REASONS.get(error.errno or 0) or f"cannot be read: {error.strerror}"


def close(fd: int) -> None:
    """Close a descriptor, unless it is -1.

    The last one of a deleted file frees its blocks, which takes long for a large one: in a thread, then.
    """
    if fd < 0:
        return
    try:
        deleted = os.fstat(fd).st_nlink == 0
    except OSError:
        deleted = False
    if not deleted:
        os.close(fd)
    else:
        threading.Thread(target=os.close, args=(fd,), name="close-deleted", daemon=True).start()


_reader_pool: ThreadPoolExecutor | None = None


def _readers() -> ThreadPoolExecutor:
    global _reader_pool  # noqa: PLW0603 - one pool a process, made when first needed
    if _reader_pool is None:
        _reader_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="read")
    return _reader_pool

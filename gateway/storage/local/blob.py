"""An open regular file as a blob: its users are counted, and it is read by offset only.

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
from gateway.runtime.system_errors import describe
from gateway.storage.local.page_cache import READ_BYTES, Probe, choose_probe, is_in_memory, read_into_memory

KEPT_BYTES: Final = 16 * 1024
"""The largest file whose content is kept with its descriptor. That saves two system calls a request, and
takes 16 MiB at most with 1024 open files."""

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
    """An open regular file of the size and time it was published with. Implements `FileBlob`.

    identity: what must stay as it is: inode, device, size, both times. path: where it was opened.
    description: how errors name it. users: how often it is acquired. The cache of descriptors uses `users`,
    `identity`, `take_unused` and `mark_cached`.
    """

    __slots__ = (
        "_cached",
        "_changed",
        "_content",
        "_lock",
        "_others",
        "_probe",
        "allowed_at",
        "checked_at",
        "description",
        "fd",
        "identity",
        "modified",
        "path",
        "size",
        "users",
    )

    def __init__(
        self, fd: int, facts: os.stat_result, path: bytes, description: str, lock: threading.Lock
    ) -> None:
        self.fd = fd
        self.size = facts.st_size
        self.modified = facts.st_mtime_ns
        self.identity = identity_of(facts)
        self._changed = facts.st_ctime_ns
        self._others = _other_facts(facts)
        self.path = path
        self.description = description
        self._probe = choose_probe(fd)
        self._lock = lock
        self.users = 1
        self.checked_at = 0.0  # when its path was last seen to lead to this file (monotonic seconds)
        self.allowed_at = 0.0  # when it was last seen to be one that may be served (monotonic seconds)
        self._cached = False
        self._content: bytes | None = None

    @property
    def as_file(self) -> LocalBlob:
        """Return itself: it has a descriptor."""
        return self

    @property
    def as_object(self) -> None:
        """Return None: its bytes do not come over the network."""

    def acquire(self) -> Self:
        """Acquire it once more. Raises RuntimeError when it has been closed already."""
        with self._lock:
            if self.fd < 0:
                raise RuntimeError(f"{self.description} was acquired after it was closed")
            self.users += 1
        return self

    def release(self) -> None:
        """End one use of the blob. It is closed when it has no other user and is not cached.

        Raises RuntimeError when it was released more often than acquired.
        """
        with self._lock:
            if self.users == 0:
                raise RuntimeError(f"{self.description} was released more often than acquired")
            self.users -= 1
            if self.users or self._cached:
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
        """Whether the content of the open file is still the same. That of a deleted file is, too.

        Size and modification time are as at opening. The change time may be later only where links, owner or
        permissions have changed too, which explains it. Otherwise something was written and the modification
        time set back, or the file was renamed, which looks the same.
        """
        try:
            facts = os.fstat(self.fd)
        except OSError:
            return False
        if facts.st_size != self.size or facts.st_mtime_ns != self.modified:
            return False
        if facts.st_ctime_ns == self._changed:
            return True
        others = _other_facts(facts)
        if others == self._others:
            return False
        self._changed, self._others = facts.st_ctime_ns, others
        return True

    def read_now(self, start: int, stop: int) -> bytes | None:
        """Read the bytes from `start` up to `stop`, as published, if that needs no disk; else return None.

        The content of a file of up to KEPT_BYTES is kept after the first read, if the file had not changed by
        then. Raises StorageError when it has changed.
        """
        content = self._content
        if content is not None:
            return content[start:stop]
        data = self.read_cached(start, stop)
        if data is not None:
            if not self.unchanged():
                raise StorageError(f"{self.description} changed while it was read")
            if len(data) == self.size <= KEPT_BYTES:
                self._content = data
        return data

    def pread(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`. Blocks.

        Raises StorageError when they cannot be read or end early.
        """
        parts = []
        try:
            while start < stop:
                part = os.pread(self.fd, stop - start, start)
                if not part:
                    raise StorageError(f"{self.description} was truncated while it was read")
                parts.append(part)
                start += len(part)
        except OSError as error:
            raise StorageError(f"{self.description} {reason(error)}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_cached(self, start: int, stop: int) -> bytes | None:
        """Read a span if all of it is in memory, else return None. For small spans."""
        if self._probe is Probe.NOWAIT:
            buffer = bytearray(stop - start)
            try:
                size = os.preadv(self.fd, (buffer,), start, os.RWF_NOWAIT)
            except OSError:
                return None  # not in memory; or an error, which the read in a thread will report
            return bytes(buffer) if size == len(buffer) else None
        if not self.is_in_memory(start, stop):
            return None
        try:
            data = os.pread(self.fd, stop - start, start)
        except OSError:
            return None
        return data if len(data) == stop - start else None

    def is_in_memory(self, start: int, stop: int, *, follows: bool = False) -> bool:
        """Whether sending this span would probably not wait for a disk; see `FileBlob`."""
        return is_in_memory(self.fd, self._probe, start, stop, follows=follows)

    def read_into_memory(self, start: int, stop: int) -> None:
        """Read the span into memory, so that sending it will not wait. Blocks; see `FileBlob`.

        Raises StorageError when it cannot be read or ends early.
        """
        try:
            read_into_memory(self.fd, start, stop)
        except EOFError:
            raise StorageError(f"{self.description} was truncated while it was read") from None
        except OSError as error:
            raise StorageError(f"{self.description} {reason(error)}") from error

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in chunks of READ_BYTES; what is not in memory is read in a thread."""
        while start < stop:
            end = min(start + READ_BYTES, stop)
            data = self.read_cached(start, end)
            if data is None:
                # The thread acquires the blob for itself: it reads on when this coroutine is cancelled.
                self.acquire()
                reading = _readers().submit(self.pread, start, end)
                reading.add_done_callback(lambda _: self.release())
                data = await asyncio.wrap_future(reading)
            yield data
            start = end

    def take_unused(self) -> int:
        """Take away the descriptor, to be closed, if nobody uses the blob; else return -1. Needs the lock."""
        if self.users or self._cached:
            return -1
        unused, self.fd = self.fd, -1
        return unused

    def mark_cached(self, cached: bool) -> int:
        """Set whether the blob is cached; return a descriptor to close, or -1. Needs the lock."""
        self._cached = cached
        return self.take_unused()


def identity_of(facts: os.stat_result) -> tuple[int, int, int, int, int]:
    """What tells one content at a path from another: inode, device, size, modification and change time."""
    return facts.st_ino, facts.st_dev, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _other_facts(facts: os.stat_result) -> tuple[int, int, int, int]:
    """What changes the change time of a file and not its content."""
    return facts.st_nlink, facts.st_mode, facts.st_uid, facts.st_gid


def reason(error: OSError) -> str:
    """Say in a few words what a failed system call means. The text follows the name of the file."""
    return _REASONS.get(error.errno or 0) or f"cannot be read: {describe(error)}"


def close(fd: int) -> None:
    """Close a descriptor, unless it is -1.

    Closing the last descriptor of a deleted file frees its blocks, which takes long for a large file. So that
    is done in a thread.
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

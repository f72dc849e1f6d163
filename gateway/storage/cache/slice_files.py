"""The files of the cache: one for each slice of an object, checked by the trailer at its end.

    <path>/<2 hex>/<digest>         a slice: its bytes from offset 0, then a trailer (magic, length, CRC-32)
    <path>/<2 hex>/<digest>.part    a slice being written: it has its full size, and ends in a mark

The rules:

- The digest names everything that determines a slice's content: storage, key, version, size and so on. A
  slice never changes. When an object is replaced in the storage, its slices have other names, and the old
  slices are evicted sooner or later.
- Nothing is synced to the disk. A slice that a power failure or a bad disk has damaged does not have the
  CRC-32 that its trailer says. The CRC-32 begins with the digest, so a slice under the wrong name is noticed
  too.
- The mark says how many bytes have been written, so that other processes can send them already. The number is
  there twice, once inverted, so that a reader is not misled by a half-written mark.
- A `.part` file is made anew each time and renamed when it is complete; it is never truncated. A process that
  has it open can go on sending it.
- Only the gateway's user may use the folder (mode 0700, files 0600), and links in it are not followed,
  because it holds what customers pay for.
- The access time of a slice's file says when the slice was last used. We set it ourselves and keep the
  modification time.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import time
import zlib
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.storage.local.page_cache import READ_BYTES

SLICE_BYTES: Final = 8 * 1024 * 1024
"""Large enough that a request to the storage costs little; small enough that a range fetches little else."""
TOUCH_NANOSECONDS: Final = 60 * 10**9
"""The access time of a slice is updated at most this often."""
BLOCK_BYTES: Final = 4096
"""What file systems allocate at least: a small slice takes this much."""
PART: Final = b".part"
"""The ending of the name of a slice that is being written."""

_TRAILER: Final = struct.Struct("<8sQII")
_MARK: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"dgslice1"
_MARK_MAGIC: Final = b"dgslice0"
_INVERT: Final = 2**64 - 1
_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Slice(NamedTuple):
    """One slice: its name (64 hex digits), and which bytes of the object it holds."""

    digest: str
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Bytes of content."""
        return self.stop - self.start

    @property
    def cost(self) -> int:
        """Bytes on the disk."""
        return cost_of(self.length + _TRAILER.size)


class FileIdentity(NamedTuple):
    """What distinguishes a file from another file that later has the same name."""

    inode: int
    modified: int


def cost_of(size: int) -> int:
    """Return how many bytes a file of this size takes on the disk."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


class SliceFiles:
    """The slices below one folder. `verify` and `prepare` are for threads, the other methods are quick."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folder. Raises OSError when it cannot be made, or when others may write to it."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        facts = os.stat(self.root)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            raise PermissionError(
                0,
                "it must belong to the user the gateway runs as, and nobody else may write there (chmod 700)",
            )

    def path(self, digest: str) -> bytes:
        """Return where a slice is stored."""
        name = digest.encode()
        return b"%b/%b/%b" % (self.root, name[:2], name)

    def open(self, slice_: Slice) -> tuple[int, FileIdentity] | None:
        """Open a slice, for the caller to close; None when there is none. It may be damaged: see `verify`."""
        try:
            fd = os.open(self.path(slice_.digest), _READ_FLAGS)
        except FileNotFoundError:
            return None
        try:
            facts = os.fstat(fd)
            now = time.time_ns()
            if abs(now - facts.st_atime_ns) > TOUCH_NANOSECONDS:
                os.utime(fd, ns=(now, facts.st_mtime_ns))
        except BaseException:
            os.close(fd)
            raise
        return fd, FileIdentity(facts.st_ino, facts.st_mtime_ns)

    def verify(self, fd: int, slice_: Slice) -> bool:
        """Read all of an open slice; return whether it is complete and right. Raises OSError."""
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != slice_.length + _TRAILER.size:
            return False
        os.posix_fadvise(fd, 0, facts.st_size, os.POSIX_FADV_WILLNEED)
        buffer = memoryview(bytearray(min(READ_BYTES, slice_.length)))
        at, crc = 0, _first_crc(slice_)
        while at < slice_.length:
            size = os.preadv(fd, (buffer[: slice_.length - at],), at)
            if not size:
                return False
            crc = zlib.crc32(buffer[:size], crc)
            at += size
        return os.pread(fd, _TRAILER.size, slice_.length) == _TRAILER.pack(_MAGIC, slice_.length, crc, 0)

    def remove(self, slice_: Slice) -> bool:
        """Remove a slice; False when it is gone already."""
        try:
            os.unlink(self.path(slice_.digest))
        except FileNotFoundError:
            return False
        return True

    def open_part(self, slice_: Slice) -> int | None:
        """Open what another process is writing, for the caller to close; None when there is nothing."""
        try:
            return os.open(self.path(slice_.digest) + PART, _READ_FLAGS)
        except FileNotFoundError:
            return None

    def written(self, fd: int, slice_: Slice) -> int:
        """Return how many bytes of a slice have been written, by its mark or its trailer."""
        data = os.pread(fd, _MARK.size, slice_.length)
        if len(data) < _MARK.size:
            return 0
        magic, written, inverted = _MARK.unpack(data)
        if magic == _MARK_MAGIC and written == inverted ^ _INVERT:
            return min(int(written), slice_.length)
        return slice_.length if magic == _MAGIC else 0

    def create(self, slice_: Slice) -> SliceWriter:
        """Begin to write a slice. The caller holds its lock, so a file that is there has no living writer."""
        path = self.path(slice_.digest)
        part = path + PART
        with suppress(FileNotFoundError):
            os.unlink(part)
        try:
            fd = os.open(part, _WRITE_FLAGS, 0o600)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(path), 0o700)
            fd = os.open(part, _WRITE_FLAGS, 0o600)
        try:
            os.ftruncate(fd, slice_.length + _TRAILER.size)
        except BaseException:
            os.close(fd)
            os.unlink(part)
            raise
        return SliceWriter(fd, path, slice_)


class SliceWriter:
    """A slice being written. Its methods are for threads, one after the other."""

    def __init__(self, fd: int, path: bytes, slice_: Slice) -> None:
        self.fd = fd
        self._path = path
        self._slice = slice_
        self._crc = _first_crc(slice_)
        self._at = 0
        self._lock = threading.Lock()  # a write may still run after the task that waited for it was cancelled

    def allocate(self) -> None:
        """Allocate the room on the disk. Raises OSError when there is none."""
        os.posix_fallocate(self.fd, 0, self._slice.length + _TRAILER.size)

    def write(self, data: memoryview) -> int:
        """Append data and update the mark; return how many bytes have been written in all."""
        with self._lock:
            self._crc = zlib.crc32(data, self._crc)
            _pwrite(self.fd, data, self._at)
            self._at += len(data)
            mark = _MARK.pack(_MARK_MAGIC, self._at, self._at ^ _INVERT)
            _pwrite(self.fd, memoryview(mark), self._slice.length)
            return self._at

    def finish(self) -> FileIdentity:
        """Write the trailer, and give the file its name."""
        with self._lock:
            assert self._at == self._slice.length
            trailer = _TRAILER.pack(_MAGIC, self._slice.length, self._crc, 0)
            _pwrite(self.fd, memoryview(trailer), self._slice.length)
            os.rename(self._path + PART, self._path)
            facts = os.fstat(self.fd)
            return FileIdentity(facts.st_ino, facts.st_mtime_ns)

    def discard(self) -> None:
        """Remove the file, after a write that still runs."""
        with self._lock, suppress(FileNotFoundError):
            os.unlink(self._path + PART)

    def close(self) -> None:
        """Close the file, after a write that still runs."""
        with self._lock:
            fd, self.fd = self.fd, -1
            os.close(fd)


def _first_crc(slice_: Slice) -> int:
    return zlib.crc32(bytes.fromhex(slice_.digest))


def _pwrite(fd: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(fd, data, at)
        data = data[written:]
        at += written

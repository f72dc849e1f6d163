"""The cache's files: one for each slice of an object, checked by what stands at its end.

    <path>/<2 hex>/<digest>         a slice: its bytes from offset 0, then the trailer (magic, length, CRC-32)
    <path>/<2 hex>/<digest>.part    a slice being written: as large already, and the trailer is a mark

The rules:

- The digest names everything that makes up a slice's content: storage, key, version, size and so on. A slice
  never changes; what was replaced in the storage is another slice, and this one is forgotten in time.
- Nothing is synced: a slice torn by a power failure or a bad disk has not the CRC-32 that its trailer says.
  That is begun with the digest, so that a slice at the wrong place is noticed too.
- The mark says how many bytes are there already, so that other processes may send them. It is there twice,
  once inverted: a reader that comes between is not misled.
- A `.part` is made afresh and renamed when whole, never truncated: who has it open can go on sending it.
- The folder is ours alone (mode 0700, files 0600), and links in it are not followed: its content is paid for.
- When a slice was asked for is its access time, which we set ourselves; the modification time stays.
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
"""Large enough that a request to the storage costs little, small enough that a range fetches little else."""
TOUCH_NANOSECONDS: Final = 60 * 10**9
"""How exactly it is known when a slice was asked for the last time."""
BLOCK_BYTES: Final = 4096
"""What file systems give out: a small slice takes this much."""

_TRAILER: Final = struct.Struct("<8sQII")
_MARK: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"dgslice1"
_MARK_MAGIC: Final = b"dgslice0"
_INVERT: Final = 2**64 - 1
_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
PART: Final = b".part"


class Slice(NamedTuple):
    """One slice: its name (hex) and the bytes of the object that it has."""

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


class Identity(NamedTuple):
    """What tells a file from another that took its place."""

    inode: int
    modified: int


def cost_of(size: int) -> int:
    """Bytes on the disk of a file of so many bytes."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


class SliceFiles:
    """The slices below one folder. `verify` and `prepare` are for threads, the rest is quick."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folder. Raises OSError when there is none that is ours alone."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        facts = os.stat(self.root)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            raise PermissionError(
                0,
                "it must belong to the user the gateway runs as, and nobody else may write there (chmod 700)",
            )

    def path(self, digest: str) -> bytes:
        """Where a slice is."""
        name = digest.encode()
        return b"%b/%b/%b" % (self.root, name[:2], name)

    def open(self, piece: Slice) -> tuple[int, Identity] | None:
        """Open a slice, for the caller to close; None when there is none. Perhaps not whole: see `verify`."""
        try:
            fd = os.open(self.path(piece.digest), _READ_FLAGS)
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
        return fd, Identity(facts.st_ino, facts.st_mtime_ns)

    def verify(self, fd: int, piece: Slice) -> bool:
        """Whether an open slice is whole; reads all of it. Raises OSError when the disk does not give it."""
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != piece.length + _TRAILER.size:
            return False
        os.posix_fadvise(fd, 0, facts.st_size, os.POSIX_FADV_WILLNEED)
        buffer = memoryview(bytearray(min(READ_BYTES, piece.length)))
        at, crc = 0, _first_crc(piece)
        while at < piece.length:
            got = os.preadv(fd, (buffer[: piece.length - at],), at)
            if not got:
                return False
            crc = zlib.crc32(buffer[:got], crc)
            at += got
        return os.pread(fd, _TRAILER.size, piece.length) == _TRAILER.pack(_MAGIC, piece.length, crc, 0)

    def remove(self, piece: Slice) -> bool:
        """Remove a slice; False when it is gone already."""
        try:
            os.unlink(self.path(piece.digest))
        except FileNotFoundError:
            return False
        return True

    def follow(self, piece: Slice) -> int | None:
        """Open what another process is writing, for the caller to close; None when there is nothing."""
        try:
            return os.open(self.path(piece.digest) + PART, _READ_FLAGS)
        except FileNotFoundError:
            return None

    def mark(self, fd: int, piece: Slice) -> int:
        """How many bytes of a slice are there, being written or whole."""
        data = os.pread(fd, _MARK.size, piece.length)
        if len(data) < _MARK.size:
            return 0
        magic, written, inverted = _MARK.unpack(data)
        if magic == _MARK_MAGIC and written == inverted ^ _INVERT:
            return min(int(written), piece.length)
        return piece.length if magic == _MAGIC else 0

    def create(self, piece: Slice) -> Part:
        """Begin to write a slice. The caller holds its lock, so what another began is dead."""
        path = self.path(piece.digest)
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
            os.ftruncate(fd, piece.length + _TRAILER.size)
        except BaseException:
            os.close(fd)
            os.unlink(part)
            raise
        return Part(fd, path, piece)


class Part:
    """A slice being written, by one thread after the other."""

    def __init__(self, fd: int, path: bytes, piece: Slice) -> None:
        self.fd = fd
        self._path = path
        self._piece = piece
        self._crc = _first_crc(piece)
        self._at = 0
        self._lock = threading.Lock()  # a write that nobody waits for any more may still run

    def allocate(self) -> None:
        """Take the room on the disk. Raises OSError when there is none."""
        os.posix_fallocate(self.fd, 0, self._piece.length + _TRAILER.size)

    def write(self, data: memoryview) -> int:
        """Append, and say so in the mark; how many bytes are there then."""
        with self._lock:
            self._crc = zlib.crc32(data, self._crc)
            _pwrite(self.fd, data, self._at)
            self._at += len(data)
            mark = _MARK.pack(_MARK_MAGIC, self._at, self._at ^ _INVERT)
            _pwrite(self.fd, memoryview(mark), self._piece.length)
            return self._at

    def finish(self) -> Identity:
        """Give it its trailer and its name."""
        with self._lock:
            assert self._at == self._piece.length
            trailer = _TRAILER.pack(_MAGIC, self._piece.length, self._crc, 0)
            _pwrite(self.fd, memoryview(trailer), self._piece.length)
            os.rename(self._path + PART, self._path)
            facts = os.fstat(self.fd)
            return Identity(facts.st_ino, facts.st_mtime_ns)

    def discard(self) -> None:
        """Remove it, once a write that still runs has ended."""
        with self._lock, suppress(FileNotFoundError):
            os.unlink(self._path + PART)

    def close(self) -> None:
        """Close it, once a write that still runs has ended."""
        with self._lock:
            fd, self.fd = self.fd, -1
            os.close(fd)


def _first_crc(piece: Slice) -> int:
    return zlib.crc32(bytes.fromhex(piece.digest))


def _pwrite(fd: int, data: memoryview, at: int) -> None:
    while data:
        wrote = os.pwrite(fd, data, at)
        data = data[wrote:]
        at += wrote

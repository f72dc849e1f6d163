"""Files below `data` for events that cannot be sent: the store is away, and memory has no more room for them.

    <data>/events/              mode 0700
        WORKER.events           mode 0600, locked (flock) while its worker runs

A file is a sequence of records: length and CRC-32 (4 bytes each, little-endian), and a batch (events.py). A
record that a crash has cut off, and what follows it, is dropped when the file is read. The file of a worker
that has died is taken over by the next one that looks. What is sent twice in this way is applied once,
because each event has a name.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.usage.events import MAX_BATCH_BYTES

FOLDER: Final = "events"
_FRAME: Final = struct.Struct("<II")


class EventFile:
    """The file of one worker, made when it is first needed. Its methods wait for the disk: use a thread.

    most: bytes that it may have. size: bytes that it has.
    """

    def __init__(self, data: Path, worker: str, most: int) -> None:
        self._folder = data / FOLDER
        self._path = self._folder / f"{worker}.events"
        self._most = most
        self._descriptor: int | None = None
        self.size = 0

    def append(self, batches: list[bytes]) -> int:
        """Add batches. Returns how many of the first ones were: no others have room. Raises OSError."""
        added = 0
        pieces = []
        room = self._most - self.size
        for batch in batches:
            room -= _FRAME.size + len(batch)
            if room < 0:
                break
            pieces += [_FRAME.pack(len(batch), zlib.crc32(batch)), batch]
            added += 1
        if not pieces:
            return 0
        text = b"".join(pieces)
        descriptor = self._open()
        try:
            if os.pwrite(descriptor, text, self.size) != len(text):
                raise OSError(28, "no space left on device")
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self.size)
            raise
        self.size += len(text)
        return added

    def read(self, offset: int, most: int) -> tuple[list[bytes], int]:
        """Read batches of about `most` bytes in all: them, and where the next ones begin. Raises OSError."""
        if self._descriptor is None:
            return [], self.size
        batches: list[bytes] = []
        for batch, end in _records(self._descriptor, offset):
            batches.append(batch)
            offset, most = end, most - len(batch)
            if most <= 0:
                return batches, offset
        return batches, self.size

    def clear(self) -> None:
        """Drop what is in it. Raises OSError."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self.size = 0

    def close(self) -> None:
        """Leave the file to others. An empty one is removed."""
        if self._descriptor is not None:
            if not self.size:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._descriptor = descriptor
        return self._descriptor


class LeftFile:
    """The file of a worker that has died, locked by this process. It is removed once its batches are sent."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def batches(self) -> Iterator[bytes]:
        """The batches that it holds, up to the first damaged record. Raises OSError."""
        for batch, _ in _records(self._descriptor, 0):
            yield batch

    def remove(self) -> None:
        """Remove the file. Raises OSError."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def leave(self) -> None:
        """Leave the file as it is, for a later attempt."""
        os.close(self._descriptor)


def take_left_file(data: Path) -> LeftFile | None:
    """Lock one file of a worker that runs no more, if there is any. Raises OSError."""
    try:
        paths = sorted((data / FOLDER).glob("*.events"))
    except FileNotFoundError:
        return None
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if path.exists():  # another process may have removed it before the lock
            return LeftFile(path, descriptor)
        os.close(descriptor)
    return None


def _records(descriptor: int, offset: int) -> Iterator[tuple[bytes, int]]:
    """The batches from this offset, and where each ends."""
    while True:
        frame = os.pread(descriptor, _FRAME.size, offset)
        if len(frame) < _FRAME.size:
            return
        length, checksum = _FRAME.unpack(frame)
        if length > MAX_BATCH_BYTES:
            return
        batch = os.pread(descriptor, length, offset + _FRAME.size)
        if len(batch) < length or zlib.crc32(batch) != checksum:
            return
        offset += _FRAME.size + length
        yield batch, offset

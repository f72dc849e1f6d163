"""What a storage and a blob are: the small interface every backend offers, and what some offer besides.

A storage finds the blob of a manifest's file; a blob is one stored object, opened, of which any span can
be read. The rules a caller may rely on:

- a blob is only handed out when it is what the manifest says (size, modification time); otherwise the
  storage raises StorageError, whose text is for the log and never for the customer;
- `lookup` and `open` hand out a blob already acquired: the caller releases it exactly once (`with blob:`
  does), and it stays readable until then, whatever happens to the path or to the cache;
- `lookup` may be called on the event loop; `open` blocks and belongs in a thread; both, like `acquire`
  and `release`, are safe from any thread.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.manifest import ManifestFile

FRESH_SECONDS: Final = 0.001
"""Requests for one file within this time share one check of it: 1.5 µs a request less under load, and no
later than a check that just came before the change."""


class Blob(Protocol):
    """One stored object, opened, held by at least one caller."""

    @property
    def size(self) -> int:
        """Bytes of the whole object."""

    @property
    def as_file(self) -> FileBlob | None:
        """The same blob where it has a file descriptor (sendfile, preadv), else None: see `as_object`."""

    @property
    def as_object(self) -> ObjectBlob | None:
        """The same blob where its bytes come over the network, else None: see `as_file`."""

    def acquire(self) -> Self:
        """Hold it once more; each acquire needs its own release."""

    def release(self) -> None:
        """Let go of it. Raises RuntimeError when it is not held: a caller released twice."""

    def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in order, in pieces. Raises StorageError when it cannot be had whole."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class FileBlob(Blob, Protocol):
    """A blob with a file descriptor. What the calls cost is told in `local/storage.py`."""

    @property
    def fd(self) -> int:
        """The descriptor, open for reading while the blob is held; its offset is shared, so use offsets."""

    @property
    def checked_at(self) -> float:
        """When it was last seen on its storage as published; seconds of the monotonic clock."""

    def unchanged(self) -> bool:
        """Whether size and time are still those at opening; for checks during a long transfer."""

    def pread(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`; blocks. Raises StorageError when there are fewer."""

    def read_cached(self, start: int, stop: int) -> bytes | None:
        """Read the same bytes when all are in memory, else None; never waits for a disk."""

    def read_now(self, start: int, stop: int) -> bytes | None:
        """The same, and certainly as published. Raises StorageError when the file has changed."""

    def is_in_memory(self, start: int, stop: int, *, follows: bool = False) -> bool:
        """Whether sending this span would probably not wait for a disk."""

    def read_into_memory(self, start: int, stop: int) -> None:
        """Bring the span into memory; blocks, so for a thread, which must hold the blob meanwhile."""


class ObjectBlob(Blob, Protocol):
    """A blob whose bytes come over the network. For the event loop; its coroutines are for tasks."""

    async def check(self) -> None:
        """Ask the storage, unless it said so a moment ago, whether it still holds what was published.

        For answers that read nothing. Raises StorageError when missing, changed or unreachable.
        """

    async def fetch(self, start: int, stop: int) -> FilePart | Stream:
        """Begin to read the bytes from `start` up to `stop`, or the first part of them.

        What comes back begins at `start`, ends at `stop` or before, is certainly of the published object and
        is the caller's to close. Raises StorageError when missing, changed or unreachable.
        """

    def fetch_now(self, start: int, stop: int) -> FilePart | None:
        """The same without waiting for anything, for what follows a part that was fetched; else None."""


class FilePart:
    """Bytes that lie in a local file: `length` of them from `offset` on, ready for sendfile."""

    __slots__ = ("fd", "length", "offset")

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self.fd = fd
        self.offset = offset
        self.length = length

    def close(self) -> None:
        """Let go of the file, which is the part's own; to be called once."""
        fd, self.fd = self.fd, -1
        os.close(fd)


class Stream(Protocol):
    """Bytes on their way from a storage, in order. What breaks is asked for again within `wait_readable`.

    `recv_into` and `splice` never wait: they raise BlockingIOError when nothing has arrived, or when the way
    broke; then `wait_readable` waits and mends. So bytes are read only when the client takes them.
    """

    @property
    def left(self) -> int:
        """Bytes not taken yet; 0 at the end."""

    @property
    def can_splice(self) -> bool:
        """Whether `splice` works (plain TCP); the same for the stream's whole life."""

    def recv_into(self, buffer: memoryview) -> int:
        """Copy at least one and at most `len(buffer)` bytes; how many."""

    def splice(self, pipe: int, most: int) -> int:
        """Move at least one and at most `most` bytes into a pipe within the kernel; how many.

        A full pipe raises BlockingIOError too: call with room in it.
        """

    async def wait_readable(self, gather: int = 1) -> None:
        """Until there is something to take. Raises StorageError when the rest cannot be had.

        gather: bytes that are worth a wait of some milliseconds, where a stream can tell what has arrived.
        """

    def limit_unread(self, limit: int) -> None:
        """Have about `limit` bytes arrive before they are taken, for a slow client; 0: as many as help again.

        As far as a stream can; what has arrived may stay.
        """

    def close(self) -> None:
        """Let go of the connection; to be called once, at any time."""


class Storage(Protocol):
    """Where blobs are. Names are those of the settings; keys mean something to the storage alone."""

    @property
    def name(self) -> str:
        """What manifests call it."""

    def lookup(self, file: ManifestFile) -> Blob | None:
        """Return the blob, acquired, if that needs no waiting and it is as published; else None: `open`."""

    def open(self, file: ManifestFile) -> Blob:
        """Return the blob, acquired; blocks. Raises StorageError when missing, changed or unreachable."""

    @property
    def redirects(self) -> bool:
        """Whether clients are sent to the storage itself: see `handoff`."""

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:
        """A URL where the client may get the file by itself for a while; None: the gateway has to send it.

        media_type, disposition: the fields that the answer there shall carry. To be asked only where
        `redirects`, after the blob's `check`. For the client alone: whoever has the URL has the file.
        """

    def close(self) -> None:
        """Let go of what is kept between requests. Blobs that are held stay readable."""

"""What a storage and a blob are. Read this first to use a storage or to write a new one.

Every storage has (the required part):

    Storage      finds the blob of a manifest's file: `lookup` without waiting, or `open` in a thread
    Blob         one stored object, opened: its size, and `chunks` to read any span of it

A blob offers one of two quick ways to send it, which the data plane takes instead of `chunks`:

    FileBlob     `blob.as_file`: it has a file descriptor, for sendfile
    ObjectBlob   `blob.as_object`: its bytes come over the network, as a Stream, which may be able to splice
                 (`can_splice`), or as a FilePart when a part of them lies in a local file

A storage may also send clients to itself (`redirects`, `handoff`).

What callers may rely on, and tests/contracts/test_storages.py tests for every storage:

- A blob is handed out, and its bytes are read, only while the object is what the manifest says: its size and
  its identity (a modification time, an ETag or a version). Otherwise StorageError is raised. Its text is for
  the log and never for the customer.
- `lookup` and `open` return a blob that is already acquired. The caller releases it exactly once (`with
  blob:` does). Until then it can be used, whatever a cache evicts, and even after the storage was closed. A
  file that is open stays readable after it was deleted.
- `lookup` may be called on the event loop. `open` blocks and belongs in a thread. Both, like `acquire` and
  `release`, are safe from any thread; coroutines belong to the event loop that serves requests.
- A caller that waits in a coroutine may be cancelled. Other callers are not affected, and nothing stays open.

Where a new storage goes: a folder beside `local/` and `s3/`, with the errors of its library translated in one
place; a table in `config/storages.py`; a row in `registry.py`; a row in `tests/contracts/`. An object storage
derives from `ObjectStorage` (object_storage.py) and gets retries and resuming from there. Publishing from it
needs a `Catalog` too (catalog.py).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.errors import StorageError
from gateway.manifest import ManifestFile


class BeingCompared(StorageError):
    """The content of a file is being compared with its published SHA-256: call `open` again afterwards.

    done: is set when the comparison has ended, in whatever way; None when none was begun.
    """

    def __init__(self, text: str, done: Future[None] | None, seconds: int) -> None:
        super().__init__(text)
        self.done = done
        self.retry_after = seconds


FRESH_SECONDS: Final = 0.001
"""Requests for one file within this time share one check of it. That saves 1.5 µs a request under load. A
change of the file may be noticed this much later."""


class Storage(Protocol):
    """Finds and opens blobs. Only the storage itself knows what a key of a manifest means."""

    @property
    def name(self) -> str:
        """Its name in the settings and in manifests."""

    def lookup(self, file: ManifestFile) -> Blob | None:
        """Return the blob, acquired, if that needs no waiting; else None, and the caller uses `open`."""

    def open(self, file: ManifestFile) -> Blob:
        """Return the blob, acquired. Blocks.

        Raises StorageError when it is missing, changed or unreachable, and BeingCompared when its content has
        to be compared with its SHA-256 first.
        """

    def close(self) -> None:
        """Close what is kept between requests. Blobs that are still acquired stay readable."""

    # Optional: send clients to the storage itself.

    @property
    def redirects(self) -> bool:
        """Whether clients are sent to the storage itself. Only then is `handoff` called."""

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:
        """Return a URL where the client may fetch the file for a while, or None: the gateway has to send it.

        media_type, disposition: the fields Content-Type and Content-Disposition that the response there shall
        have. Call it after `ObjectBlob.check`. Give the URL to the client only: anyone who has it can fetch
        the file.
        """


class Blob(Protocol):
    """One stored object, opened, and acquired by at least one caller.

    Exactly one of `as_file` and `as_object` is not None.
    """

    @property
    def size(self) -> int:
        """The size of the whole object, in bytes."""

    def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read the bytes from `start` up to `stop` in order, in chunks.

        Raises StorageError when the object is missing, changed or unreachable, also in the middle.
        """

    def acquire(self) -> Self:
        """Acquire it once more; each `acquire` needs a `release` of its own."""

    def release(self) -> None:
        """End one use of the blob. May raise RuntimeError if it was released too often."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    # Optional: one of two quick ways to send it.

    @property
    def as_file(self) -> FileBlob | None:
        """The same blob if it has a file descriptor, else None."""

    @property
    def as_object(self) -> ObjectBlob | None:
        """The same blob if its bytes come over the network, else None."""


class FileBlob(Blob, Protocol):
    """A blob with a file descriptor. `local/storage.py` says what the calls cost."""

    @property
    def fd(self) -> int:
        """The descriptor, readable until `release`. Its file offset is shared, so pass offsets explicitly."""

    @property
    def checked_at(self) -> float:
        """When the file was last seen to be as published, in seconds of the monotonic clock."""

    def unchanged(self) -> bool:
        """Whether size and modification time are as at opening; for checks during a long transfer."""

    def pread(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`. Blocks. Raises StorageError when there are fewer."""

    def read_cached(self, start: int, stop: int) -> bytes | None:
        """Read these bytes if all of them are in memory, else return None. Never waits for a disk."""

    def read_now(self, start: int, stop: int) -> bytes | None:
        """Do the same as `read_cached`, but raise StorageError if the file is not as published."""

    def is_in_memory(self, start: int, stop: int, *, follows: bool = False) -> bool:
        """Whether sending this span would probably not wait for a disk.

        follows: the byte before `start` was in memory a moment ago.
        """

    def read_into_memory(self, start: int, stop: int) -> None:
        """Read this span, so that sending it will not wait. Blocks; the caller keeps the blob acquired.

        Raises StorageError when the span cannot be read.
        """


class ObjectBlob(Blob, Protocol):
    """A blob whose bytes come over the network. Its methods are for the event loop."""

    async def check(self) -> None:
        """Ask the storage whether it still has what was published, unless it said so a moment ago.

        For responses that send no bytes. Raises StorageError when it is missing, changed or unreachable.
        """

    async def fetch(self, start: int, stop: int) -> FilePart | Stream:
        """Begin to read the bytes from `start` up to `stop`; the result may end before `stop`.

        The result begins at `start`, holds bytes of the published object only, and the caller closes it.
        Raises StorageError when the object is missing, changed or unreachable.
        """

    def fetch_now(self, start: int, stop: int) -> FilePart | None:
        """Do what `fetch` does for a span that follows an earlier one; return None if that needs a wait."""


class FilePart:
    """Bytes that lie in a local file: `length` of them from `offset` on, ready for sendfile."""

    __slots__ = ("fd", "length", "offset")

    def __init__(self, fd: int, offset: int, length: int) -> None:
        """fd: a descriptor that belongs to this part alone."""
        self.fd = fd
        self.offset = offset
        self.length = length

    def close(self) -> None:
        """Close the descriptor. Call it once."""
        fd, self.fd = self.fd, -1
        os.close(fd)


class Stream(Protocol):
    """Bytes on their way from a storage, in order.

    `recv_into` and `splice` never wait: they raise BlockingIOError when nothing has arrived, and also when
    the connection broke. Then the caller awaits `wait_readable`, which asks the storage again if the
    connection broke. So bytes are read from the storage only when the client takes them.
    """

    @property
    def left(self) -> int:
        """How many bytes have not been read yet; 0 at the end."""

    def recv_into(self, buffer: memoryview) -> int:
        """Copy at least one and at most `len(buffer)` bytes into the buffer; return how many."""

    async def wait_readable(self, gather: int = 1) -> None:
        """Wait until there is something to read. Raises StorageError when the rest cannot be read.

        gather: how many bytes are wanted. A stream that can see how many have arrived may wait some
        milliseconds for them.
        """

    def close(self) -> None:
        """End the stream and give back its connection. Call it once, at any time."""

    # Optional.

    @property
    def can_splice(self) -> bool:
        """Whether `splice` works. The answer stays the same for the stream's whole life."""

    def splice(self, pipe: int, most: int) -> int:
        """Move at least one and at most `most` bytes into a pipe, within the kernel; return how many.

        A full pipe raises BlockingIOError too, so call it only when the pipe has room.
        """

    def limit_unread(self, limit: int) -> None:
        """For a slow client: let only about `limit` bytes arrive before they are read; 0 removes the limit.

        A stream does this as far as it can. Bytes that have already arrived may stay.
        """

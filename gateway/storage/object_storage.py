"""What all object storages have in common: blobs that hold nothing, and a memory of what was there just now.

What was published is pinned in every request (ETag, version), so finding and opening a blob need no I/O:
whether it is still there is learnt with the first bytes, or by `check` for answers that have none.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self

from gateway.manifest import ManifestFile
from gateway.storage.interface import Stream
from gateway.storage.local.page_cache import READ_BYTES
from gateway.storage.retries import Budget, TransientError

CHECKED_SECONDS: Final = 5.0
"""How long an object that was there is taken to be there, by answers that send none of it."""
CHECKED_OBJECTS: Final = 4096


async def read_stream(stream: Stream) -> AsyncIterator[bytes]:
    """Read what is left of a stream, in pieces. Raises StorageError."""
    buffer = memoryview(bytearray(READ_BYTES))
    while stream.left:
        try:
            got = stream.recv_into(buffer)
        except BlockingIOError:
            await stream.wait_readable()
            continue
        yield bytes(buffer[:got])


class ObjectStorage:
    """The objects of one bucket. Implements `Storage` for those that say how to ask; for one event loop.

    count: adds to a counter of this process.
    """

    redirects = False

    def __init__(self, name: str, count: Callable[[int, int], None]) -> None:
        self.name = name
        self.count = count
        self._seen: OrderedDict[ManifestFile, float] = OrderedDict()
        self._checks: dict[ManifestFile, asyncio.Task[None]] = {}

    async def begin(self, file: ManifestFile, start: int, stop: int) -> Stream:
        """Begin to read a span. Raises StorageError."""
        raise NotImplementedError

    async def head(self, file: ManifestFile) -> None:
        """Ask once for what describes an object.

        Raises TransientError when the same may work later, else StorageError.
        """
        raise NotImplementedError

    def describe(self, file: ManifestFile) -> str:
        """What errors call an object."""
        return f"storage {self.name}: the object {file.key!r}"

    def lookup(self, file: ManifestFile) -> ObjectBlob:
        """The blob; nothing is asked for yet."""
        return ObjectBlob(self, file)

    def open(self, file: ManifestFile) -> ObjectBlob:
        """The same as `lookup`."""
        return ObjectBlob(self, file)

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:  # noqa: ARG002
        """None, where a storage has no URLs for clients; see `Storage`."""
        return None

    def close(self) -> None:
        """Nothing, where a storage keeps nothing between requests; see `Storage`."""

    async def fetch(self, file: ManifestFile, start: int, stop: int) -> Stream:
        """Begin to read a span, which shows that the object is there. Raises StorageError."""
        assert start < stop, "there is nothing to fetch"
        stream = await self.begin(file, start, stop)
        self._remember(file)
        return stream

    async def check(self, file: ManifestFile) -> None:
        """Ask whether the object is still what was published, once for all who want to know now."""
        seen = self._seen.get(file)
        if seen is not None and time.monotonic() - seen < CHECKED_SECONDS:
            return
        running = self._checks.get(file)
        if running is None:
            running = self._checks[file] = asyncio.get_running_loop().create_task(self._check(file))
            running.add_done_callback(lambda task: self._checked(file, task))
        await asyncio.shield(running)  # whoever asked first may leave first

    async def _check(self, file: ManifestFile) -> None:
        budget = Budget(self.describe(file), self.count)
        while True:
            try:
                await self.head(file)
                self._remember(file)
                return
            except TransientError as hiccup:
                await budget.spend(hiccup)

    def _checked(self, file: ManifestFile, task: asyncio.Task[None]) -> None:
        del self._checks[file]
        if not task.cancelled():
            task.exception()  # those who wait get it; nobody may be left

    def _remember(self, file: ManifestFile) -> None:
        seen = self._seen
        seen[file] = time.monotonic()
        seen.move_to_end(file)
        if len(seen) > CHECKED_OBJECTS:
            seen.popitem(last=False)


class ObjectBlob:
    """One object. Implements `ObjectBlob` of `gateway.storage`; it holds nothing, so holding it is free."""

    __slots__ = ("_file", "_storage", "size")

    as_file = None

    def __init__(self, storage: ObjectStorage, file: ManifestFile) -> None:
        self._storage = storage
        self._file = file
        self.size = file.size

    @property
    def as_object(self) -> ObjectBlob:
        """Itself."""
        return self

    async def check(self) -> None:
        """See `ObjectBlob` of `gateway.storage`."""
        await self._storage.check(self._file)

    async def fetch(self, start: int, stop: int) -> Stream:
        """See `ObjectBlob` of `gateway.storage`; a stream of the whole span."""
        return await self._storage.fetch(self._file, start, stop)

    def fetch_now(self, start: int, stop: int) -> None:
        """See `ObjectBlob` of `gateway.storage`: nothing is."""

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in order, in pieces. Raises StorageError when it cannot be had whole."""
        if start >= stop:
            return
        stream = await self.fetch(start, stop)
        try:
            async for piece in read_stream(stream):
                yield piece
        finally:
            stream.close()

    def acquire(self) -> Self:
        """Hold it once more."""
        return self

    def release(self) -> None:
        """Let go of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

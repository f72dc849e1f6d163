"""A bucket as a storage: its objects as blobs, without asking for anything until bytes are wanted.

What was published is pinned in every request (ETag, version), so finding and opening a blob need no I/O:
whether it is still there is learnt with the first bytes, or by `check` for answers that have none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self

from gateway.counters import UPSTREAM_RETRIES, UPSTREAM_THROTTLES
from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.pages import READ_BYTES
from gateway.storage.s3.answers import Hiccup
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.client import Client
from gateway.storage.s3.pool import PoolFull
from gateway.storage.s3.stream import FIRST_TRIES, ObjectStream, backoff

CHECKED_SECONDS: Final = 5.0
"""How long an object that was there is taken to be there, by answers that send none of it."""
CHECKED_OBJECTS: Final = 4096


class S3Storage:
    """The objects of one bucket. Implements `Storage`; its blobs are for one event loop.

    count: adds to a counter of this process.
    """

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        self.name = bucket.name
        self.redirects = bucket.redirect
        self._client = Client(bucket, count)
        self._seen: OrderedDict[ManifestFile, float] = OrderedDict()
        self._checks: dict[ManifestFile, asyncio.Task[None]] = {}

    def lookup(self, file: ManifestFile) -> S3Blob:
        """The blob; nothing is asked for yet."""
        return S3Blob(self, file)

    def open(self, file: ManifestFile) -> S3Blob:
        """The same as `lookup`."""
        return S3Blob(self, file)

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:
        """A presigned URL, see `Storage`; None while no credentials are at hand."""
        return self._client.presigned(file, media_type, disposition, int(time.time()))

    def close(self) -> None:
        """Close the connections that are idle, and the others as they become so."""
        self._client.pool.close()

    async def fetch(self, file: ManifestFile, start: int, stop: int) -> ObjectStream:
        """Begin to read a span. Raises StorageError."""
        stream = ObjectStream(self._client, file, start, stop)
        await stream.begin()
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
        client = self._client
        for tries in range(1, FIRST_TRIES + 1):
            try:
                await client.head(file)
                self._remember(file)
                return
            except Hiccup as hiccup:
                if tries == FIRST_TRIES or isinstance(hiccup, PoolFull):
                    text = f"{client.describe(file)} cannot be looked at, {tries} tries in a row: {hiccup}"
                    raise StorageError(text) from None
                client.count(UPSTREAM_RETRIES, 1)
                if hiccup.throttled:
                    client.count(UPSTREAM_THROTTLES, 1)
                await asyncio.sleep(backoff(tries, random.random(), hiccup.after))  # noqa: S311 - no secret

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


class S3Blob:
    """One object. Implements `ObjectBlob`; it holds nothing, so holding it is free."""

    __slots__ = ("_file", "_storage", "size")

    as_file = None

    def __init__(self, storage: S3Storage, file: ManifestFile) -> None:
        self._storage = storage
        self._file = file
        self.size = file.size

    @property
    def as_object(self) -> S3Blob:
        """Itself."""
        return self

    async def check(self) -> None:
        """See `ObjectBlob`."""
        await self._storage.check(self._file)

    async def fetch(self, start: int, stop: int) -> ObjectStream:
        """See `ObjectBlob`; a stream of the whole span."""
        return await self._storage.fetch(self._file, start, stop)

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in order, in pieces. Raises StorageError when it cannot be had whole."""
        if start >= stop:
            return
        stream = await self.fetch(start, stop)
        try:
            buffer = memoryview(bytearray(READ_BYTES))
            while stream.left:
                try:
                    got = stream.take(buffer)
                except BlockingIOError:
                    await stream.ready()
                    continue
                yield bytes(buffer[:got])
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

"""What all object storages have in common: blobs without open resources, and a memory of recent checks.

A manifest identifies the exact object that was published (ETag, version), and every request is pinned to it.
So finding and opening a blob needs no I/O. Whether the object is still there shows with its first bytes, or
is asked by `check` before a response that sends none. An object that was stored again may be adopted
(adoption.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self

from gateway.errors import NotAsPublished, StorageError
from gateway.manifest import ManifestFile
from gateway.storage.adoption import Adoption
from gateway.storage.catalog import ObjectFacts
from gateway.storage.interface import Stream
from gateway.storage.local.page_cache import READ_BYTES
from gateway.storage.retries import RetryBudget
from gateway.storage.rules import HIDDEN

CHECKED_SECONDS: Final = 5.0
"""How long the result of a check is used for further responses that send no bytes of the object."""
CHECKED_OBJECTS: Final = 4096
"""How many checks are remembered."""


def describe_object(storage: str, key: str) -> str:
    """Name an object as errors do."""
    return f"storage {storage}: the object {key!r}"


async def read_stream(stream: Stream) -> AsyncIterator[bytes]:
    """Read what is left of a stream, in chunks of READ_BYTES at most. Raises StorageError."""
    buffer = memoryview(bytearray(READ_BYTES))
    while stream.left:
        try:
            size = stream.recv_into(buffer)
        except BlockingIOError:
            await stream.wait_readable()
            continue
        yield bytes(buffer[:size])


class ObjectStorage:
    """The objects of one bucket, for one event loop. Implements `Storage`.

    A backend derives from it and adds how to ask the storage: `begin` and `ask`, and for publishing
    `describe`, `check_root` and `pages`. adoption: None serves only what has the published identity.
    """

    redirects = False

    def __init__(self, name: str, count: Callable[[int, int], None]) -> None:
        """count: adds to a counter of this process."""
        self.name = name
        self.count = count
        self.adoption: Adoption | None = None
        self._checked_at: OrderedDict[ManifestFile, float] = OrderedDict()
        self._checks: dict[ManifestFile, asyncio.Task[None]] = {}

    async def begin(self, file: ManifestFile, start: int, stop: int) -> Stream:
        """Begin to read a span. Raises StorageError."""
        raise NotImplementedError

    async def ask(self, file: ManifestFile) -> None:
        """Ask once whether an object is as it was published, by a range of one byte.

        Raises TransientError when the same request may work later, else StorageError.
        """
        raise NotImplementedError

    async def describe(self, key: str) -> ObjectFacts:
        """Describe the object under a key, by a range of one byte. Raises StorageError."""
        raise NotImplementedError

    def older(self, file: ManifestFile) -> ManifestFile | None:  # noqa: ARG002
        """Return the entry to ask for where the key may have held the object before the bucket kept versions.

        None: a storage that has a name for that overrides this.
        """
        return None

    async def check_root(self) -> str:
        """See `Catalog`."""
        raise NotImplementedError

    def pages(self, folder: str) -> AsyncIterator[list[str]]:
        """List the keys below a folder, in pages; see `Catalog.list`."""
        raise NotImplementedError

    def lookup(self, file: ManifestFile) -> StoredObject:
        """Return the blob. The storage is not asked yet. Raises StorageError for a hidden object."""
        if file.hidden:
            raise StorageError(f"{describe_object(self.name, file.key)} {HIDDEN}")
        return StoredObject(self, file)

    def open(self, file: ManifestFile) -> StoredObject:
        """Return the blob, as `lookup` does."""
        return self.lookup(file)

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:  # noqa: ARG002
        """Return None: a storage that has URLs for clients overrides this. See `Storage`."""
        return None

    def close(self) -> None:
        """Do nothing: a storage that keeps connections overrides this. See `Storage`."""

    async def fetch(self, file: ManifestFile, start: int, stop: int) -> Stream:
        """Begin to read a span, which also shows that the object is there. Raises StorageError."""
        assert start < stop, "there is nothing to fetch"
        try:
            try:
                stream = await self.begin(self.current(file), start, stop)
            except NotAsPublished as error:
                stream = await self.begin(await self._adopt(file, error), start, stop)
        except StorageError:
            self._checked_at.pop(file, None)  # or HEAD would say for a while that all is well
            raise
        self._remember(file)
        return stream

    def current(self, file: ManifestFile) -> ManifestFile:
        """Return the entry to ask for: that of the manifest, or the one with an adopted identity."""
        if self.adoption is not None and self.adoption.known:
            return self.adoption.known.get(file, file)
        return file

    async def _adopt(self, file: ManifestFile, error: NotAsPublished) -> ManifestFile:
        """Return the entry of an object that was stored again. Raises `error` if it is another one."""
        if not error.differs or self.adoption is None:
            raise error
        return await self.adoption.adopt(file, error)

    async def check(self, file: ManifestFile) -> None:
        """Ask whether an object is still as it was published. Raises StorageError.

        Requests that ask at the same time share one check, and a success is remembered for CHECKED_SECONDS.
        """
        checked_at = self._checked_at.get(file)
        if checked_at is not None and time.monotonic() - checked_at < CHECKED_SECONDS:
            return
        running = self._checks.get(file)
        if running is None:
            running = self._checks[file] = asyncio.get_running_loop().create_task(self._check(file))
            running.add_done_callback(lambda task: self._end_check(file, task))
        await asyncio.shield(running)  # the caller that began it may be cancelled before the others

    async def _check(self, file: ManifestFile) -> None:
        try:
            await self._ask(self.current(file))
        except NotAsPublished as error:
            await self._ask(await self._adopt(file, error))
        self._remember(file)

    async def verify(self, file: ManifestFile) -> None:
        """Raise the error that a download would get now, without reading large objects again."""
        try:
            await self._ask(file)
        except NotAsPublished as error:
            if not error.differs or self.adoption is None:
                raise
            await self.adoption.check(file, error)

    async def _ask(self, file: ManifestFile) -> None:
        budget = RetryBudget(describe_object(self.name, file.key), self.count)
        await budget.run(lambda: self.ask(file))

    def _end_check(self, file: ManifestFile, task: asyncio.Task[None]) -> None:
        del self._checks[file]
        if not task.cancelled():
            task.exception()  # marks it as seen: all callers may have been cancelled

    def _remember(self, file: ManifestFile) -> None:
        checked_at = self._checked_at
        checked_at[file] = time.monotonic()
        checked_at.move_to_end(file)
        if len(checked_at) > CHECKED_OBJECTS:
            checked_at.popitem(last=False)


class StoredObject:
    """One object. Implements `ObjectBlob`; it has no open resource, so acquire and release do nothing."""

    __slots__ = ("_file", "_storage", "size")

    as_file = None

    def __init__(self, storage: ObjectStorage, file: ManifestFile) -> None:
        self._storage = storage
        self._file = file
        self.size = file.size

    @property
    def as_object(self) -> StoredObject:
        """Return itself."""
        return self

    async def check(self) -> None:
        """See `ObjectBlob`."""
        await self._storage.check(self._file)

    async def fetch(self, start: int, stop: int) -> Stream:
        """Return a stream of the whole span; see `ObjectBlob`."""
        return await self._storage.fetch(self._file, start, stop)

    def fetch_now(self, start: int, stop: int) -> None:
        """Return None: every read has to ask the storage. See `ObjectBlob`."""

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """See `Blob`."""
        if start >= stop:
            return
        stream = await self.fetch(start, stop)
        try:
            async for data in read_stream(stream):
                yield data
        finally:
            stream.close()

    def acquire(self) -> Self:
        """Return itself."""
        return self

    def release(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

"""An object storage with the cache of slices in front of it.

The rules:

- What is cached is exactly what was published: the name of a slice contains the object's version. Still, an
  object that was replaced or deleted in the storage is no longer served: before the first part of a download
  is taken from the cache, the storage is asked (`check`, which remembers the answer for some seconds). It is
  not asked for the later parts.
- If a storage cannot be reached, or does not answer within PATIENCE_SECONDS, what is cached is served all the
  same. For the next ASK_AGAIN_SECONDS the storage is then not asked at all.
- In the middle of a download, a storage that cannot be reached is asked again as often as a stream without a
  cache would ask.
- Where the cache cannot be used, the caller gets the storage's own stream.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import astuple
from types import TracebackType
from typing import Final, Self

from gateway.errors import StorageError, StorageUnreachable
from gateway.manifest import ManifestFile
from gateway.storage.cache.fetching import CacheUnavailable
from gateway.storage.cache.slice_files import SLICE_BYTES, Slice
from gateway.storage.cache.slices import SliceCache
from gateway.storage.interface import Blob, FilePart, ObjectBlob, Storage, Stream
from gateway.storage.local.page_cache import READ_BYTES
from gateway.storage.object_storage import read_stream
from gateway.storage.retries import FIRST_TRIES, TRIES, backoff

PATIENCE_SECONDS: Final = 2.0
ASK_AGAIN_SECONDS: Final = 5.0

_log = logging.getLogger("gateway")


class CachedStorage:
    """An object storage, read through the cache. Implements `Storage`."""

    def __init__(self, storage: Storage, cache: SliceCache) -> None:
        self.name = storage.name
        self.redirects = storage.redirects
        self.handoff = storage.handoff
        self.cache = cache
        self._storage = storage
        self._silent_until = 0.0

    def lookup(self, file: ManifestFile) -> Blob | None:
        """See `Storage`."""
        return self._wrap(self._storage.lookup(file), file)

    def open(self, file: ManifestFile) -> Blob:
        """See `Storage`."""
        blob = self._wrap(self._storage.open(file), file)
        assert blob is not None
        return blob

    def close(self) -> None:
        """Cancel what is being fetched, and close the storage."""
        self.cache.close()
        self._storage.close()

    async def confirm(self, origin: ObjectBlob) -> None:
        """Ask whether the storage still has an object that is cached. Raises StorageError if it has not."""
        if time.monotonic() < self._silent_until:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await origin.check()
        except TimeoutError:
            self._serve_without_asking(f"no answer in {PATIENCE_SECONDS:g} s")
        except StorageUnreachable as error:
            self._serve_without_asking(str(error))

    def _serve_without_asking(self, why: str) -> None:
        self._silent_until = time.monotonic() + ASK_AGAIN_SECONDS
        _log.warning("storage %s: what is cached is served without asking: %s", self.name, why)

    def _wrap(self, blob: Blob | None, file: ManifestFile) -> Blob | None:
        origin = None if blob is None else blob.as_object
        return blob if origin is None else CachedBlob(self, origin, file)


class CachedBlob:
    """One object, for one download. Implements `ObjectBlob`; it acquires the storage's own blob."""

    __slots__ = ("_ahead", "_begun", "_digest", "_file", "_last", "_origin", "_storage", "size")

    as_file = None

    def __init__(self, storage: CachedStorage, origin: ObjectBlob, file: ManifestFile) -> None:
        self._storage = storage
        self._origin = origin
        self._file = file
        # The digest of the file's entry in the manifest; with a slice's number it makes the slice's name.
        self._digest: hashlib._Hash | None = None
        self._begun = False  # whether the first part was handed out
        self._last = -1  # the number of the slice that the last part was of
        self._ahead = -1  # the number of the slice that was asked for in advance
        self.size = file.size

    @property
    def as_object(self) -> CachedBlob:
        """Return itself."""
        return self

    async def check(self) -> None:
        """See `ObjectBlob`. If the first slice is cached, a storage that does not answer is no error."""
        if self.size and self._storage.cache.holds(self._slice(0)):
            await self._storage.confirm(self._origin)
        else:
            await self._origin.check()

    async def fetch(self, start: int, stop: int) -> FilePart | Stream:
        """Return a part of a slice, or a stream where the cache cannot be used; see `ObjectBlob`."""
        tries = FIRST_TRIES
        while True:
            try:
                part = await self._fetch(start, stop)
                self._begun = True
                return part
            except StorageUnreachable:
                if not self._begun or tries >= TRIES:
                    raise
            await asyncio.sleep(backoff(tries, random.random()))  # noqa: S311 - no secret
            tries += 1

    async def _fetch(self, start: int, stop: int) -> FilePart | Stream:
        cache = self._storage.cache
        number = start // SLICE_BYTES
        slice_ = self._slice(number)
        end = min(stop, slice_.stop)
        try:
            part = await cache.fetch(slice_, start, end, self._origin, again=number == self._last)
        except CacheUnavailable:
            return await self._origin.fetch(start, end)
        self._last = number
        if not part.fresh and not self._begun:
            try:
                await self._storage.confirm(self._origin)
            except BaseException:
                part.close()
                raise
        if part.fresh and stop > slice_.stop and self._ahead != number + 1:
            self._look_ahead(number + 1)
        return part

    def fetch_now(self, start: int, stop: int) -> FilePart | None:
        """Return a part of a cached slice, if an earlier part was handed out already; see `ObjectBlob`."""
        if not self._begun:
            return None
        number = start // SLICE_BYTES
        slice_ = self._slice(number)
        end = min(stop, slice_.stop)
        try:
            part = self._storage.cache.fetch_now(slice_, start, end, again=number == self._last)
        except CacheUnavailable:
            return None
        if part is not None:
            self._last = number
        return part

    def _look_ahead(self, number: int) -> None:
        """Begin to fetch the next slice early, because this one has to come from the storage too."""
        self._ahead = number
        self._storage.cache.look_ahead(self._slice(number), self._origin)

    def _slice(self, number: int) -> Slice:
        if self._digest is None:
            facts = astuple(self._file)
            self._digest = hashlib.sha256(json.dumps(facts).encode())
        name = self._digest.copy()
        name.update(b"%d" % number)
        start = number * SLICE_BYTES
        return Slice(name.hexdigest(), start, min(start + SLICE_BYTES, self.size))

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """See `Blob`."""
        while start < stop:
            part = await self.fetch(start, stop)
            try:
                reading = _read_file(part) if isinstance(part, FilePart) else read_stream(part)
                async for data in reading:
                    start += len(data)
                    yield data
            finally:
                part.close()

    def acquire(self) -> Self:
        """See `Blob`."""
        self._origin.acquire()
        return self

    def release(self) -> None:
        """See `Blob`."""
        self._origin.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


async def _read_file(part: FilePart) -> AsyncIterator[bytes]:
    at, stop = part.offset, part.offset + part.length
    while at < stop:
        data = await asyncio.to_thread(os.pread, part.fd, min(READ_BYTES, stop - at), at)
        if not data:
            raise StorageError("a stored part of a file was truncated while it was read")
        at += len(data)
        yield data

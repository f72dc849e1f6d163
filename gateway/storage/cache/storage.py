"""An object storage with the cache of slices before it.

The rules:

- What is cached is exactly what was published: a slice's name has the object's version in it. Still, what
  was replaced or deleted in the storage is not served any more: a download that begins in the cache begins
  after the storage was asked (`check`, which it remembers for some seconds). Later parts are not asked for.
- A storage that cannot be reached, or does not answer within PATIENCE_SECONDS, has not said that anything
  changed: what is cached is served. After PATIENCE_SECONDS without an answer nobody waits for one for
  ASK_AGAIN_SECONDS.
- In the middle of a download a storage that cannot be reached is asked again, for as long as a plain stream
  would ask.
- Where the cache is of no use, the storage's own stream is handed on.
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
from gateway.storage.cache.fills import Bypass
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
    """Any storage of objects, read through the cache. Implements `Storage`."""

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
        """End what is being filled, and close the storage."""
        self.cache.close()
        self._storage.close()

    async def confirm(self, origin: ObjectBlob) -> None:
        """Ask for an object that is cached. Raises StorageError when it is missing or changed."""
        if time.monotonic() < self._silent_until:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await origin.check()
        except (TimeoutError, StorageUnreachable) as error:
            self._silent_until = time.monotonic() + ASK_AGAIN_SECONDS
            why = str(error) or f"no answer in {PATIENCE_SECONDS:g} s"
            _log.warning("storage %s: what is cached is served unasked: %s", self.name, why)

    def _wrap(self, blob: Blob | None, file: ManifestFile) -> Blob | None:
        origin = None if blob is None else blob.as_object
        return blob if origin is None else CachedBlob(self, origin, file)


class CachedBlob:
    """One object, for one download. Implements `ObjectBlob`; holding it holds the storage's own."""

    __slots__ = ("_ahead", "_begun", "_file", "_last", "_name", "_origin", "_storage", "size")

    as_file = None

    def __init__(self, storage: CachedStorage, origin: ObjectBlob, file: ManifestFile) -> None:
        self._storage = storage
        self._origin = origin
        self._file = file
        self._name: hashlib._Hash | None = None
        self._begun = False  # the first part was handed out
        self._last = -1  # the slice it was of
        self._ahead = -1  # the slice that is filled ahead
        self.size = file.size

    @property
    def as_object(self) -> CachedBlob:
        """Itself."""
        return self

    async def check(self) -> None:
        """See `ObjectBlob`; what begins in the cache is taken to be there when nobody can tell."""
        if self.size and self._storage.cache.holds(self._slice(0)):
            await self._storage.confirm(self._origin)
        else:
            await self._origin.check()

    async def fetch(self, start: int, stop: int) -> FilePart | Stream:
        """See `ObjectBlob`: a part of a slice, or a stream where the cache is of no use."""
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
        piece = self._slice(number)
        try:
            part = await cache.get(
                piece, start, min(stop, piece.stop), self._origin, again=number == self._last
            )
        except Bypass:
            return await self._origin.fetch(start, min(stop, piece.stop))
        self._last = number
        if not part.fresh and not self._begun:
            try:
                await self._storage.confirm(self._origin)
            except BaseException:
                part.close()
                raise
        if part.fresh and stop > piece.stop and self._ahead != number + 1:
            self._look_ahead(number + 1)
        return part

    def fetch_now(self, start: int, stop: int) -> FilePart | None:
        """See `ObjectBlob`: a slice that is there, after the storage was asked for the first part."""
        if not self._begun:
            return None
        number = start // SLICE_BYTES
        piece = self._slice(number)
        try:
            part = self._storage.cache.fetch_now(
                piece, start, min(stop, piece.stop), again=number == self._last
            )
        except Bypass:
            return None
        if part is not None:
            self._last = number
        return part

    def _look_ahead(self, number: int) -> None:
        """While a slice comes from the storage, ask for the next, so that nobody waits for its first byte."""
        self._ahead = number
        self._storage.cache.look_ahead(self._slice(number), self._origin)

    def _slice(self, number: int) -> Slice:
        if self._name is None:
            facts = astuple(self._file)
            self._name = hashlib.sha256(json.dumps(facts).encode())
        name = self._name.copy()
        name.update(b"%d" % number)
        start = number * SLICE_BYTES
        return Slice(name.hexdigest(), start, min(start + SLICE_BYTES, self.size))

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a span in order, in pieces. Raises StorageError when it cannot be had whole."""
        while start < stop:
            part = await self.fetch(start, stop)
            try:
                if isinstance(part, FilePart):
                    async for piece in _read_file(part):
                        start += len(piece)
                        yield piece
                else:
                    async for piece in read_stream(part):
                        start += len(piece)
                        yield piece
            finally:
                part.close()

    def acquire(self) -> Self:
        """Hold it once more."""
        self._origin.acquire()
        return self

    def release(self) -> None:
        """Let go of it."""
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

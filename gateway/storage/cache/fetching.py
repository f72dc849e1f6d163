"""Fetching slices from the storage into the cache: each once, however many requests and processes want it.

The rules:

- A fetch is a task of its own and runs to its end, even when all requests that wait for it have ended,
  because the slice will probably be requested again.
- Waiting requests are served while the bytes arrive, from the file being written. So a download that finds
  nothing cached is as fast as the storage. `PendingSlice.written` says how many bytes are there. When another
  process writes the file, the number comes from the mark in the file, which is read every POLL_SECONDS.
- One process fetches a slice: the one that has its lock (budget.py). If that process dies, the lock is free,
  and another process starts from the beginning.
- At most MAX_FETCHES run at once, which bounds memory. A request reads from the storage directly
  (CacheUnavailable) if for PATIENCE_SECONDS there is no free slot, no room in the budget, or no progress of
  the other process.
- The event loop receives the bytes; checksum and write happen in a thread, one call for up to BUFFER_BYTES.
  These threads are the cache's own, so a disk that is slow to write does not delay reads.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from gateway.errors import StorageError
from gateway.runtime.metrics import CACHE_BYTES, CACHE_EVICTED, CACHE_FILLED
from gateway.storage.cache.budget import CacheBudget, NoRoom
from gateway.storage.cache.slice_files import FileIdentity, Slice, SliceFiles, SliceWriter
from gateway.storage.interface import FilePart, ObjectBlob, Stream

T = TypeVar("T")

BUFFER_BYTES: Final = 1024 * 1024
READY_BYTES: Final = 256 * 1024
"""A waiting request is served once this many bytes are in the file. A batch of at least this many bytes is
written as soon as no more have arrived."""
FLUSH_SECONDS: Final = 0.02
"""A smaller batch is written after this time, because a request may wait for its bytes."""
POLL_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 2.0
MAX_FETCHES: Final = 16
_THREADS: Final = 4


class CacheUnavailable(Exception):
    """The cache cannot be used for this read: read from the storage directly."""


class PendingSlice:
    """One slice that is being fetched into the cache, and the requests that wait for it.

    written: how many bytes are in the file. fresh: the bytes came from the storage after they were asked for,
    even if another process fetched them. identity: that of the slice's file, once the slice is complete and
    verified.
    """

    def __init__(self, slice_: Slice) -> None:
        self.slice = slice_
        self.written = 0
        self.fresh = False
        self.identity: FileIdentity | None = None
        self._error: Exception | None = None
        self._ended = False
        self._fd = -1
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []  # each with the bytes it waits for

    async def wait_for(self, size: int) -> None:
        """Wait until `size` bytes are in the file, or the fetch has ended.

        Raises StorageError or CacheUnavailable when it ended with that error.
        """
        if self.written < size and not self._ended:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((size, future))
            await future
        if self._error is not None and self.written < size:
            raise type(self._error)(*self._error.args)

    def duplicate_descriptor(self) -> int | None:
        """Return a new descriptor of the file being written; None when there is no such file."""
        return None if self._fd < 0 else os.dup(self._fd)

    def attach(self, fd: int) -> None:
        """Set the file that has the bytes from now on."""
        self._fd = fd
        self.fresh = True

    def detach(self) -> None:
        """Stop using this file. Another one may be attached later."""
        self._fd = -1
        self.written = 0

    def advance(self, written: int) -> None:
        """Report how many bytes are in the file, and wake the requests that waited for them."""
        if written <= self.written:
            return
        self.written = written
        served = [future for size, future in self._waiters if size <= written]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > written]
        for future in served:
            if not future.done():
                future.set_result(None)

    def end(self, error: Exception | None = None) -> None:
        """Report that the slice is complete, or the error with which the fetch failed."""
        self._ended = True
        self._error = error
        self._fd = -1
        for _, future in self._waiters:
            if not future.done():
                future.set_result(None)
        self._waiters.clear()


class SliceFetcher:
    """Fetches slices into the cache, for one event loop."""

    def __init__(
        self,
        files: SliceFiles,
        budget: CacheBudget,
        find: Callable[[Slice], FileIdentity | None],
        count: Callable[[int, int], None],
    ) -> None:
        """find: looks for a complete slice; it blocks. count: adds to a counter of this process."""
        self._files = files
        self._budget = budget
        self._find = find
        self._count = count
        self._slots = asyncio.Semaphore(MAX_FETCHES)
        self._buffers: list[memoryview] = []
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, pending: PendingSlice, origin: ObjectBlob) -> None:
        """Find the slice, or fetch it from `origin`, its object in the storage.

        Raises StorageError, CacheUnavailable, or OSError when the cache's disk fails.
        """
        loop = asyncio.get_running_loop()
        pending.identity = await loop.run_in_executor(None, self._find, pending.slice)
        if pending.identity is not None:
            return
        lock = await self._lock_or_follow(pending)
        if lock is None:
            return
        locks = [lock]
        try:
            await self._take_slot()
            try:
                await self._fetch(pending, origin, locks)
            finally:
                self._slots.release()
        finally:
            for descriptor in locks:
                os.close(descriptor)

    async def _take_slot(self) -> None:
        """Wait for a free slot.

        The time-out covers only this wait and not the fetch: an ETIMEDOUT of the disk is a TimeoutError too,
        and it has to be reported.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise CacheUnavailable from None

    async def _lock_or_follow(self, pending: PendingSlice) -> int | None:
        """Become the writer of the slice and return its lock, or follow the process that is its writer.

        Returns None when that process has completed the slice.
        """
        files, slice_ = self._files, pending.slice
        followed: int | None = None
        last_progress = time.monotonic()
        try:
            while (lock := self._budget.lock(slice_.digest)) is None:
                if followed is None:
                    followed = files.open_part(slice_)
                    if followed is not None:
                        pending.attach(followed)
                elif (written := files.written(followed, slice_)) > pending.written:
                    pending.advance(written)
                    last_progress = time.monotonic()
                if time.monotonic() - last_progress > PATIENCE_SECONDS:
                    raise CacheUnavailable
                await asyncio.sleep(POLL_SECONDS)
            # Another process may have completed the slice before this lock was taken, followed or not.
            find = partial(self._find, slice_)
            pending.identity = await asyncio.get_running_loop().run_in_executor(None, find)
            pending.fresh = True
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        finally:
            if followed is not None:
                pending.detach()
                os.close(followed)
        if pending.identity is not None:
            os.close(lock)
            return None
        return lock

    async def _fetch(self, pending: PendingSlice, origin: ObjectBlob, locks: list[int]) -> None:
        """Write the slice. locks: its lock, which is removed from the list when a thread has to keep it."""
        writer = await self._make_writer(pending.slice)
        try:
            await self._in_thread(writer.allocate)
            pending.attach(writer.fd)
            await self._receive(pending, writer, origin)
            pending.identity = await self._in_thread(writer.finish)
        finally:
            pending.detach()
            # If this was cancelled, a write may still run. The slice stays locked until it has ended.
            is_complete = pending.identity is not None
            self._pool().submit(self._close_writer, writer, pending.slice, is_complete, locks.pop())
        self._count(CACHE_FILLED, 1)
        self._count(CACHE_BYTES, pending.slice.length)

    def _close_writer(self, writer: SliceWriter, slice_: Slice, is_complete: bool, lock: int) -> None:
        try:
            if not is_complete:
                writer.discard()
                self._budget.release(slice_.cost)
        except OSError:
            pass  # a file that is left over is found when the files are counted
        finally:
            writer.close()
            os.close(lock)

    async def _make_writer(self, slice_: Slice) -> SliceWriter:
        """Reserve room in the budget, evicting other slices if there is none, and make the file."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        make = partial(self._files.create, slice_)
        while True:
            writer: SliceWriter | None = await self._in_thread(self._budget.reserve, slice_.cost, make)
            if writer is not None:
                return writer
            try:
                evicted = await self._in_thread(self._budget.evict, slice_.cost)
            except NoRoom:
                raise CacheUnavailable from None
            if evicted:
                self._count(CACHE_EVICTED, evicted)
            if time.monotonic() > deadline:
                raise CacheUnavailable
            if evicted is None:
                await asyncio.sleep(POLL_SECONDS)

    async def _receive(self, pending: PendingSlice, writer: SliceWriter, origin: ObjectBlob) -> None:
        """Read the slice from the storage into its file."""
        stream = await origin.fetch(pending.slice.start, pending.slice.stop)
        assert not isinstance(stream, FilePart), "a cache in front of a cache"
        reader = _BatchReader(stream)
        try:
            left = stream.left
            if left != pending.slice.length:
                raise StorageError(f"a storage sends {left} bytes instead of {pending.slice.length}")
            buffer = self._buffers.pop() if self._buffers else memoryview(bytearray(BUFFER_BYTES))
            while left:
                size = await reader.read_into(buffer)
                pending.advance(await self._in_thread(writer.write, buffer[:size]))
                left -= size
            self._buffers.append(buffer)  # only after success: a write that was cancelled may still use it
        finally:
            reader.close()

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "cache")
        return self._threads

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool(), function, *arguments)


class _BatchReader:
    """Reads from a stream in batches of the bytes that arrive within a short time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: asyncio.Task[None] | None = None

    async def read_into(self, buffer: memoryview) -> int:
        """Fill the buffer with what arrives within FLUSH_SECONDS, but at least one byte; return the size."""
        size = 0
        stream = self._stream
        while stream.left and size < len(buffer):
            if self._waiting is None:
                try:
                    size += stream.recv_into(buffer[size:])
                    continue
                except BlockingIOError:
                    if size >= READY_BYTES:
                        break
                    self._waiting = asyncio.get_running_loop().create_task(stream.wait_readable())
            waiting = self._waiting
            await asyncio.wait({waiting}, timeout=FLUSH_SECONDS if size else None)
            if not waiting.done():
                break  # the next call goes on waiting
            self._waiting = None
            waiting.result()
        return size

    def close(self) -> None:
        """Close the stream."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._stream.close()

"""Filling slices from the storage: each once, however many ask, in this process or in another.

The rules:

- A fill is a task of its own and runs to its end, whoever leaves: what was asked for once is asked for again.
- Those who wait are served as the bytes come, from the file being written: a cold download is as fast as the
  storage. They know how far it is by `Fill.written`; what another process writes is followed by the mark in
  its file, looked at every POLL_SECONDS.
- One process fills: who has the slice's lock in the ledger. If it dies, the lock is free, and the next begins
  anew.
- At most MAX_FILLS at once, which bounds memory. Whoever gets no turn, no room in the budget or no sign of
  life of the other process within PATIENCE_SECONDS reads from the storage directly (Bypass).
- Taking bytes is the event loop's; checksum and write are a thread's, one hop for up to BUFFER_BYTES. These
  threads are the cache's own: a disk that is slow to write does not hold up what is read.
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
from gateway.storage.cache.budget import Ledger, NoRoom
from gateway.storage.cache.slice_files import Identity, Part, Slice, SliceFiles
from gateway.storage.interface import FilePart, ObjectBlob, Stream

T = TypeVar("T")

BUFFER_BYTES: Final = 1024 * 1024
READY_BYTES: Final = 256 * 1024
"""Who waits is served when so much is there; and so much is written at once, if it comes quickly enough."""
FLUSH_SECONDS: Final = 0.02
"""What came and is less is written after this time: somebody may wait for it."""
POLL_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 2.0
MAX_FILLS: Final = 16
_THREADS: Final = 4


class Bypass(Exception):
    """The cache is of no use for this read: the storage is."""


class Fill:
    """One slice on its way into the cache, and who waits for it.

    written: bytes of it there. fresh: whether they were read from the storage since it was asked for, be it
    by another process. identity: of the slice that was found or written, once it is whole and right.
    """

    def __init__(self, piece: Slice) -> None:
        self.piece = piece
        self.written = 0
        self.fresh = False
        self.identity: Identity | None = None
        self.error: Exception | None = None
        self.ended = False
        self._fd = -1
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def reach(self, mark: int) -> None:
        """Until so many bytes are there, or it has ended. Raises StorageError or Bypass, if it ended so."""
        if self.written < mark and not self.ended:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((mark, future))
            await future
        if self.error is not None and self.written < mark:
            raise type(self.error)(*self.error.args)

    def descriptor(self) -> int | None:
        """A new descriptor of the file being written; None when there is none any more."""
        return None if self._fd < 0 else os.dup(self._fd)

    def begin(self, fd: int) -> None:
        """The bytes are in this file from now on."""
        self._fd = fd
        self.fresh = True

    def lose(self) -> None:
        """That file is not to be used any more; there may be another."""
        self._fd = -1
        self.written = 0

    def advance(self, written: int) -> None:
        """So many bytes are there."""
        if written <= self.written:
            return
        self.written = written
        reached = [future for mark, future in self._waiting if mark <= written]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > written]
        for future in reached:
            if not future.done():
                future.set_result(None)

    def end(self, error: Exception | None = None) -> None:
        """It is there, or will not be."""
        self.ended = True
        self.error = error
        self._fd = -1
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()


class Filler:
    """Fills slices, for one event loop."""

    def __init__(
        self,
        files: SliceFiles,
        ledger: Ledger,
        find: Callable[[Slice], Identity | None],
        count: Callable[[int, int], None],
    ) -> None:
        """find: looks for a whole slice; blocks."""
        self._files = files
        self._ledger = ledger
        self._find = find
        self._count = count
        self._slots = asyncio.Semaphore(MAX_FILLS)
        self._buffers: list[memoryview] = []
        self._threads: ThreadPoolExecutor | None = None

    async def fill(self, fill: Fill, origin: ObjectBlob) -> None:
        """Find the slice, or fill it. Raises StorageError, Bypass, or OSError when the cache fails."""
        loop = asyncio.get_running_loop()
        fill.identity = await loop.run_in_executor(None, self._find, fill.piece)
        if fill.identity is not None:
            return
        lock = await self._lock(fill)
        if lock is None:
            return
        held = [lock]
        try:
            await self._turn()
            try:
                await self._fill(fill, origin, held)
            finally:
                self._slots.release()
        finally:
            for descriptor in held:
                os.close(descriptor)

    async def _turn(self) -> None:
        """Take a slot. Apart from the fill: a disk's ETIMEDOUT is a TimeoutError too, and has to be told."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Bypass from None

    async def _lock(self, fill: Fill) -> int | None:
        """Become the one who fills it; None when another process has meanwhile."""
        files, piece = self._files, fill.piece
        lock = self._ledger.lock(piece.digest)
        if lock is not None:
            return lock
        followed: int | None = None
        alive = time.monotonic()
        try:
            while (lock := self._ledger.lock(piece.digest)) is None:
                if followed is None:
                    followed = files.follow(piece)
                    if followed is not None:
                        fill.begin(followed)
                elif (mark := files.mark(followed, piece)) > fill.written:
                    fill.advance(mark)
                    alive = time.monotonic()
                if time.monotonic() - alive > PATIENCE_SECONDS:
                    raise Bypass
                await asyncio.sleep(POLL_SECONDS)
            find = partial(self._find, piece)
            fill.identity = await asyncio.get_running_loop().run_in_executor(None, find)
            fill.fresh = True
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        finally:
            if followed is not None:
                fill.lose()
                os.close(followed)
        if fill.identity is not None:
            os.close(lock)
            return None
        return lock

    async def _fill(self, fill: Fill, origin: ObjectBlob, held: list[int]) -> None:
        """Write the slice. held: its lock, taken from there when it has to be kept longer."""
        part = await self._make_part(fill.piece)
        try:
            await self._thread(part.allocate)
            fill.begin(part.fd)
            await self._receive(fill, part, origin)
            fill.identity = await self._thread(part.finish)
        finally:
            fill.lose()
            # A write may still run when this was cancelled; until it has ended, the slice is ours.
            self._pool().submit(self._put_away, part, fill.piece, fill.identity is not None, held.pop())
        self._count(CACHE_FILLED, 1)
        self._count(CACHE_BYTES, fill.piece.length)

    def _put_away(self, part: Part, piece: Slice, whole: bool, lock: int) -> None:
        try:
            if not whole:
                part.discard()
                self._ledger.release(piece.cost)
        except OSError:
            pass  # what is left is found when the cache is counted
        finally:
            part.close()
            os.close(lock)

    async def _make_part(self, piece: Slice) -> Part:
        """Room in the budget, and the file."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        make = partial(self._files.create, piece)
        while True:
            part: Part | None = await self._thread(self._ledger.reserve, piece.cost, make)
            if part is not None:
                return part
            try:
                evicted = await self._thread(self._ledger.evict, piece.cost)
            except NoRoom:
                raise Bypass from None
            if evicted:
                self._count(CACHE_EVICTED, evicted)
            if time.monotonic() > deadline:
                raise Bypass
            if evicted is None:
                await asyncio.sleep(POLL_SECONDS)

    async def _receive(self, fill: Fill, part: Part, origin: ObjectBlob) -> None:
        """Read the slice from the storage into its file."""
        stream = await origin.fetch(fill.piece.start, fill.piece.stop)
        assert not isinstance(stream, FilePart), "a cache of a cache"
        taker = _Taker(stream)
        try:
            left = stream.left
            if left != fill.piece.length:
                raise StorageError(f"a storage gives {left} bytes and not {fill.piece.length}")
            buffer = self._buffers.pop() if self._buffers else memoryview(bytearray(BUFFER_BYTES))
            while left:
                got = await taker.take(buffer)
                fill.advance(await self._thread(part.write, buffer[:got]))
                left -= got
            self._buffers.append(buffer)  # only now: a write that was cancelled may still run
        finally:
            taker.close()

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "cache")
        return self._threads

    async def _thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool(), function, *arguments)


class _Taker:
    """Takes from a stream as much as comes soon."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._coming: asyncio.Task[None] | None = None

    async def take(self, buffer: memoryview) -> int:
        """Fill the buffer, or as much of it as comes in a moment; at least a byte."""
        got = 0
        stream = self._stream
        while stream.left and got < len(buffer):
            if self._coming is None:
                try:
                    got += stream.recv_into(buffer[got:])
                    continue
                except BlockingIOError:
                    if got >= READY_BYTES:
                        break
                    self._coming = asyncio.get_running_loop().create_task(stream.wait_readable())
            coming = self._coming
            await asyncio.wait({coming}, timeout=FLUSH_SECONDS if got else None)
            if not coming.done():
                break  # it is waited for further the next time
            self._coming = None
            coming.result()
        return got

    def close(self) -> None:
        """Let go of the stream."""
        if self._coming is not None:
            self._coming.cancel()
            self._coming.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._stream.close()

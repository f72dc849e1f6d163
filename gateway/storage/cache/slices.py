"""The read-through cache of slices on a local disk, shared by all workers of a machine.

`get` gives a slice's bytes from its file, if need be while it is still being filled (fills.py). The rules:

- A slice is read whole and checked (slice_files.py) before a process sends from it for the first time. What
  was checked is remembered by inode and modification time. A bad one is removed and filled again.
- No descriptor is kept: each part has its own, so a slice that was evicted takes room only while it is sent.
- Whatever fails here (a full or broken disk, a folder that is gone) means reading from the storage: `get`
  raises Bypass, a warning is logged at most once in WARN_SECONDS, and nothing is filled for PAUSE_SECONDS.

Measured on ext4, in memory: a part of a slice that was checked 9 µs; the check, once a process and slice,
3.3 ms; checksum and write of a whole slice 3.7 ms; one reader of a cold object 760 MB/s, the storage being in
the same process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.errors import StorageError
from gateway.runtime.metrics import CACHE_BYPASSED, CACHE_DAMAGED, CACHE_FAILURES, CACHE_HITS, CACHE_WAITED
from gateway.storage.cache.budget import Ledger
from gateway.storage.cache.fills import MAX_FILLS, READY_BYTES, Bypass, Fill, Filler
from gateway.storage.cache.slice_files import Identity, Slice, SliceFiles
from gateway.storage.interface import FilePart, ObjectBlob

WARN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 5.0
CHECKED_SLICES: Final = 65536
"""How many slices are remembered as right: 512 GiB of them, in about 20 MiB."""
_ROUNDS: Final = 3

_log = logging.getLogger("gateway")


class CachedPart(FilePart):
    """Bytes of a slice. fresh: whether the storage has just sent them."""

    __slots__ = ("fresh",)

    def __init__(self, fd: int, offset: int, length: int, *, fresh: bool) -> None:
        super().__init__(fd, offset, length)
        self.fresh = fresh


class SliceCache:
    """The slices below `path`, `max_bytes` of them at most. For one event loop.

    count: adds to a counter of this process.
    """

    def __init__(self, path: Path, max_bytes: int, count: Callable[[int, int], None]) -> None:
        self._path = path
        self._count = count
        self._files = SliceFiles(os.fsencode(path.absolute()))
        self._ledger = Ledger(self._files.root, max_bytes)
        self._filler = Filler(self._files, self._ledger, self._find, count)
        self._fills: dict[str, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._checked: OrderedDict[str, Identity] = OrderedDict()
        self._damaged = 0  # counted by threads, told by the loop
        self._is_prepared = False
        self._paused_until = 0.0
        self._warned = float("-inf")

    async def get(
        self, piece: Slice, start: int, stop: int, origin: ObjectBlob, *, again: bool = False
    ) -> CachedPart:
        """Begin to read a slice from `start` on (of the object): a part that ends at `stop` or before.

        again: this is not the caller's first part of this slice. Raises StorageError, if the storage does not
        give the slice, or Bypass.
        """
        first, last = start - piece.start, stop - piece.start
        fill: Fill | None = None
        for _ in range(_ROUNDS):
            fd = self._open(piece)
            if fd is not None:
                if fill is None and not again:
                    self._count(CACHE_HITS, 1)
                return CachedPart(fd, first, last - first, fresh=fill is not None and fill.fresh)
            fill = self._fills.get(piece.digest)
            if fill is None:
                fill = self._begin(piece, origin)
            elif not again:
                self._count(CACHE_WAITED, 1)
            again = True
            await fill.reach(min(last, first + READY_BYTES))
            fd = fill.descriptor()
            if fd is not None:
                return CachedPart(fd, first, min(last, fill.written) - first, fresh=True)
        self._count(CACHE_BYPASSED, 1)
        raise Bypass

    def fetch_now(self, piece: Slice, start: int, stop: int, *, again: bool) -> FilePart | None:
        """The same where nothing has to be waited for, the slice being there and checked; else None."""
        fd = self._open(piece)
        if fd is None:
            return None
        if not again:
            self._count(CACHE_HITS, 1)
        return FilePart(fd, start - piece.start, stop - start)

    def look_ahead(self, piece: Slice, origin: ObjectBlob) -> None:
        """Have a slice filled that will soon be asked for, if there is nothing better to do."""
        if (
            len(self._fills) < MAX_FILLS // 2
            and piece.digest not in self._fills
            and piece.digest not in self._checked
            and time.monotonic() >= self._paused_until
        ):
            self._begin(piece, origin)

    def holds(self, piece: Slice) -> bool:
        """Whether a slice is there, and known to be right."""
        fd = self._open(piece)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def close(self) -> None:
        """End what is being filled."""
        for task in self._tasks:
            task.cancel()

    def _open(self, piece: Slice) -> int | None:
        """Open a slice that was checked before; None when there is none such."""
        known = self._checked.get(piece.digest)
        if known is None:
            return None
        try:
            opened = self._files.open(piece)
        except OSError as error:
            raise self._trouble(error) from None
        if opened is not None:
            fd, identity = opened
            if identity == known:
                self._checked.move_to_end(piece.digest)
                return fd
            os.close(fd)
        del self._checked[piece.digest]
        return None

    def _find(self, piece: Slice) -> Identity | None:
        """Look for a slice and check it; one that is damaged is removed. Blocks."""
        if not self._is_prepared:
            self._files.prepare()
            self._is_prepared = True
        opened = self._files.open(piece)
        if opened is None:
            return None
        fd, identity = opened
        try:
            if self._files.verify(fd, piece):
                return identity
        finally:
            os.close(fd)
        self._damaged += 1
        _log.warning("a slice in the cache at %s is damaged and removed: %s", self._path, piece.digest)
        if self._files.remove(piece):
            self._ledger.release(piece.cost)
        return None

    # Filling.

    def _begin(self, piece: Slice, origin: ObjectBlob) -> Fill:
        if time.monotonic() < self._paused_until:
            self._count(CACHE_BYPASSED, 1)
            raise Bypass
        fill = self._fills[piece.digest] = Fill(piece)
        task = asyncio.get_running_loop().create_task(self._run(fill, origin.acquire()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return fill

    async def _run(self, fill: Fill, origin: ObjectBlob) -> None:
        error: Exception | None = Bypass()
        try:
            await self._filler.fill(fill, origin)
            error = None
        except StorageError as fault:
            error = fault
        except Bypass:
            self._count(CACHE_BYPASSED, 1)
        except OSError as fault:
            self._trouble(fault)
        except Exception:
            _log.exception("the cache failed by an unexpected error")
        finally:
            origin.release()
            del self._fills[fill.piece.digest]
            if fill.identity is not None:
                self._remember(fill.piece, fill.identity)
            fill.end(error)
            damaged, self._damaged = self._damaged, 0
            if damaged:
                self._count(CACHE_DAMAGED, damaged)

    def _remember(self, piece: Slice, identity: Identity) -> None:
        checked = self._checked
        checked[piece.digest] = identity
        checked.move_to_end(piece.digest)
        if len(checked) > CHECKED_SLICES:
            checked.popitem(last=False)

    def _trouble(self, error: OSError) -> Bypass:
        """The cache failed: leave it alone for a while."""
        now = time.monotonic()
        self._count(CACHE_FAILURES, 1)
        self._is_prepared = False
        self._paused_until = now + PAUSE_SECONDS
        if now - self._warned >= WARN_SECONDS:
            self._warned = now
            _log.warning(
                "the cache at %s fails, objects are read from their storages meanwhile: %s",
                self._path,
                error.strerror or error,
            )
        return Bypass()

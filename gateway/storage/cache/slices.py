"""The read-through cache of slices on a local disk, shared by all workers of a machine.

`fetch` gives the bytes of a slice from its file, even while the slice is still being fetched (fetching.py).
The rules:

- Before a process sends from a slice for the first time, it reads and verifies the whole slice
  (slice_files.py). It remembers which ones it has verified by inode and modification time. A damaged slice is
  removed and fetched again.
- No descriptor is kept open: each part that is sent has a descriptor of its own. So a slice that was evicted
  takes room on the disk only while it is sent.
- When anything fails here (a full or broken disk, a folder that is gone), the caller reads from the storage:
  `fetch` raises CacheUnavailable, a warning is logged at most once in WARN_SECONDS, and nothing is fetched
  into the cache for PAUSE_SECONDS.

Measured on ext4, with the files in memory: a part of a slice that was verified takes 9 µs; verifying a slice,
once a process, 3.3 ms; checksum and write of a whole slice 3.7 ms. One reader of an object that is not cached
gets 760 MB/s, with the storage in the same process.
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
from gateway.runtime.system_errors import advise
from gateway.storage.cache.budget import CacheBudget
from gateway.storage.cache.fetching import (
    MAX_FETCHES,
    READY_BYTES,
    CacheUnavailable,
    PendingSlice,
    SliceFetcher,
)
from gateway.storage.cache.slice_files import FileIdentity, Slice, SliceFiles
from gateway.storage.interface import FilePart, ObjectBlob

WARN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 5.0
VERIFIED_SLICES: Final = 65536
"""How many verified slices are remembered: 512 GiB of them, in about 20 MiB."""
_ROUNDS: Final = 3
"""How often a read looks for its slice, which may be evicted just after it was fetched."""

_log = logging.getLogger("gateway")


class CachedPart(FilePart):
    """Bytes of a slice. fresh: they came from the storage after they were asked for."""

    __slots__ = ("fresh",)

    def __init__(self, fd: int, offset: int, length: int, *, fresh: bool) -> None:
        super().__init__(fd, offset, length)
        self.fresh = fresh


class SliceCache:
    """The slices below `path`, of `max_bytes` at most. For one event loop."""

    def __init__(self, path: Path, max_bytes: int, count: Callable[[int, int], None]) -> None:
        """count: adds to a counter of this process."""
        self._path = path
        self._count = count
        self._files = SliceFiles(os.fsencode(path.absolute()))
        self._budget = CacheBudget(self._files.root, max_bytes)
        self._fetcher = SliceFetcher(self._files, self._budget, self._find, count)
        self._pending: dict[str, PendingSlice] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._verified: OrderedDict[str, FileIdentity] = OrderedDict()
        self._damaged = 0  # found by threads, and counted on the event loop
        self._is_prepared = False
        self._paused_until = 0.0
        self._warned_at = float("-inf")

    async def fetch(
        self, slice_: Slice, start: int, stop: int, origin: ObjectBlob, *, again: bool = False
    ) -> CachedPart:
        """Begin to read a slice from `start` on: return a part that ends at `stop` or before.

        start, stop: offsets in the object. origin: the object in its storage. again: the caller has had a
        part of this slice before, so it is not counted as a hit again. Raises StorageError when the storage
        does not give the slice, or CacheUnavailable.
        """
        first, last = start - slice_.start, stop - slice_.start
        pending: PendingSlice | None = None
        for _ in range(_ROUNDS):
            fd = self._open(slice_)
            if fd is not None:
                if pending is None and not again:
                    self._count(CACHE_HITS, 1)
                return CachedPart(fd, first, last - first, fresh=pending is not None and pending.fresh)
            pending = self._pending.get(slice_.digest)
            if pending is None:
                pending = self._begin(slice_, origin)
            elif not again:
                self._count(CACHE_WAITED, 1)
            again = True
            await pending.wait_for(min(last, first + READY_BYTES))
            fd = pending.duplicate_descriptor()
            if fd is not None:
                return CachedPart(fd, first, min(last, pending.written) - first, fresh=True)
        self._count(CACHE_BYPASSED, 1)
        raise CacheUnavailable

    def fetch_now(self, slice_: Slice, start: int, stop: int, *, again: bool) -> FilePart | None:
        """Do the same as `fetch` without waiting, if the slice is cached and verified; else return None."""
        fd = self._open(slice_)
        if fd is None:
            return None
        if not again:
            self._count(CACHE_HITS, 1)
        return FilePart(fd, start - slice_.start, stop - start)

    def look_ahead(self, slice_: Slice, origin: ObjectBlob) -> None:
        """Begin to fetch a slice that will soon be asked for, unless the fetcher is busy."""
        if (
            len(self._pending) < MAX_FETCHES // 2
            and slice_.digest not in self._pending
            and slice_.digest not in self._verified
            and time.monotonic() >= self._paused_until
        ):
            self._begin(slice_, origin)

    def holds(self, slice_: Slice) -> bool:
        """Whether a slice is cached and verified."""
        fd = self._open(slice_)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def close(self) -> None:
        """Cancel what is being fetched."""
        for task in self._tasks:
            task.cancel()

    def _open(self, slice_: Slice) -> int | None:
        """Open a slice if it was verified before, else return None. Raises CacheUnavailable."""
        known = self._verified.get(slice_.digest)
        if known is None:
            return None
        try:
            opened = self._files.open(slice_)
        except OSError as error:
            self._pause(error)
            raise CacheUnavailable from None
        if opened is not None:
            fd, identity = opened
            if identity == known:
                self._verified.move_to_end(slice_.digest)
                return fd
            os.close(fd)
        del self._verified[slice_.digest]
        return None

    def _find(self, slice_: Slice) -> FileIdentity | None:
        """Look for a slice and verify it; remove it if it is damaged. Blocks."""
        if not self._is_prepared:
            self._files.prepare()
            self._is_prepared = True
        opened = self._files.open(slice_)
        if opened is None:
            return None
        fd, identity = opened
        try:
            if self._files.verify(fd, slice_):
                return identity
        finally:
            os.close(fd)
        self._damaged += 1
        _log.warning("a slice in the cache at %s is damaged and removed: %s", self._path, slice_.digest)
        if self._files.remove(slice_):
            self._budget.release(slice_.cost)
        return None

    # Fetching.

    def _begin(self, slice_: Slice, origin: ObjectBlob) -> PendingSlice:
        if time.monotonic() < self._paused_until:
            self._count(CACHE_BYPASSED, 1)
            raise CacheUnavailable
        pending = self._pending[slice_.digest] = PendingSlice(slice_)
        task = asyncio.get_running_loop().create_task(self._run(pending, origin.acquire()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pending

    async def _run(self, pending: PendingSlice, origin: ObjectBlob) -> None:
        """Fetch a slice, and report the result to the requests that wait for it."""
        failure: Exception | None = CacheUnavailable()
        try:
            await self._fetcher.run(pending, origin)
            failure = None
        except StorageError as error:
            failure = error
        except CacheUnavailable:
            self._count(CACHE_BYPASSED, 1)
        except OSError as error:
            self._pause(error)
        except Exception:
            _log.exception("an unexpected error in the cache")
        finally:
            origin.release()
            del self._pending[pending.slice.digest]
            if pending.identity is not None:
                self._remember(pending.slice, pending.identity)
            pending.end(failure)
            damaged, self._damaged = self._damaged, 0
            if damaged:
                self._count(CACHE_DAMAGED, damaged)

    def _remember(self, slice_: Slice, identity: FileIdentity) -> None:
        verified = self._verified
        verified[slice_.digest] = identity
        verified.move_to_end(slice_.digest)
        if len(verified) > VERIFIED_SLICES:
            verified.popitem(last=False)

    def _pause(self, error: OSError) -> None:
        """Begin no fetch for PAUSE_SECONDS, because the cache failed."""
        now = time.monotonic()
        self._count(CACHE_FAILURES, 1)
        self._is_prepared = False
        self._paused_until = now + PAUSE_SECONDS
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            _log.warning(
                "the cache at %s fails, objects are read from their storages meanwhile: %s",
                self._path,
                advise(error),
            )

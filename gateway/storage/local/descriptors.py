"""The files that a worker keeps open between requests."""

from __future__ import annotations

import threading
from collections import OrderedDict

from gateway.storage.local.blob import LocalBlob, close

CacheKey = tuple[str, str, int, str]
"""Storage, key, size and SHA-256. So a file published again under the same path is another entry."""


class DescriptorCache:
    """Open files, kept for the next request: at most `limit`; the least recently used ones are evicted first.

    All folders of a process share one. A file that is evicted while it is in use stays open, and does not
    count towards the limit. Any thread may use it; `lock` also guards the counts of the blobs.
    """

    def __init__(self, limit: int) -> None:
        self.lock = threading.Lock()
        self._limit = limit
        self._blobs: OrderedDict[CacheKey, LocalBlob] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blobs)

    def take(self, key: CacheKey) -> LocalBlob | None:
        """Acquire and return the blob of this key, or None."""
        with self.lock:
            blob = self._blobs.get(key)
            if blob is not None:
                self._blobs.move_to_end(key)
                blob.users += 1
            return blob

    def keep(self, key: CacheKey, blob: LocalBlob) -> LocalBlob:
        """Cache a blob that the caller has just opened; return the blob to use in its place.

        If two threads opened the same file, that is the blob of the first, acquired, and the second is
        closed.
        """
        unused = []
        with self.lock:
            known = self._blobs.get(key)
            if known is not None and known.identity == blob.identity:
                known.users += 1
                blob.users -= 1
                unused.append(blob.take_unused())
                blob = known
            else:
                if known is not None:
                    unused.append(known.mark_cached(False))
                self._blobs[key] = blob
                blob.mark_cached(True)
            self._blobs.move_to_end(key)
            while len(self._blobs) > self._limit:
                unused.append(self._blobs.popitem(last=False)[1].mark_cached(False))
        for fd in unused:
            close(fd)
        return blob

    def drop(self, key: CacheKey, blob: LocalBlob) -> None:
        """Remove this blob, if it is the one cached under `key`."""
        unused = -1
        with self.lock:
            if self._blobs.get(key) is blob:
                del self._blobs[key]
                unused = blob.mark_cached(False)
        close(unused)

    def shrink(self) -> None:
        """Remove the older half, because this process has run out of descriptors."""
        self._remove_oldest((len(self._blobs) + 1) // 2)

    def clear(self) -> None:
        """Remove all; those that nobody uses are closed."""
        self._remove_oldest(len(self._blobs))

    def _remove_oldest(self, count: int) -> None:
        with self.lock:
            count = min(count, len(self._blobs))
            unused = [self._blobs.popitem(last=False)[1].mark_cached(False) for _ in range(count)]
        for fd in unused:
            close(fd)

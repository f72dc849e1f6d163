"""The descriptors a worker keeps open between requests."""

from __future__ import annotations

import threading
from collections import OrderedDict

from gateway.storage.local.blob import LocalBlob, close

CacheKey = tuple[str, str, int, int]
"""Storage, key, size and modification time: a file published again under the same path is another entry."""


class DescriptorCache:
    """The open files a worker keeps for the next request: at most `limit`, least recently used out first.

    One is shared by all storages. Files in use are beyond the limit once they are evicted.
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
        """Cache a blob just opened and held by the caller; returns the blob to use in its stead.

        When two threads opened the same file, that is the first one's, acquired, and the second is closed.
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
                    unused.append(known.mark_kept(False))
                self._blobs[key] = blob
                blob.mark_kept(True)
            self._blobs.move_to_end(key)
            while len(self._blobs) > self._limit:
                unused.append(self._blobs.popitem(last=False)[1].mark_kept(False))
        for fd in unused:
            close(fd)
        return blob

    def drop(self, key: CacheKey, blob: LocalBlob) -> None:
        """Forget this blob, if it is the one cached under `key`."""
        unused = -1
        with self.lock:
            if self._blobs.get(key) is blob:
                del self._blobs[key]
                unused = blob.mark_kept(False)
        close(unused)

    def shrink(self) -> None:
        """Forget the older half: this process has run out of descriptors."""
        self._forget((len(self._blobs) + 1) // 2)

    def clear(self) -> None:
        """Forget all; what nobody holds is closed."""
        self._forget(len(self._blobs))

    def _forget(self, count: int) -> None:
        with self.lock:
            count = min(count, len(self._blobs))
            unused = [self._blobs.popitem(last=False)[1].mark_kept(False) for _ in range(count)]
        for fd in unused:
            close(fd)

"""A bucket of Google's or a container of Azure's as a storage: what a worker serves from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_REQUESTS
from gateway.storage.object_storage import ObjectStorage, describe_object
from gateway.storage.obstore.object import CloudObject
from gateway.storage.obstore.stream import CloudStream

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class CloudStorage(ObjectStorage):
    """The objects in a store of obstore. Implements `Storage`; its blobs are for one event loop.

    It never redirects clients: the URLs that obstore signs cannot set the fields of the response.
    """

    def __init__(self, name: str, store: ObjectStore, prefix: str, count: Callable[[int, int], None]) -> None:
        """prefix: of all keys, from the settings. count: adds to a counter of this process."""
        super().__init__(name, count)
        self._store = store
        self._prefix = prefix

    async def begin(self, file: ManifestFile, start: int, stop: int) -> CloudStream:
        """See `ObjectStorage`."""
        stream = CloudStream(self._object(file), start, stop, self.count)
        await stream.begin()
        return stream

    async def head(self, file: ManifestFile) -> None:
        """See `ObjectStorage`."""
        self.count(UPSTREAM_REQUESTS, 1)
        await self._object(file).head()

    def _object(self, file: ManifestFile) -> CloudObject:
        return CloudObject(self._store, self._prefix + file.key, file, describe_object(self.name, file.key))

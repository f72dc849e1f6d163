"""A bucket as a storage: streams over connections of our own, and URLs that clients may be sent to."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.manifest import ManifestFile
from gateway.storage.object_storage import ObjectStorage
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.client import Client
from gateway.storage.s3.stream import S3Stream


class S3Storage(ObjectStorage):
    """The objects of one bucket. Implements `Storage`; its blobs are for one event loop."""

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        """count: adds to a counter of this process."""
        super().__init__(bucket.name, count)
        self.redirects = bucket.redirect
        self._client = Client(bucket, count)

    async def begin(self, file: ManifestFile, start: int, stop: int) -> S3Stream:
        """See `ObjectStorage`."""
        stream = S3Stream(self._client, file, start, stop)
        await stream.begin()
        return stream

    async def head(self, file: ManifestFile) -> None:
        """See `ObjectStorage`."""
        await self._client.head(file)

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:
        """Return a presigned URL; None while there are no keys in memory. See `Storage`."""
        return self._client.presigned(file, media_type, disposition, int(time.time()))

    def close(self) -> None:
        """Close the idle connections now, and the others when they are given back."""
        self._client.pool.close()

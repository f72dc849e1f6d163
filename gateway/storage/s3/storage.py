"""A bucket as a storage: streams over connections of our own, and URLs that clients may be sent to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts
from gateway.storage.object_storage import ObjectStorage, describe_object
from gateway.storage.published import is_strong
from gateway.storage.retries import RetryBudget
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.client import Client
from gateway.storage.s3.describing import UNVERSIONED, describe
from gateway.storage.s3.listing import PAGE_KEYS, Page, page_parameters, parse_page
from gateway.storage.s3.responses import PermanentError
from gateway.storage.s3.stream import S3Stream

T = TypeVar("T")


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

    async def ask(self, file: ManifestFile) -> None:
        """See `ObjectStorage`."""
        await self._client.check(file)

    def older(self, file: ManifestFile) -> ManifestFile | None:
        """Return the entry of the version named null: S3 keeps under it what has no version of its own.

        Source: Amazon S3 User Guide, "Working with objects in a versioning-enabled bucket". None without a
        strong ETag, by which the object is known to be the published one.
        """
        if file.version_id or not is_strong(file.etag):
            return None
        return replace(file, version_id=UNVERSIONED)

    async def describe(self, key: str) -> ObjectFacts:
        """See `ObjectStorage`."""
        subject = describe_object(self.name, key)
        try:
            return await self._retried(subject, lambda: describe(self._client, key))
        except PermanentError as error:
            raise self._client.failed(key, error) from None

    async def check_root(self) -> str:
        """See `ObjectStorage`."""
        try:
            await self._page("", "", 1)
        except PermanentError as error:
            if error.code in ("AccessDenied", "AllAccessDisabled"):
                return "its keys may not list it, so folders cannot be published (s3:ListBucket)"
            raise self._root_failed(error) from None
        return ""

    async def pages(self, folder: str) -> AsyncIterator[list[str]]:
        """See `ObjectStorage`."""
        following = ""
        while True:
            try:
                page, following = await self._page(folder, following)
            except PermanentError as error:
                raise self._root_failed(error) from None
            prefix = self._client.bucket.prefix
            yield [key.removeprefix(prefix) for key in page if not key.endswith("/")]
            if not following:
                return

    async def _page(self, folder: str, following: str, most: int = PAGE_KEYS) -> Page:
        parameters = page_parameters(self._client.bucket.prefix + folder, following, most)
        body = await self._retried(self._root, lambda: self._client.list_page(parameters))
        try:
            return parse_page(body)
        except ValueError as error:
            raise PermanentError(f"sends a list of its keys that cannot be read ({error})") from None

    async def _retried(self, subject: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await RetryBudget(subject, self.count).run(attempt)

    @property
    def _root(self) -> str:
        bucket = self._client.bucket
        return f"storage {self.name}: s3://{bucket.bucket}/{bucket.prefix}"

    def _root_failed(self, error: PermanentError) -> StorageError:
        return StorageError(f"{self._root} {error}")

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> str | None:
        """Return a presigned URL; None while there are no keys in memory. See `Storage`."""
        return self._client.presigned(self.current(file), media_type, disposition, int(time.time()))

    def close(self) -> None:
        """Close the idle connections now, and the others when they are given back."""
        self._client.pool.close()

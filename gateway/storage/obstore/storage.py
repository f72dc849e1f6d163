"""A bucket of Google's or a container of Azure's as a storage: workers serve from it, commands publish."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import obstore

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_REQUESTS
from gateway.storage.catalog import ObjectFacts
from gateway.storage.object_storage import ObjectStorage, describe_object
from gateway.storage.obstore.errors import OBSTORE_ERRORS, gives_no_range, status_of, translate
from gateway.storage.obstore.object import CloudObject
from gateway.storage.obstore.stream import CloudStream
from gateway.storage.retries import RetryBudget, TransientError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

PAGE: Final = 1000
_DIGESTS: Final = {"sha256": re.compile(r"[0-9a-f]{64}"), "crc32": re.compile(r"[0-9a-f]{8}")}
_NOT_SATISFIABLE: Final = 416

T = TypeVar("T")


class CloudStorage(ObjectStorage):
    """The objects in a store of obstore. Implements `Storage`; its blobs are for one event loop.

    It never redirects clients: the URLs that obstore signs cannot set the fields of the response.
    """

    def __init__(
        self, name: str, store: ObjectStore, prefix: str, count: Callable[[int, int], None], root: str = ""
    ) -> None:
        """prefix: of all keys, from the settings. count: adds to a counter. root: as in `Catalog`."""
        super().__init__(name, count)
        self._store = store
        self._prefix = prefix
        self._root = f"storage {name}: {root}"

    async def begin(self, file: ManifestFile, start: int, stop: int) -> CloudStream:
        """See `ObjectStorage`."""
        stream = CloudStream(self._object(file), start, stop, self.count)
        await stream.begin()
        return stream

    async def ask(self, file: ManifestFile) -> None:
        """See `ObjectStorage`."""
        self.count(UPSTREAM_REQUESTS, 1)
        await self._object(file).ask()

    async def describe(self, key: str) -> ObjectFacts:
        """See `ObjectStorage`. The digests are those that an uploader left in the object's metadata."""
        result = await self._retried(describe_object(self.name, key), lambda: self._describe(key))
        meta = result.meta
        own = {str(name).lower(): str(text).strip() for name, text in result.attributes.items()}
        found = {name: own.get(name, "").lower() for name in _DIGESTS}
        return ObjectFacts(
            key=key,
            size=meta["size"],
            modified=int(meta["last_modified"].timestamp()) * 10**9,
            etag=meta["e_tag"] or "",
            version_id=meta["version"] or "",
            encoding=own.get("content-encoding", ""),
            **{name: text if _DIGESTS[name].fullmatch(text) else "" for name, text in found.items()},
        )

    async def _describe(self, key: str) -> GetResult:
        """Ask for the first byte. An empty object has none, and storages say so in many ways: HEAD tells."""
        subject = describe_object(self.name, key)
        try:
            return await self._get(key, {"range": (0, 1)})
        except OBSTORE_ERRORS as error:
            failure = translate(error, subject)
            if not gives_no_range(error):
                raise failure from None
            if status_of(error) == _NOT_SATISFIABLE:
                failure = StorageError(f"{subject} cannot be read in ranges: the storage answers 416")
        try:
            result = await self._get(key, {"head": True})
        except OBSTORE_ERRORS as error:
            unknown = translate(error, subject)
            raise (unknown if isinstance(unknown, TransientError) else failure) from None
        if result.meta["size"]:
            raise failure
        return result

    async def _get(self, key: str, options: GetOptions) -> GetResult:
        self.count(UPSTREAM_REQUESTS, 1)
        return await obstore.get_async(self._store, self._prefix + key, options=options)

    async def check_root(self) -> str:
        """See `ObjectStorage`."""
        await self._retried(self._root, self._first_page)
        return ""

    async def pages(self, folder: str) -> AsyncIterator[list[str]]:
        """See `ObjectStorage`.

        obstore removes the final "/" from the key of an object that stands for a folder, so no object has the
        key that obstore lists.
        """
        budget = RetryBudget(self._root, self.count)
        last = ""
        while True:
            try:
                async for page in obstore.list(
                    self._store, prefix=self._prefix + folder, offset=last or None, chunk_size=PAGE
                ):
                    budget.tries = 0
                    last = page[-1]["path"]
                    keys = [(meta["path"].removeprefix(self._prefix), meta["size"]) for meta in page]
                    yield [key for key, size in keys if size or await self._exists(key)]
            except OBSTORE_ERRORS as error:
                ours = translate(error, self._root)
                if not isinstance(ours, TransientError):
                    raise ours from None
                await budget.spend(ours)
            else:
                return

    async def _first_page(self) -> None:
        try:
            async for _ in obstore.list(self._store, prefix=self._prefix, chunk_size=1):
                return
        except OBSTORE_ERRORS as error:
            raise translate(error, self._root) from None

    async def _exists(self, key: str) -> bool:
        try:
            await obstore.head_async(self._store, self._prefix + key)
        except FileNotFoundError:
            return False
        except OBSTORE_ERRORS as error:
            raise translate(error, describe_object(self.name, key)) from None
        return True

    async def _retried(self, subject: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await RetryBudget(subject, self.count).run(attempt)

    def _object(self, file: ManifestFile) -> CloudObject:
        return CloudObject(self._store, self._prefix + file.key, file, describe_object(self.name, file.key))

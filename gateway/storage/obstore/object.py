"""Asks for one object through obstore, once: pinned to what was published, with the response checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import obstore

from gateway.errors import NotAsPublished, StorageError
from gateway.manifest import ManifestFile
from gateway.storage.obstore.errors import OBSTORE_ERRORS, translate
from gateway.storage.published import condition, difference

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore import BytesStream, GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

CHUNK_BYTES: Final = 128 * 1024
"""The least that a chunk has. It has up to 400 KiB more: as much as obstore's HTTP client reads at once."""


def pin_options(file: ManifestFile) -> GetOptions:
    """Return the options that make a request fail where an object is no longer the published one."""
    options: GetOptions = {}
    if tag := condition(file.etag):
        options["if_match"] = tag
    if file.version_id:
        options["version"] = file.version_id
    return options


def check_description(meta: ObjectMeta, file: ManifestFile, subject: str) -> None:
    """Raise StorageError unless a response is about the very object that was published.

    subject: the object, as errors name it.
    """
    if meta["size"] != file.size:
        raise NotAsPublished(
            f"{subject} has changed since it was published: {meta['size']} bytes, not {file.size}",
            differs=True,
        )
    modified = int(meta["last_modified"].timestamp())
    found = difference(file, meta["e_tag"] or "", meta["version"] or "", modified)
    if found is None:
        return
    text = f"{subject} {found.text}"
    raise NotAsPublished(text, differs=True) if found.changed else StorageError(text)


class CloudObject:
    """A manifest's file in a store of obstore. Its coroutines are for one event loop."""

    __slots__ = ("_file", "_path", "_store", "subject")

    def __init__(self, store: ObjectStore, path: str, file: ManifestFile, subject: str) -> None:
        """path: the key in the store, prefix included. subject: the object, as errors name it."""
        self._store = store
        self._path = path
        self._file = file
        self.subject = subject

    async def get(self, start: int, stop: int) -> BytesStream:
        """Ask for a span that is not empty.

        Raises TransientError when it is worth asking again, else StorageError. obstore itself refuses a
        response with another range, or without one.
        """
        result = await self._ask({**pin_options(self._file), "range": (start, stop)})
        check_description(result.meta, self._file, self.subject)
        return result.stream(min_chunk_size=CHUNK_BYTES)

    async def ask(self) -> None:
        """Ask whether it is as it was published, by a range of one byte. Raises as `get` does."""
        span: GetOptions = {"range": (0, 1)} if self._file.size else {"head": True}
        result = await self._ask({**pin_options(self._file), **span})
        check_description(result.meta, self._file, self.subject)

    async def _ask(self, options: GetOptions) -> GetResult:
        try:
            return await obstore.get_async(self._store, self._path, options=options)
        except OBSTORE_ERRORS as error:
            raise translate(error, self.subject, versioned=bool(self._file.version_id)) from None

"""One object asked for through obstore, pinned to what was published, and the answer judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import obstore

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.obstore.faults import FAULTS, judge

if TYPE_CHECKING:  # these names are not there at run time
    from obstore import BytesStream, GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

CHUNK_BYTES: Final = 128 * 1024
"""What a chunk has at least; it has up to 400 KiB more, as much as obstore's HTTP client reads at once."""
_NANOSECONDS: Final = 1_000_000_000


def pins(file: ManifestFile) -> GetOptions:
    """What makes a request fail, or name the version, where an object is not the published one any more."""
    options: GetOptions = {}
    if _is_strong(file.etag):
        options["if_match"] = file.etag
    if file.version_id:
        options["version"] = file.version_id
    return options


def judge_facts(meta: ObjectMeta, file: ManifestFile, subject: str) -> None:
    """Raise StorageError unless an answer is about the very object that was published."""
    how = ""
    if meta["size"] != file.size:
        how = f"{meta['size']} bytes, not {file.size}"
    elif _is_strong(file.etag):
        if meta["e_tag"] != file.etag:
            how = f"ETag {(meta['e_tag'] or 'none')[:80]}, not {file.etag}"
    elif file.version_id:
        if meta["version"] not in (None, file.version_id):
            how = "another version"
    elif int(meta["last_modified"].timestamp()) != file.modified // _NANOSECONDS:
        how = "another modification time"
    if how:
        raise StorageError(f"{subject} has changed since it was published: {how}")


def _is_strong(tag: str) -> bool:
    """Whether an entity tag stands for the very bytes (RFC 9110 section 8.8.3)."""
    return bool(tag) and not tag.startswith("W/")


class CloudObject:
    """A manifest's file in a store, at `path` there. Its coroutines are for one event loop."""

    __slots__ = ("_file", "_path", "_store", "subject")

    def __init__(self, store: ObjectStore, path: str, file: ManifestFile, subject: str) -> None:
        """subject: what errors call it."""
        self._store = store
        self._path = path
        self._file = file
        self.subject = subject

    async def get(self, start: int, stop: int) -> BytesStream:
        """Ask for a span that has bytes. Raises TransientError when it is worth a retry, else StorageError.

        obstore itself refuses an answer of another range, or of none.
        """
        result = await self._ask({**pins(self._file), "range": (start, stop)})
        judge_facts(result.meta, self._file, self.subject)
        return result.stream(min_chunk_size=CHUNK_BYTES)

    async def head(self) -> None:
        """Ask whether it is as it was published. Raises as `get` does."""
        result = await self._ask({**pins(self._file), "head": True})
        judge_facts(result.meta, self._file, self.subject)

    async def _ask(self, options: GetOptions) -> GetResult:
        try:
            return await obstore.get_async(self._store, self._path, options=options)
        except FAULTS as error:
            raise judge(error, self.subject) from None

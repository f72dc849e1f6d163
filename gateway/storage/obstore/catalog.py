"""Looking into a bucket or container through obstore: what publishing and `check` ask, in threads.

Here obstore repeats and resumes requests by itself (COMMAND_RETRIES). Entity tags are taken from an answer
about the object itself: in listings Azure leaves their quotes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import obstore

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts
from gateway.storage.obstore.faults import FAULTS, judge
from gateway.storage.obstore.object import judge_facts, pins

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

PAGE: Final = 1000
READ_BYTES: Final = 1 << 20
_DIGESTS: Final = {"sha256": re.compile(r"[0-9a-f]{64}"), "crc32": re.compile(r"[0-9a-f]{8}")}


class CloudCatalog:
    """Implements `Catalog` over any of obstore's stores. root as there; prefix as in the settings."""

    def __init__(self, name: str, make_store: Callable[[], ObjectStore], prefix: str, root: str) -> None:
        self.name = name
        self.root = root
        self._make_store = make_store
        self._prefix = prefix

    @cached_property
    def _store(self) -> ObjectStore:
        """Made when something is asked: faulty credentials are no fault of who asks another storage."""
        return self._make_store()

    def check_root(self) -> str:
        """Ask for the first key, which tells about credentials and bucket at once."""
        for _ in self._pages("", 1):
            break
        return ""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object by HEAD, with the digests that an uploader left in its metadata."""
        result = self._get(key, {"head": True})
        meta = result.meta
        own = {str(name).lower(): str(text).strip().lower() for name, text in result.attributes.items()}
        found = {name: own.get(name, "") for name in _DIGESTS}
        return ObjectFacts(
            key=key,
            size=meta["size"],
            modified=int(meta["last_modified"].timestamp()) * 10**9,
            etag=meta["e_tag"] or "",
            version_id=meta["version"] or "",
            **{name: text if _DIGESTS[name].fullmatch(text) else "" for name, text in found.items()},
        )

    def check(self, file: ManifestFile) -> None:
        """Ask for the published version or ETag by HEAD."""
        result = self._get(file.key, {**pins(file), "head": True})
        judge_facts(result.meta, file, self._describe(file.key))

    def list(self, folder: str) -> Iterator[str]:
        """Keys below the folder, without the empty objects that stand for folders.

        obstore takes the final "/" from such an object's key, and then there is no object of that name.
        """
        for page in self._pages(folder, PAGE):
            for meta in page:
                key = meta["path"].removeprefix(self._prefix)
                if meta["size"] or self._exists(key):
                    yield key

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read what was described, to its last byte."""
        if not facts.size:
            return
        file = ManifestFile(
            "", facts.size, "", "", "", self.name, facts.key, facts.modified, facts.etag, facts.version_id
        )
        result = self._get(facts.key, pins(file))
        subject = self._describe(facts.key)
        judge_facts(result.meta, file, subject)
        at = 0
        try:
            for chunk in result.stream(min_chunk_size=READ_BYTES):
                at += len(chunk)
                yield chunk
        except FAULTS as error:
            raise StorageError(f"{subject} could not be read to its end: {judge(error, subject)}") from None
        if at != facts.size:
            raise StorageError(f"{subject} ended after {at} bytes of {facts.size}")

    def _pages(self, folder: str, most: int) -> Iterator[Sequence[ObjectMeta]]:
        try:
            yield from obstore.list(self._store, prefix=self._prefix + folder, chunk_size=most)
        except FAULTS as error:
            raise self._translate(error, f"storage {self.name}: {self.root}") from None

    def _exists(self, key: str) -> bool:
        try:
            obstore.head(self._store, self._prefix + key)
        except FileNotFoundError:
            return False
        except FAULTS as error:
            raise self._translate(error, self._describe(key)) from None
        return True

    def _get(self, key: str, options: GetOptions) -> GetResult:
        try:
            return obstore.get(self._store, self._prefix + key, options=options)
        except FAULTS as error:
            raise self._translate(error, self._describe(key)) from None

    def _describe(self, key: str) -> str:
        return f"storage {self.name}: the object {key!r}"

    def _translate(self, error: Exception, subject: str) -> StorageError:
        judged = judge(error, subject)
        return (
            judged if isinstance(judged, StorageError) else StorageError(f"{subject} cannot be had: {judged}")
        )

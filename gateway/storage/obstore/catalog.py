"""Lists, describes and reads objects through obstore, in threads, for publishing and the command `check`.

Here obstore itself repeats and resumes requests (COMMAND_RETRIES). Entity tags are taken from a response
about the object itself, because Azure leaves out their quotes in listings.
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
from gateway.storage.object_storage import describe_object
from gateway.storage.obstore.errors import OBSTORE_ERRORS, translate
from gateway.storage.obstore.object import check_description, pin_options
from gateway.storage.rules import HIDDEN, refuse_key

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

PAGE: Final = 1000
READ_BYTES: Final = 1 << 20
_DIGESTS: Final = {"sha256": re.compile(r"[0-9a-f]{64}"), "crc32": re.compile(r"[0-9a-f]{8}")}


class CloudCatalog:
    """Implements `Catalog` for any store of obstore. root: as in `Catalog`; prefix: as in the settings."""

    def __init__(self, name: str, make_store: Callable[[], ObjectStore], prefix: str, root: str) -> None:
        self.name = name
        self.root = root
        self._make_store = make_store
        self._prefix = prefix

    @cached_property
    def _store(self) -> ObjectStore:
        """Make the client at the first request: a command for another storage needs no credentials here."""
        return self._make_store()

    def check_root(self) -> str:
        """Ask for the first key, which shows at once whether credentials and bucket are right."""
        for _ in self._pages("", 1):
            break
        return ""

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object by HEAD, with the digests that an uploader left in its metadata.

        Raises StorageError for a hidden one.
        """
        if fault := refuse_key(key):
            raise StorageError(f"{describe_object(self.name, key)} {fault}")
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
        """Ask for the published version or ETag by HEAD. Raises StorageError for a hidden object."""
        if file.hidden:
            raise StorageError(f"{describe_object(self.name, file.key)} {HIDDEN}")
        result = self._get(file.key, {**pin_options(file), "head": True})
        check_description(result.meta, file, describe_object(self.name, file.key))

    def list(self, folder: str) -> Iterator[str]:
        """List the keys below the folder, without the empty objects that stand for folders.

        obstore removes the final "/" from the key of such an object, so no object has the key that obstore
        lists.
        """
        for page in self._pages(folder, PAGE):
            for meta in page:
                key = meta["path"].removeprefix(self._prefix)
                if meta["size"] or self._exists(key):
                    yield key

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read the object that was described, to its last byte."""
        if not facts.size:
            return
        file = ManifestFile(
            "", facts.size, "", "", "", self.name, facts.key, facts.modified, facts.etag, facts.version_id
        )
        result = self._get(facts.key, pin_options(file))
        subject = describe_object(self.name, facts.key)
        check_description(result.meta, file, subject)
        at = 0
        try:
            for chunk in result.stream(min_chunk_size=READ_BYTES):
                at += len(chunk)
                yield chunk
        except OBSTORE_ERRORS as error:
            raise StorageError(
                f"{subject} could not be read to its end: {translate(error, subject)}"
            ) from None
        if at != facts.size:
            raise StorageError(f"{subject} ended after {at} bytes of {facts.size}")

    def _pages(self, folder: str, most: int) -> Iterator[Sequence[ObjectMeta]]:
        try:
            yield from obstore.list(self._store, prefix=self._prefix + folder, chunk_size=most)
        except OBSTORE_ERRORS as error:
            raise _failed(error, f"storage {self.name}: {self.root}") from None

    def _exists(self, key: str) -> bool:
        try:
            obstore.head(self._store, self._prefix + key)
        except FileNotFoundError:
            return False
        except OBSTORE_ERRORS as error:
            raise _failed(error, describe_object(self.name, key)) from None
        return True

    def _get(self, key: str, options: GetOptions) -> GetResult:
        try:
            return obstore.get(self._store, self._prefix + key, options=options)
        except OBSTORE_ERRORS as error:
            raise _failed(error, describe_object(self.name, key)) from None


def _failed(error: Exception, subject: str) -> StorageError:
    """Return the exception to raise. obstore has already repeated the request as often as it may."""
    ours = translate(error, subject)
    return ours if isinstance(ours, StorageError) else StorageError(f"{subject} cannot be read: {ours}")

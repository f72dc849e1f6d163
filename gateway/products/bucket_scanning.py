"""Objects to publish: which storage an address means, which objects are below a folder, what describes them.

An address is `s3://BUCKET/KEY`, or `s3://BUCKET/FOLDER/` for everything below a folder. No content is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.errors import StorageError
from gateway.manifest import composed
from gateway.products.validation import MAX_FILES
from gateway.storage.catalog import Catalog, ObjectFacts
from gateway.storage.registry import OBJECT_TYPES, Storages

PARALLEL_REQUESTS: Final = 32
"""Objects asked for at once. A HEAD request takes some 20 ms at AWS, so 10,000 objects take some 7 s."""
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ScannedObject:
    """An object to publish: its name for the customer, its storage and address, and what describes it."""

    name: str
    storage: str
    address: str
    facts: ObjectFacts

    @property
    def size(self) -> int:
        """In bytes."""
        return self.facts.size

    @property
    def modified(self) -> int:
        """In nanoseconds since 1970."""
        return self.facts.modified

    @property
    def in_bucket(self) -> bool:
        """Whether it is an object and not a file."""
        return True

    @property
    def has_digests(self) -> bool:
        """Whether the storage has SHA-256 and CRC-32 of the content."""
        return bool(self.facts.sha256 and self.facts.crc32)


class ObjectAddress(NamedTuple):
    """An object to publish, of which only name, storage and key are known yet."""

    name: str
    catalog: Catalog
    key: str

    @property
    def address(self) -> str:
        """Its address, as users write it."""
        return self.catalog.root + self.key


def is_address(text: object) -> bool:
    """Whether this is an address of objects, and not a path."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


class ObjectFinder:
    """Finds objects in the storages of the settings, after checking that a storage can be reached."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._reached: set[str] = set()

    def find(self, address: str) -> list[ObjectAddress]:
        """Return the objects that an address means: one, or all below a folder. Raises StorageError."""
        found = self._storages.locate_object(address)
        if found is None:
            raise StorageError(_explain_no_storage(address, self._storages))
        catalog, key = found
        if catalog.name not in self._reached:
            catalog.check_root()
            self._reached.add(catalog.name)
        if key and not key.endswith("/"):
            return [ObjectAddress(composed(key.rpartition("/")[2]), catalog, key)]
        objects = []
        for each in catalog.list(key):
            objects.append(ObjectAddress(composed(each.removeprefix(key)), catalog, each))
            if len(objects) > MAX_FILES:
                raise StorageError(
                    f"{address} has more than {MAX_FILES} objects, which one version cannot hold"
                )
        return objects


Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Shows progress: it is called with the number of objects, and yields what to call after each."""


@contextmanager
def no_progress(_total: int) -> Iterator[Callable[[], None]]:
    """Show nothing."""
    yield lambda: None


def stat_objects(
    objects: Sequence[ObjectAddress], progress: Progress = no_progress
) -> list[ScannedObject | StorageError]:
    """Ask the storages to describe the objects, many at once. The result has the same order."""
    if not objects:
        return []
    found = []
    pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="stat")
    try:
        with progress(len(objects)) as advance:
            for each in pool.map(_stat_object, objects):
                found.append(each)
                advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _stat_object(address: ObjectAddress) -> ScannedObject | StorageError:
    try:
        facts = address.catalog.stat(address.key)
    except StorageError as error:
        return error
    return ScannedObject(address.name, address.catalog.name, address.address, facts)


def _explain_no_storage(address: str, storages: Storages) -> str:
    """Say why no storage has the address, and which table of the settings would have it."""
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    kind, rest = match.groups()
    bucket = rest.partition("/")[0]
    if kind not in OBJECT_TYPES or not bucket:
        known = " or ".join(f"{known}://BUCKET/KEY" for known in OBJECT_TYPES)
        return f"{address} is not an address of an object: write {known}"
    roots = [
        catalog.root for catalog in storages.catalogs() if catalog.root.startswith(f"{kind}://{bucket}/")
    ]
    if roots:
        return f"{address} is outside the storages of its bucket, which begin at {' and '.join(roots)}"
    name = re.sub(r"[^a-z0-9_-]+", "-", bucket.lower()).strip("-_") or "bucket"
    keys = f'account and container = "{bucket}"' if kind == "az" else f'bucket = "{bucket}"'
    return (
        f"{address} is in no storage of the settings: add the table [storage.{name}] with "
        f'type = "{kind}" and {keys} (docs/settings.md has its other keys)'
    )

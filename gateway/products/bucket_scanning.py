"""Objects to publish: which storage an address means, which objects lie below a folder, and their facts.

An address is `s3://BUCKET/KEY`, or `s3://BUCKET/FOLDER/` for everything below. Looks, and reads no content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.errors import StorageError
from gateway.products.validation import MAX_FILES
from gateway.storage.catalog import Catalog, ObjectFacts
from gateway.storage.registry import OBJECT_TYPES, Storages

LOOKERS: Final = 32
"""Objects looked at at once: a HEAD takes some 20 ms at AWS, so 10,000 objects take some 7 s."""
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ScannedObject:
    """An object to publish: its name for the customer, and where and what it is."""

    name: str
    storage: str
    address: str
    facts: ObjectFacts

    @property
    def size(self) -> int:
        """Bytes."""
        return self.facts.size

    @property
    def modified(self) -> int:
        """Nanoseconds since 1970."""
        return self.facts.modified

    @property
    def has_digests(self) -> bool:
        """Whether the storage knows SHA-256 and CRC-32 of the content."""
        return bool(self.facts.sha256 and self.facts.crc32)


class ObjectAddress(NamedTuple):
    """An object that shall be published, not looked at yet."""

    name: str
    catalog: Catalog
    key: str

    @property
    def address(self) -> str:
        """What the user would call it."""
        return self.catalog.root + self.key


def is_address(text: object) -> bool:
    """Whether it is the address of objects and no path."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


class Finder:
    """Finds objects in the storages of the settings; asks each storage once whether it can be reached."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._reached: set[str] = set()

    def find(self, address: str) -> list[ObjectAddress]:
        """List the objects that an address means: one, or all below a folder. Raises StorageError."""
        found = self._storages.locate_object(address)
        if found is None:
            raise StorageError(_mend(address, self._storages))
        catalog, key = found
        if catalog.name not in self._reached:
            catalog.check_root()
            self._reached.add(catalog.name)
        if key and not key.endswith("/"):
            return [ObjectAddress(key.rpartition("/")[2], catalog, key)]
        wanted = []
        for each in catalog.list(key):
            wanted.append(ObjectAddress(each.removeprefix(key), catalog, each))
            if len(wanted) > MAX_FILES:
                raise StorageError(
                    f"{address} has more than {MAX_FILES} objects, which one version cannot hold"
                )
        return wanted


Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Told how many objects there are; yields what to call after each."""


@contextmanager
def no_progress(_total: int) -> Iterator[Callable[[], None]]:
    """Show nothing."""
    yield lambda: None


def look_at(
    wanted: Sequence[ObjectAddress], progress: Progress = no_progress
) -> list[ScannedObject | StorageError]:
    """Ask for the facts of every object, many at once; in the same order. Stops when interrupted."""
    if not wanted:
        return []
    found = []
    pool = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
    try:
        with progress(len(wanted)) as advance:
            for each in pool.map(_look, wanted):
                found.append(each)
                advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _look(wanted: ObjectAddress) -> ScannedObject | StorageError:
    try:
        facts = wanted.catalog.stat(wanted.key)
    except StorageError as error:
        return error
    return ScannedObject(wanted.name, wanted.catalog.name, wanted.address, facts)


def _mend(address: str, storages: Storages) -> str:
    """Why no storage has the address, and the table that would."""
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    kind, rest = match.groups()
    bucket = rest.partition("/")[0]
    if kind not in OBJECT_TYPES or not bucket:
        known = " or ".join(f"{known}://BUCKET/KEY" for known in OBJECT_TYPES)
        return f"{address} is no address of an object: write {known}"
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

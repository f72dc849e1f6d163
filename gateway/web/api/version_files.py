"""The files of a version about to be registered, compared with what the storages hold.

The storage decides: size and time must agree with what it says, and an object's ETag and version come only
from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.products.bucket_scanning import PARALLEL_REQUESTS
from gateway.products.validation import Fault
from gateway.storage.catalog import ObjectFacts
from gateway.storage.registry import Storages
from gateway.web.api.models import DEFAULT_TYPE, NewFile


def check_files(files: Sequence[NewFile], storages: Storages) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    """Make the manifest's files, and list everything in which the storages disagree. Blocks: use a thread."""
    pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="check-file")
    try:
        checked = list(pool.map(_check_file, range(len(files)), files, repeat(storages)))
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(file for file, _ in checked), [fault for _, faults in checked for fault in faults]


def _check_file(index: int, new: NewFile, storages: Storages) -> tuple[ManifestFile, list[Fault]]:
    faults: list[Fault] = []
    facts = ObjectFacts(new.key, new.size, new.modified or 0, etag="")
    try:
        facts = _read_facts(new, storages)
    except _UnknownStorageError:
        faults.append((f"files[{index}].storage", "is not a storage of this service"))
    except StorageError as error:
        faults.append((f"files[{index}].key", f"cannot be served: {error}"))
    else:
        if facts.size != new.size:
            faults.append((f"files[{index}].size", f"is not the {facts.size} bytes that the storage holds"))
        if new.modified not in (None, facts.modified):
            faults.append((f"files[{index}].modified", f"is not what the storage says: {facts.modified}"))
    file = ManifestFile(
        new.name,
        new.size,
        new.type or DEFAULT_TYPE,
        new.sha256,
        new.crc32,
        new.storage,
        new.key,
        facts.modified,
        facts.etag,
        facts.version_id,
    )
    return file, faults


class _UnknownStorageError(Exception):
    """The settings and the registry have no storage of that name."""


def _read_facts(new: NewFile, storages: Storages) -> ObjectFacts:
    """Ask the file's storage, a folder or a bucket, about it. Raises _UnknownStorageError, StorageError."""
    catalog = storages.catalog(new.storage)
    if catalog is not None:
        return catalog.stat(new.key)
    try:
        storage = storages.local(new.storage)
    except StorageError:
        raise _UnknownStorageError from None
    size, modified = storage.stat(new.key)
    return ObjectFacts(new.key, size, modified, etag="")

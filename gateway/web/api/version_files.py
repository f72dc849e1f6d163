"""The files of a version about to be registered: the rules, what the storages hold, and their digests.

The storage decides: size and time must agree with what it says, and an object's ETag and version come only
from it. The rules are those of the commands, because the same objects apply them (`gateway.storage.rules`, at
each opening). Digests are computed here, in threads, unless the caller asks by name that its own are trusted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import StorageError
from gateway.manifest import Manifest, ManifestFile
from gateway.products.bucket_scanning import PARALLEL_REQUESTS, ScannedObject
from gateway.products.hashing import EarlierFiles, Hasher, HashingFailed, Report, run_jobs
from gateway.products.scanning import ScannedFile
from gateway.products.validation import Fault, manifest_faults
from gateway.storage.catalog import ObjectFacts
from gateway.storage.registry import ObjectLocation, Storages
from gateway.web.api.models import DEFAULT_TYPE, NewFile, RegisterVersion

READERS: Final = 2
"""Files read at once for a request. The machine has downloads to serve besides."""


class _Checked(NamedTuple):
    """A file, and all in which the storage disagrees.

    facts: what the storage says, None if it says nothing.
    """

    new: NewFile
    facts: ObjectFacts | None
    faults: list[Fault]


def describe_files(
    files: Sequence[NewFile],
    storages: Storages,
    *,
    trust: bool,
    known: Sequence[Manifest] = (),
    is_stopped: Callable[[], bool] = lambda: False,
    report: Report = lambda _: None,
) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    """Make the manifest's files, or list what is wrong with them. Blocks for as long as reading takes.

    trust: take the digests of the request. known: manifests whose digests were computed by us; files that
    have not changed since are not read again. is_stopped: whether the service stops. Raises `hashing.Stopped`
    then. report: called from threads with the bytes that were read since the last call.
    """
    checked = _check_files(files, storages, trust)
    faults = [fault for each in checked for fault in each.faults]
    if faults:
        return (), faults
    if trust:
        return tuple(_entry(each.new, each.facts) for each in checked if each.facts), []
    return _read_files(checked, storages, known, is_stopped, report)


def declaration_faults(product: str, new: RegisterVersion) -> list[Fault]:
    """What is wrong with a request by itself, before any storage is asked."""
    facts = [ObjectFacts(file.key, file.size, file.modified or 0, etag="") for file in new.files]
    entries = [
        replace(_entry(file, each), sha256=file.sha256 or "0" * 64, crc32=file.crc32 or "0" * 8)
        for file, each in zip(new.files, facts, strict=True)
    ]
    return manifest_faults(Manifest(product, new.version, tuple(entries)))


def _check_files(files: Sequence[NewFile], storages: Storages, trust: bool) -> list[_Checked]:
    pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="check-file")
    try:
        return list(pool.map(_check_file, range(len(files)), files, repeat(storages), repeat(trust)))
    finally:
        pool.shutdown(cancel_futures=True)


def _check_file(index: int, new: NewFile, storages: Storages, trust: bool) -> _Checked:
    faults: list[Fault] = []
    facts = None
    try:
        facts = _read_facts(new, storages)
    except _StorageRefused as error:
        faults.append((f"files[{index}].storage", str(error)))
    except StorageError as error:
        faults.append((f"files[{index}].key", f"cannot be served: {error}"))
    else:
        if facts.size != new.size:
            faults.append((f"files[{index}].size", f"is not the {facts.size} bytes that the storage holds"))
        if new.modified not in (None, facts.modified):
            faults.append((f"files[{index}].modified", f"is not what the storage says: {facts.modified}"))
    for field in ("sha256", "crc32"):
        given = getattr(new, field)
        stored = getattr(facts, field, "")
        if trust and given is None:
            faults.append((f"files[{index}].{field}", "is required with trust"))
        elif given is not None and stored not in ("", given):
            faults.append((f"files[{index}].{field}", f"is not what the storage says: {stored}"))
    return _Checked(new, facts, faults)


class _StorageRefused(Exception):
    """Nothing can be registered from the storage of that name. The text follows its name."""


def _read_facts(new: NewFile, storages: Storages) -> ObjectFacts:
    """Ask the file's storage, a folder or a bucket, about it. Raises _StorageRefused, StorageError."""
    catalog = storages.catalog(new.storage)
    if catalog is not None:
        return catalog.stat(new.key)
    try:
        storage = storages.local(new.storage)
    except StorageError:
        raise _StorageRefused("is not a storage of this service") from None
    if not storage.takes_new:
        raise _StorageRefused(
            "was registered by an earlier version, and nothing new is published from it: publish its folder "
            "once more with `download-gateway product add`, or configure it as a storage"
        )
    size, modified = storage.stat(new.key)
    return ObjectFacts(new.key, size, modified, etag="")


def _entry(new: NewFile, facts: ObjectFacts) -> ManifestFile:
    return ManifestFile(
        new.name,
        facts.size,
        new.type or DEFAULT_TYPE,
        new.sha256 or "",
        new.crc32 or "",
        new.storage,
        new.key,
        facts.modified,
        facts.etag,
        facts.version_id,
    )


def _read_files(
    checked: Sequence[_Checked],
    storages: Storages,
    known: Sequence[Manifest],
    is_stopped: Callable[[], bool],
    report: Report,
) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    """Compute the digests, each file once, and compare them with those of the request."""
    earlier = EarlierFiles(known, storages)
    stop = threading.Event()
    hasher = Hasher(storages, report, lambda: stop.is_set() or is_stopped(), trust=False)
    roots = storages.real_roots(new.storage for new, _, _ in checked)
    jobs: dict[tuple[str, str], tuple[int, partial[ManifestFile]]] = {}
    for index, (new, facts, _) in enumerate(checked):
        assert facts is not None  # otherwise there are faults
        if (new.storage, new.key) not in jobs:
            root = roots.get(new.storage)
            job = _job(new, facts, root, hasher, earlier)
            jobs[new.storage, new.key] = (index, job)
    first = [index for index, _ in jobs.values()]
    try:
        read = run_jobs([job for _, job in jobs.values()], READERS, stop)
    except HashingFailed as failed:
        return (), [
            (f"files[{first[number]}].key", f"cannot be read: {error}") for number, error in failed.faults
        ]
    digests = dict(zip(jobs, read, strict=True))
    files, faults = [], []
    for index, (new, facts, _) in enumerate(checked):
        found = digests[new.storage, new.key]
        for field in ("sha256", "crc32"):
            given, actual = getattr(new, field), getattr(found, field)
            if given not in (None, actual):
                faults.append((f"files[{index}].{field}", f"is not that of the content: {actual}"))
        assert facts is not None
        files.append(replace(_entry(new, facts), sha256=found.sha256, crc32=found.crc32))
    return tuple(files), faults


def _job(
    new: NewFile, facts: ObjectFacts, root: Path | None, hasher: Hasher, earlier: EarlierFiles
) -> partial[ManifestFile]:
    """Make the job that reads one file or object, unless an earlier version has its digests."""
    if root is None:
        scanned = ScannedObject(new.name, new.storage, f"{new.storage}: {new.key}", facts)
        return partial(hasher.describe_object, scanned, earlier.object(scanned))
    path = root / new.key
    file = ScannedFile(new.name, path, root, facts.size, facts.modified, path)
    return partial(hasher.describe, file, ObjectLocation(new.storage, new.key), earlier.file(file))

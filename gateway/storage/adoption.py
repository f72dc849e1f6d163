"""Objects that were stored again: the same bytes under another ETag, version or time are served all the same.

A bucket that was moved or restored, versions that were switched on, or a copy with another part size give an
object a new identity. The manifest does not know it, but it has the SHA-256. The rules:

- An object that differs from the manifest in its identity, and not in its size, is read once. If its SHA-256
  is that of the manifest, its new identity is *adopted*: requests are pinned to it from then on.
- Where versions were switched on after the object was published, and it was replaced since, the bucket still
  has its bytes as the version named null. Their ETag is the published one, so they are not read for that.
- The result, also that the bytes are others, is kept in a file below the data folder. So it is found out once
  for all workers, and is known after a restart. Where no file can be written, each worker finds out itself.
- One process compares an object (a lock on that file), and each process compares one object at a time.
- A request waits for PATIENCE_SECONDS at most. The comparison goes on without it.
- What cannot be compared is tried again after a pause that doubles each time, up to LAST_PAUSE.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from gateway.errors import NotAsPublished, StorageError, StorageUnreachable
from gateway.manifest import ManifestFile
from gateway.runtime.system_errors import advise
from gateway.storage.catalog import ObjectFacts
from gateway.storage.interface import Stream
from gateway.storage.published import encoding_fault, identity_fault

PATIENCE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 10
"""When a client may ask again, while an object is compared: some 1 GB are read in this time."""
POLL_SECONDS: Final = 0.2
"""How often a process looks whether another one has compared the object."""
REFUSED_SECONDS: Final = 5.0
"""How long an object that has other bytes is not asked about again."""
FIRST_PAUSE: Final = 5.0
LAST_PAUSE: Final = 300.0
SMALL_BYTES: Final = 64 << 20
"""The command `check` compares objects up to this size, which take a second. It reports the larger ones."""
MAX_KNOWN: Final = 65_536
"""How many adopted identities a process keeps in memory; the others are read from their files again."""
READ_BYTES: Final = 1 << 20

_log = logging.getLogger("gateway")

T = TypeVar("T")


class Source(Protocol):
    """What is asked for objects: an `ObjectStorage`."""

    @property
    def name(self) -> str: ...

    async def describe(self, key: str) -> ObjectFacts: ...

    async def begin(self, file: ManifestFile, start: int, stop: int) -> Stream: ...

    def older(self, file: ManifestFile) -> ManifestFile | None: ...


class NotCompared(NotAsPublished):
    """An object has another identity than the published one, and nobody has compared the bytes yet."""


class Records:
    """What was found out about objects, in a folder that processes share. Its methods block.

    folder: None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, file: ManifestFile, found: ManifestFile) -> bool | None:
        """Whether the object `found` has the bytes of the manifest's `file`; None if that is not known."""
        try:
            known = json.loads(self._path(file).read_bytes())
            return bool(known["same"]) if known["identity"] == _identity(found) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def lock(self, file: ManifestFile) -> int | None:
        """Lock the record of a file; return a descriptor to close.

        Returns -1 where no file can be written, and None while another process has the lock.
        """
        try:
            path = self._path(file)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return -1
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return fd

    def save(self, lock: int, found: ManifestFile, same: bool) -> None:
        """Write what was found out into the file that `lock` has locked."""
        if lock < 0:
            return
        text = json.dumps({"identity": _identity(found), "same": same}).encode()
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, text, 0)
        except OSError as error:
            _log.warning("what was found out about an object cannot be kept: %s", advise(error))

    def _path(self, file: ManifestFile) -> Path:
        if self._folder is None:
            raise FileNotFoundError
        facts = json.dumps(astuple(file)).encode()
        return self._folder / f"{hashlib.sha256(facts).hexdigest()}.json"


def _identity(file: ManifestFile) -> list[Any]:
    return [file.etag, file.version_id, file.modified]


class Adoption:
    """Compares the objects of one storage, for one event loop.

    known: by the manifest's entry, the entry with the adopted identity.
    """

    def __init__(self, storage: Source, folder: Path | None = None) -> None:
        """folder: where processes share what was found out."""
        self.known: dict[ManifestFile, ManifestFile] = {}
        self._storage = storage
        self._records = Records(folder)
        self._running: dict[ManifestFile, asyncio.Task[ManifestFile]] = {}
        self._pauses: dict[ManifestFile, tuple[float, float]] = {}
        self._slot = asyncio.Semaphore(1)

    async def adopt(self, file: ManifestFile, error: NotAsPublished) -> ManifestFile:
        """Return the entry to ask for instead of `file`, which the storage has no longer.

        error: what the storage said of it, raised again unless the object has the published bytes. Raises
        StorageError, and StorageUnreachable while the bytes are still being compared.
        """
        again_at, _ = self._pauses.get(file, (0.0, 0.0))
        if time.monotonic() < again_at:
            raise error
        running = self._running.get(file)
        if running is None:
            running = self._running[file] = asyncio.get_running_loop().create_task(self._find(file, error))
            running.add_done_callback(lambda task: self._end(file, task))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.shield(running)
        except TimeoutError:
            comparing = StorageUnreachable(f"{error}; its SHA-256 is being compared with the published one")
            comparing.retry_after = RETRY_SECONDS
            raise comparing from None

    async def check(self, file: ManifestFile, error: NotAsPublished) -> None:
        """Return if the object has the published bytes. A large one is not read for that.

        Raises StorageError.
        """
        if file.size <= SMALL_BYTES:
            await self.adopt(file, error)
            return
        if await self._find_older(file) is not None:
            return
        found = await self._describe(file, error)
        if found == file:
            return
        same = await _in_thread(self._records.find, file, found)
        if same is None:
            raise NotCompared(
                f"{error}; the next download reads its {file.size} bytes once, and serves them if their "
                "SHA-256 is the published one"
            )
        if not same:
            raise NotAsPublished(f"{error}; its SHA-256 is another, too")

    def _end(self, file: ManifestFile, task: asyncio.Task[ManifestFile]) -> None:
        del self._running[file]
        if task.cancelled():
            return
        error = task.exception()  # marks it as seen: all callers may have been cancelled
        if error is None:
            self._pauses.pop(file, None)
            if len(self.known) >= MAX_KNOWN:
                self.known.pop(next(iter(self.known)))
            if task.result() == file:
                self.known.pop(file, None)
            else:
                self.known[file] = task.result()
            return
        _, last = self._pauses.get(file, (0.0, 0.0))
        pause = REFUSED_SECONDS
        if not isinstance(error, NotAsPublished):
            pause = min(max(2 * last, FIRST_PAUSE), LAST_PAUSE)
        if len(self._pauses) >= MAX_KNOWN:
            self._pauses.pop(next(iter(self._pauses)))
        self._pauses[file] = (time.monotonic() + pause, pause)

    async def _find(self, file: ManifestFile, error: NotAsPublished) -> ManifestFile:
        older = await self._find_older(file)
        if older is not None:
            return older
        found = await self._describe(file, error)
        if found == file:
            return file
        while True:
            same = await _in_thread(self._records.find, file, found)
            if same is not None:
                break
            lock = await _in_thread(self._records.lock, file)
            if lock is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                same = await _in_thread(self._records.find, file, found)
                if same is None:
                    same = await self._compare(file, found)
                    await _in_thread(self._records.save, lock, found, same)
            finally:
                if lock >= 0:
                    os.close(lock)
            break
        if not same:
            raise NotAsPublished(f"{error}; its SHA-256 is another, too")
        return found

    async def _find_older(self, file: ManifestFile) -> ManifestFile | None:
        """Return the entry of what the key held before the bucket kept versions, if that is still there."""
        older = self._storage.older(file)
        if older is None or not file.size:
            return None
        try:
            (await self._storage.begin(older, 0, 1)).close()
        except StorageUnreachable:
            raise
        except StorageError:
            return None
        _log.warning(
            "storage %s: the object %r was replaced; the bucket still has the published one, which is served",
            self._storage.name,
            file.key,
        )
        return older

    async def _describe(self, file: ManifestFile, error: NotAsPublished) -> ManifestFile:
        """Ask for the object under the key, whatever it is. Raises NotAsPublished if its size is another."""
        facts: ObjectFacts = await self._storage.describe(file.key)
        if facts.size != file.size or identity_fault(facts) or encoding_fault(facts):
            raise error
        return replace(
            file, etag=facts.etag, version_id=facts.version_id, modified=facts.modified or file.modified
        )

    async def _compare(self, file: ManifestFile, found: ManifestFile) -> bool:
        """Read the object, and say whether its SHA-256 is the published one. Raises StorageError."""
        digest = hashlib.sha256()
        async with self._slot:
            if found.size:
                stream = await self._storage.begin(found, 0, found.size)
                try:
                    buffer = memoryview(bytearray(min(READ_BYTES, found.size)))
                    while stream.left:
                        try:
                            size = stream.recv_into(buffer)
                        except BlockingIOError:
                            await stream.wait_readable(len(buffer))
                            continue
                        await _in_thread(digest.update, buffer[:size])
                finally:
                    stream.close()
        same = digest.hexdigest() == file.sha256
        _log.warning(
            "storage %s: the object %r is not stored as it was published; its SHA-256 was compared: %s",
            self._storage.name,
            file.key,
            "it is the same, so the object is served" if same else "it is another",
        )
        return same


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

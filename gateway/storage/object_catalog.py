"""The catalog of an object storage: publishing and `check` ask through the very client that serves.

So what they accept can be served: the same certificates and time-outs are used, the same ranges are asked
for, and a fault has the same text. The client's coroutines run on an event loop in a thread of their own,
because the commands that publish are no coroutines.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.adoption import Adoption
from gateway.storage.catalog import ObjectFacts
from gateway.storage.interface import Stream
from gateway.storage.object_storage import ObjectStorage, describe_object
from gateway.storage.published import encoding_fault, identity_fault
from gateway.storage.rules import HIDDEN, refuse_key

READ_BYTES: Final = 1 << 20

T = TypeVar("T")


class ObjectCatalog:
    """Implements `Catalog` for the objects of one `ObjectStorage`.

    adopted: the folder in which workers keep what they found out about objects that were stored again.
    """

    def __init__(self, name: str, root: str, make: Callable[[], ObjectStorage]) -> None:
        """root: as in `Catalog`. make: makes the storage, when the first request needs it."""
        self.name = name
        self.root = root
        self._make = make
        self._lock = threading.Lock()
        self._made: ObjectStorage | None = None
        self.adopted: Path | None = None

    def check_root(self) -> str:
        """Ask for the first key, which shows at once whether credentials and bucket are right."""
        return self._run(lambda storage: storage.check_root())

    def stat(self, key: str) -> ObjectFacts:
        """Describe one object. Raises StorageError, also for an object that cannot be served as it is."""
        if hidden := refuse_key(key):
            raise StorageError(f"{describe_object(self.name, key)} {hidden}")
        facts = self._run(lambda storage: storage.describe(key))
        fault = encoding_fault(facts) or identity_fault(facts)
        if fault:
            raise StorageError(f"{describe_object(self.name, key)} {fault}")
        if not facts.modified:  # customers get a date all the same: that of publishing
            facts = replace(facts, modified=int(time.time()) * 10**9)
        return facts

    def check(self, file: ManifestFile) -> None:
        """Ask for the first byte of what was published. Raises StorageError for a hidden object."""
        if file.hidden:
            raise StorageError(f"{describe_object(self.name, file.key)} {HIDDEN}")
        self._run(lambda storage: storage.verify(file))

    def list(self, folder: str) -> Iterator[str]:
        """List the keys below the folder, without the empty objects that stand for folders."""
        keys = self._run(lambda storage: _begin_list(storage, folder))
        while (page := self._run(lambda _: _next_page(keys))) is not None:
            yield from page

    def read(self, facts: ObjectFacts) -> Iterator[bytes]:
        """Read the object that was described, to its last byte, as a download does."""
        if not facts.size:
            return
        file = ManifestFile(
            "", facts.size, "", "", "", self.name, facts.key, facts.modified, facts.etag, facts.version_id
        )
        stream: Stream = self._run(lambda storage: storage.begin(file, 0, facts.size))
        try:
            buffer = memoryview(bytearray(min(READ_BYTES, facts.size)))
            while stream.left:
                size = self._run(lambda _: _fill(stream, buffer))
                yield bytes(buffer[:size])
        finally:
            self._run(lambda _: _close(stream))

    def _run(self, ask: Callable[[ObjectStorage], Coroutine[Any, Any, T]]) -> T:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                self._made.adoption = Adoption(self._made, self.adopted)
            storage = self._made
        return asyncio.run_coroutine_threadsafe(ask(storage), _loop()).result()


async def _begin_list(storage: ObjectStorage, folder: str) -> AsyncIterator[list[str]]:
    return storage.pages(folder)


async def _next_page(pages: AsyncIterator[list[str]]) -> list[str] | None:
    return await anext(pages, None)


async def _fill(stream: Stream, buffer: memoryview) -> int:
    """Fill the buffer, or what is left of the stream; return how many bytes. Raises StorageError."""
    size, wanted = 0, min(len(buffer), stream.left)
    while size < wanted:
        try:
            size += stream.recv_into(buffer[size:wanted])
        except BlockingIOError:
            await stream.wait_readable(wanted - size)
    return size


async def _close(stream: Stream) -> None:
    stream.close()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all catalogs, which runs in a thread until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="catalogs", daemon=True).start()
    return loop

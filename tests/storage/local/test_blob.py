"""Reading a blob in pieces from the event loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.errors import StorageError
from gateway.storage.local.blob import LocalBlob
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.page_cache import READ_BYTES
from gateway.storage.local.storage import LocalStorage
from tests.support.local_files import entry
from tests.support.waiting import until


async def test_chunks(storage: LocalStorage, root: Path) -> None:
    content = os.urandom(2 * READ_BYTES + 17)
    (root / "big").write_bytes(content)
    with storage.open(entry(root, "big")) as blob:
        for start, stop in ((0, len(content)), (5, 6), (7, 7), (READ_BYTES - 1, 2 * READ_BYTES + 1)):
            os.posix_fadvise(blob.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert b"".join([piece async for piece in blob.chunks(start, stop)]) == content[start:stop]
        os.truncate(root / "big", 100)
        with pytest.raises(StorageError, match="truncated"):
            _ = [piece async for piece in blob.chunks(0, len(content))]


async def test_chunks_cancelled(storage: LocalStorage, root: Path, cache: DescriptorCache) -> None:
    """A client that left while a thread reads: the descriptor is closed only when the thread is done."""
    (root / "big").write_bytes(os.urandom(8 * READ_BYTES))
    os.sync()
    for delay in (0.0, 0.001, 0.003):
        blob = storage.open(entry(root, "big"))
        os.posix_fadvise(blob.fd, 0, 0, os.POSIX_FADV_DONTNEED)

        async def read(held: LocalBlob = blob) -> None:
            with held:
                async for _ in held.chunks(0, held.size):
                    await asyncio.sleep(0)

        task = asyncio.create_task(read())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        cache.clear()
        await until(lambda held=blob: held.fd == -1)  # type: ignore[misc] # a thread closes it

"""The rules of the storage interface (gateway/storage/interface.py), on every storage there is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.interface import Blob, FilePart, Storage
from tests.support.storages import STORAGE_CASES, StorageCase
from tests.support.streams import rest
from tests.support.waiting import until

SIZE = 9_000_001
"""More than a slice of the cache, than a chunk of obstore, and than the kernel holds for a connection."""
CONTENT = os.urandom(SIZE)


@pytest.fixture(params=STORAGE_CASES)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageCase]:
    with STORAGE_CASES[request.param](tmp_path, request.getfixturevalue) as running:
        yield running


async def find(storage: Storage, file: ManifestFile) -> Blob:
    """The blob, acquired, as the data plane finds it."""
    found = storage.lookup(file)
    return await asyncio.to_thread(storage.open, file) if found is None else found


async def read(storage: Storage, file: ManifestFile, start: int = 0, stop: int | None = None) -> bytes:
    with await find(storage, file) as blob:
        return b"".join([data async for data in blob.chunks(start, file.size if stop is None else stop)])


async def check(storage: Storage, file: ManifestFile) -> None:
    """What the data plane does before a response that sends no bytes. Finding a file is a check already."""
    with await find(storage, file) as blob:
        if blob.as_object is not None:
            await blob.as_object.check()


async def read_quickly(blob: Blob, start: int, stop: int) -> bytes:
    """A span by the way that the data plane takes, which is that of a file or that of an object."""
    file, stored = blob.as_file, blob.as_object
    if file is not None:
        return file.pread(start, stop)
    assert stored is not None
    got = b""
    while len(got) < stop - start:
        at = start + len(got)
        part = stored.fetch_now(at, stop) or await stored.fetch(at, stop)
        try:
            if isinstance(part, FilePart):
                got += os.pread(part.fd, part.length, part.offset)
            else:
                got += await rest(part)
        finally:
            part.close()
    return got


async def test_a_blob_has_its_size_and_is_a_file_or_an_object(case: StorageCase) -> None:
    file = case.put("a", CONTENT)
    with await find(case.storage, file) as blob:
        assert blob.size == SIZE
        assert [way for way in (blob.as_file, blob.as_object) if way is not None] == [blob]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, SIZE), (0, 1), (SIZE - 1, SIZE), (1, SIZE - 1), (5, 500_005), (8_388_600, 8_388_620), (7, 7)],
)
async def test_any_span_is_read(case: StorageCase, start: int, stop: int) -> None:
    file = case.put("a", CONTENT)
    for _ in range(2):  # the second time from what a cache has kept
        assert await read(case.storage, file, start, stop) == CONTENT[start:stop]
        with await find(case.storage, file) as blob:
            assert await read_quickly(blob, start, stop) == CONTENT[start:stop]
    await until(case.is_idle)


async def test_an_empty_object_is_read(case: StorageCase) -> None:
    assert await read(case.storage, case.put("a", b"")) == b""


async def test_a_missing_object_is_an_error(case: StorageCase) -> None:
    file = case.put("a", CONTENT)
    case.remove("a")
    with pytest.raises(StorageError, match="'a'"):
        await read(case.storage, file)
    await until(case.is_idle)


@pytest.mark.parametrize("size", [SIZE, SIZE - 1, SIZE + 1, 0])
async def test_an_object_that_was_replaced_is_an_error(case: StorageCase, size: int) -> None:
    file = case.put("a", CONTENT)
    case.put("a", os.urandom(size))
    with pytest.raises(StorageError, match="'a'"):
        await read(case.storage, file)
    await until(case.is_idle)


async def test_after_a_replacement_nobody_gets_bytes_of_both(case: StorageCase) -> None:
    """A cache may still have the old object, and says so for some seconds; nobody gets the new one."""
    file = case.put("a", CONTENT)
    assert await read(case.storage, file) == CONTENT
    other = os.urandom(SIZE)
    fresh = case.put("a", other)
    with suppress(StorageError):
        assert await read(case.storage, file) == CONTENT
    assert await read(case.storage, fresh) == other


@pytest.mark.parametrize(
    "difference",
    [{"size": SIZE - 1}, {"size": SIZE + 1}, {"etag": '"another"', "modified": 1}],
    ids=["smaller", "larger", "another identity"],
)
async def test_what_the_manifest_says_has_to_be_true(case: StorageCase, difference: dict[str, Any]) -> None:
    file = replace(case.put("a", CONTENT), **difference)
    with pytest.raises(StorageError, match="'a'"):
        await read(case.storage, file)
    await until(case.is_idle)


async def test_a_check_reads_nothing_and_finds_what_has_changed(case: StorageCase) -> None:
    await check(case.storage, case.put("a", CONTENT))
    changed = case.put("b", CONTENT)
    case.put("b", CONTENT[::-1])
    with pytest.raises(StorageError, match="'b'"):
        await check(case.storage, changed)
    await until(case.is_idle)


async def test_each_acquire_has_its_own_release(case: StorageCase) -> None:
    file = case.put("a", CONTENT)
    blob = await find(case.storage, file)
    assert blob.acquire() is blob
    blob.release()
    assert await read_quickly(blob, 0, 100) == CONTENT[:100]
    blob.release()


async def test_a_second_release_does_not_close_the_blob_of_another(case: StorageCase) -> None:
    """A blob that counts its users raises RuntimeError; for one that holds nothing it is no matter."""
    file = case.put("a", CONTENT)
    blob = await find(case.storage, file)
    blob.release()
    with suppress(RuntimeError):
        blob.release()
    assert await read(case.storage, file) == CONTENT


async def test_a_closed_storage_serves_the_blobs_that_are_in_use(case: StorageCase) -> None:
    file = case.put("a", CONTENT)
    with await find(case.storage, file) as blob:
        case.storage.close()
        assert await read_quickly(blob, 5, 500_005) == CONTENT[5:500_005]


async def test_many_readers_at_once_get_the_same_bytes(case: StorageCase) -> None:
    file = case.put("a", CONTENT)
    spans = [(number * 1_000_000, (number + 2) * 1_000_000) for number in range(7)]
    got = await asyncio.gather(*(read(case.storage, file, start, stop) for start, stop in spans))
    assert got == [CONTENT[start:stop] for start, stop in spans]
    await until(case.is_idle)


async def test_blobs_are_opened_and_released_in_any_thread(case: StorageCase) -> None:
    file = case.put("a", CONTENT)

    def work() -> int:
        sizes = set()
        for _ in range(20):
            with case.storage.open(file) as blob, blob.acquire() as same:
                sizes.add(same.size)
            found = case.storage.lookup(file)
            if found is not None:
                found.release()
        [size] = sizes
        return size

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        assert set(await asyncio.gather(*(loop.run_in_executor(pool, work) for _ in range(4)))) == {SIZE}
    assert await read(case.storage, file) == CONTENT


@pytest.mark.parametrize("chunks", [0, 1, 3])
async def test_a_reader_that_is_cancelled_leaves_nothing_open(case: StorageCase, chunks: int) -> None:
    """While it waits for the first bytes, or later; others that read the same get all of it."""
    file = case.put("a", CONTENT)
    reached = asyncio.Event()

    async def begin() -> None:
        if not chunks:
            reached.set()
        seen = 0
        with await find(case.storage, file) as blob:
            async for _ in blob.chunks(0, SIZE):
                seen += 1
                if seen == chunks:
                    reached.set()
                    await asyncio.Event().wait()

    reader = asyncio.create_task(begin())
    other = asyncio.create_task(read(case.storage, file))
    await reached.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await other == CONTENT
    await until(case.is_idle)

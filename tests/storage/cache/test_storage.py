"""Reading through the cache: each byte is right, each slice is fetched once, faults cost only time."""

from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path

import pytest

from gateway.errors import StorageError
from gateway.runtime import metrics as counters
from gateway.storage.cache.slice_files import SLICE_BYTES
from gateway.storage.interface import FilePart
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.cached_storage import MIB, Reader, Rig
from tests.support.faulty_bucket import Upstream
from tests.support.waiting import wait_until


async def test_read_twice_asked_once(rig: Rig) -> None:
    content = Pattern(20 * MIB + 17)
    rig.upstream.put("a", content)
    assert await rig.read("a", 0, len(content)) == content[:]
    await rig.settled()
    before = rig.counts[counters.CACHE_HITS]  # a slice may have been fetched in advance
    assert await rig.read("a", 0, len(content)) == content[:]
    gets = [asked for asked in rig.upstream.requests if asked.method == "GET"]
    assert len(gets) == 3
    assert rig.upstream.sent == len(content)
    assert rig.counts[counters.CACHE_FILLED] == 3
    assert rig.counts[counters.CACHE_HITS] - before == 3
    assert len(rig.slices()) == 3


async def test_a_range_fetches_its_slices_only(rig: Rig) -> None:
    content = Pattern(80 * MIB)
    rig.upstream.put("a", content)
    start = 4 * SLICE_BYTES - 5
    assert await rig.read("a", start, start + 10) == content[start : start + 10]
    await rig.settled()
    assert rig.upstream.sent == 2 * SLICE_BYTES
    part = await rig.blob("a").fetch(start, start + 10)
    assert isinstance(part, FilePart)
    assert os.pread(part.fd, part.length, part.offset) == content[start : start + 5]
    part.close()


async def test_a_verified_slice_is_fetched_now_after_a_first_part(rig: Rig) -> None:
    content = Pattern(20 * MIB)
    rig.upstream.put("a", content)
    assert await rig.read("a", 0, 2 * SLICE_BYTES) == content[: 2 * SLICE_BYTES]
    await rig.settled()
    blob = rig.blob("a")
    assert blob.fetch_now(0, len(content)) is None  # the storage has not been asked yet
    (await blob.fetch(0, 10)).close()
    hits = rig.counts[counters.CACHE_HITS]
    part = blob.fetch_now(SLICE_BYTES + 5, len(content))
    assert part is not None
    assert (part.offset, part.length) == (5, SLICE_BYTES - 5)
    assert os.pread(part.fd, 100, part.offset) == content[SLICE_BYTES + 5 : SLICE_BYTES + 105]
    part.close()
    assert rig.counts[counters.CACHE_HITS] == hits + 1
    for path in rig.slices():
        path.unlink()
    assert blob.fetch_now(SLICE_BYTES, len(content)) is None


COLD_MIB = int(os.environ.get("GATEWAY_TEST_COLD_MIB", "40"))
COLD_CLIENTS = int(os.environ.get("GATEWAY_TEST_COLD_CLIENTS", "20"))


def digest_of(content: Pattern) -> str:
    digest = hashlib.sha256()
    for at in range(0, len(content), MIB):
        digest.update(content[at : at + MIB])
    return digest.hexdigest()


@pytest.mark.slow
def test_many_clients_of_two_processes_are_one_to_the_storage(tmp_path: Path) -> None:
    """Each slice is asked for once.

    The process that starts later may find the first slice in the cache. It then checks the object, by a byte
    of it. GATEWAY_TEST_COLD_MIB=1024 GATEWAY_TEST_COLD_CLIENTS=100 make it large.
    """
    content = Pattern(COLD_MIB * MIB + 1)
    with Upstream() as upstream:
        upstream.put("a", content)
        readers = [Reader(upstream, tmp_path / "cache", "a", COLD_CLIENTS // 2) for _ in range(2)]
        for reader in readers:
            reader.go()
        assert [reader.digests() for reader in readers] == [[digest_of(content)]] * 2
        assert len(upstream.fetched) == -(-len(content) // SLICE_BYTES)
        assert set(upstream.fetched.values()) == {1}


@pytest.mark.slow
def test_when_a_fetching_process_is_killed_the_next_fetches_the_slice(tmp_path: Path) -> None:
    content = Pattern(SLICE_BYTES)
    with Upstream() as upstream:
        upstream.put("a", content)
        upstream.faults.append(Fault(stall_after=3 * MIB))
        first, second = (Reader(upstream, tmp_path / "cache", "a") for _ in range(2))
        first.go()
        wait_until(lambda: bool(list((tmp_path / "cache").glob("??/*.part"))), "it is being fetched")
        second.go()
        wait_until(lambda: upstream.sent >= 3 * MIB, "some of it came")
        first.close()
        assert second.digests() == [digest_of(content)]
        assert len(upstream.requests) == 2
        assert not list((tmp_path / "cache").glob("??/*.part"))


async def test_a_damaged_slice_is_fetched_again(rig: Rig) -> None:
    content = Pattern(3 * MIB)
    rig.upstream.put("a", content)
    await rig.read("a", 0, len(content))
    await rig.settled()
    [path] = rig.slices()
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"rotten")
    os.utime(path, ns=(1, 1))  # so that a coarse clock does not hide it
    assert await rig.read("a", 0, len(content)) == content[:]
    await rig.settled()
    assert rig.counts[counters.CACHE_DAMAGED] == 1
    assert rig.upstream.sent == 2 * len(content)


async def test_a_replaced_object_is_not_served_and_one_that_cannot_be_checked_is(rig: Rig) -> None:
    content = Pattern(MIB)
    file = rig.upstream.put("a", content)
    await rig.read("a", 0, MIB)
    await rig.settled()
    rig.origin._checked_at.clear()
    rig.upstream.faults.extend([Fault(status=503)] * 4)
    assert await rig.read("a", 0, MIB) == content[:]
    rig.upstream.faults.clear()
    rig.storage._silent_until = 0.0
    rig.origin._checked_at.clear()
    rig.upstream.put("a", Pattern(MIB, seed=1), etag='"other"')
    blob = rig.storage.lookup(file)
    assert blob is not None
    assert blob.as_object is not None
    with pytest.raises(StorageError):
        await blob.as_object.fetch(0, MIB)


async def test_the_budget_holds_and_the_oldest_go(tmp_path: Path) -> None:
    with Upstream() as upstream:
        rig = Rig(upstream, tmp_path / "cache", 40 * MIB)
        content = Pattern(80 * MIB)
        upstream.put("a", content)
        for start in range(0, 80 * MIB, SLICE_BYTES):
            assert await rig.read("a", start, start + 9) == content[start : start + 9]
            assert await rig.read("a", 0, 9) == content[:9]  # so that the first is always the newest
            await rig.settled()
            paths = rig.slices()
            assert sum(path.stat().st_size for path in paths) <= 40 * MIB
            for path in paths:  # a minute passes
                facts = path.stat()
                os.utime(path, ns=(facts.st_atime_ns - 61 * 10**9, facts.st_mtime_ns))
        assert upstream.sent == 80 * MIB
        assert rig.counts[counters.CACHE_EVICTED] >= 6
        rig.storage.close()


async def test_a_cache_that_fails_only_streams(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.path.write_bytes(b"no folder")
    content = Pattern(10 * MIB)
    rig.upstream.put("a", content)
    assert await rig.read("a", 0, len(content)) == content[:]
    assert rig.counts[counters.CACHE_FAILURES] == 1
    assert len([record for record in caplog.records if "the cache at" in record.message]) == 1


async def test_a_disk_that_takes_no_more_only_streams(rig: Rig) -> None:
    """A limit of the process in place of a full disk: it needs no rights, and writing fails alike."""
    content = Pattern(10 * MIB)
    rig.upstream.put("a", content)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        assert await rig.read("a", 0, len(content)) == content[:]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rig.counts[counters.CACHE_FAILURES] == 1
    assert rig.slices() == []

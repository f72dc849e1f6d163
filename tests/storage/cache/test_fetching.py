"""Fetching slices into the cache: a disk that fails is reported, a fetch without a free slot is not."""

from __future__ import annotations

import errno
import os

import pytest

from gateway.runtime import metrics as counters
from gateway.storage.cache import fetching
from gateway.storage.cache.slice_files import FileIdentity, Slice, SliceWriter
from tests.support.bucket_objects import Pattern
from tests.support.cached_storage import MIB, Reader, Rig


@pytest.mark.parametrize("method", ["allocate", "write", "finish"])
async def test_a_disk_that_times_out_is_reported(
    rig: Rig, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Disks of networks do so. It is a TimeoutError, as of a wait, and no disk here does it on demand."""

    def fail(*_: object) -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(SliceWriter, method, fail)
    content = Pattern(2 * MIB)
    rig.upstream.put("a", content)
    assert await rig.read("a", 0, len(content)) == content[:]
    await rig.settled()
    assert rig.counts[counters.CACHE_FAILURES] == 1
    [line] = [record.getMessage() for record in caplog.records if "the cache at" in record.getMessage()]
    assert "no answer came in time" in line
    assert not list(rig.path.glob("??/*"))


async def test_no_free_slot_in_time_is_no_fault(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 0.05)
    content = Pattern(2 * MIB)
    rig.upstream.put("a", content)
    slots = rig.cache._fetcher._slots
    for _ in range(fetching.MAX_FETCHES):
        await slots.acquire()
    assert await rig.read("a", 0, len(content)) == content[:]
    for _ in range(fetching.MAX_FETCHES):
        slots.release()
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 60.0)
    assert rig.counts[counters.CACHE_BYPASSED] >= 1
    assert rig.counts[counters.CACHE_FAILURES] == 0
    assert caplog.records == []
    assert await rig.read("a", 0, len(content)) == content[:]
    await rig.settled()
    assert len(rig.slices()) == 1
    assert slots._value == fetching.MAX_FETCHES


async def test_a_slice_that_another_process_completes_before_the_lock_is_not_fetched_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process completes the slice after this one did not find it, and before this one locks it."""
    rig.upstream.put("a", Pattern(2 * MIB))
    other = Reader(rig.upstream, rig.path, "a")
    find, found = rig.cache._fetcher._find, []

    def find_too_early(slice_: Slice) -> FileIdentity | None:
        found.append(find(slice_))
        if len(found) == 1:
            other.go()
            other.digests()
        return found[-1]

    monkeypatch.setattr(rig.cache._fetcher, "_find", find_too_early)
    content = Pattern(2 * MIB)
    assert await rig.read("a", 0, len(content)) == content[:]
    assert [identity is not None for identity in found] == [False, True]
    assert rig.upstream.sent == len(content)

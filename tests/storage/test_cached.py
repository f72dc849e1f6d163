"""Downloads through the cache: every byte right, each slice asked for once, a failing cache only slower."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import counters
from gateway.storage import FilePart, ObjectBlob
from gateway.storage.cached import CachedStorage
from gateway.storage.s3.storage import S3Storage
from gateway.storage.slicefiles import SLICE_BYTES
from gateway.storage.slices import SliceCache
from tests.faults_upstream import Pattern, Upstream

MIB = 1024 * 1024


class Rig:
    """A storage behind the cache, and what was counted."""

    def __init__(self, upstream: Upstream, path: Path, max_bytes: int = 256 * MIB) -> None:
        self.counts: Counter[int] = Counter()
        self.upstream = upstream
        self.path = path
        self.origin = S3Storage(upstream.bucket(), self.count)
        self.cache = SliceCache(path, max_bytes, self.count)
        self.storage = CachedStorage(self.origin, self.cache)

    def count(self, index: int, by: int = 1) -> None:
        self.counts[index] += by

    def blob(self, key: str) -> ObjectBlob:
        blob = self.storage.lookup(self.upstream.entry(key))
        assert blob is not None
        assert blob.as_object is not None
        return blob.as_object

    async def read(self, key: str, start: int, stop: int) -> bytes:
        return b"".join([piece async for piece in self.blob(key).chunks(start, stop)])

    def slices(self) -> list[Path]:
        return sorted(path for path in self.path.glob("??/*") if path.suffix != ".part")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    with Upstream() as upstream:
        rig = Rig(upstream, tmp_path / "cache")
        yield rig
        rig.storage.close()


async def test_read_twice_asked_once(rig: Rig) -> None:
    content = Pattern(20 * MIB + 17)
    rig.upstream.put("a", content)
    for _ in range(2):
        assert await rig.read("a", 0, len(content)) == content[:]
    gets = [asked for asked in rig.upstream.requests if asked.method == "GET"]
    assert len(gets) == 3
    assert rig.upstream.sent == len(content)
    assert rig.counts[counters.CACHE_FILLED] == 3
    assert rig.counts[counters.CACHE_HITS] == 3
    assert len(rig.slices()) == 3


async def test_a_range_fetches_its_slices_only(rig: Rig) -> None:
    content = Pattern(80 * MIB)
    rig.upstream.put("a", content)
    start = 4 * SLICE_BYTES - 5
    assert await rig.read("a", start, start + 10) == content[start : start + 10]
    assert rig.upstream.sent == 2 * SLICE_BYTES
    part = await rig.blob("a").fetch(start, start + 10)
    assert isinstance(part, FilePart)
    assert os.pread(part.fd, part.length, part.offset) == content[start : start + 5]
    part.close()

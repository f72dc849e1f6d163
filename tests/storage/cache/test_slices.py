"""Spans across slices equal the content. The slices are so small that spans have every kind of edge."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gateway.runtime import metrics as counters
from gateway.storage.cache import storage as cached
from tests.support.bucket_objects import Pattern
from tests.support.cached_storage import Rig
from tests.support.examples import examples
from tests.support.faulty_bucket import Upstream

SLICE = 1000
"""Not a page's size, so that slices and pages differ in their edges."""

sizes = some.integers(1, 8 * SLICE) | some.sampled_from([SLICE, SLICE + 1, 3 * SLICE - 1, 3 * SLICE])
edges = some.integers(0, 8 * SLICE) | some.integers(0, 8).map(lambda number: number * SLICE)
spans = some.lists(some.tuples(edges, edges), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for every example: what hypothesis warns of does not matter."""
    monkeypatch.setattr(cached, "SLICE_BYTES", SLICE)


def slices_of(start: int, stop: int) -> set[int]:
    """Numbers of the slices that a span has bytes of."""
    return {at // SLICE for at in range(start, stop)}


async def read(upstream: Upstream, size: int, wanted: list[tuple[int, int]], *, together: bool) -> None:
    content = Pattern(size, seed=size)
    with tempfile.TemporaryDirectory() as folder:
        upstream.put("a", content)
        upstream.requests.clear()
        rig = Rig(upstream, Path(folder) / "cache")
        try:
            reads = [rig.read("a", start, stop) for start, stop in wanted]
            got = await asyncio.gather(*reads) if together else [await each for each in reads]
            await rig.settled()
        finally:
            rig.storage.close()
    assert got == [content[start:stop] for start, stop in wanted]
    asked = [each.range for each in upstream.requests if each.method == "GET"]
    assert len(asked) == len(set(asked)) == rig.counts[counters.CACHE_FILLED]
    filled = {int((each or "bytes=0-").removeprefix("bytes=").partition("-")[0]) // SLICE for each in asked}
    needed = set().union(*(slices_of(start, stop) for start, stop in wanted))
    assert filled == needed  # a slice is fetched in advance only if it is asked for next
    assert rig.counts[counters.CACHE_FAILURES] == rig.counts[counters.CACHE_BYPASSED] == 0


@pytest.mark.parametrize("together", [False, True])
@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=sizes, found=spans)
def test_spans_are_the_content(
    upstream: Upstream, together: bool, size: int, found: list[tuple[int, int]]
) -> None:
    """One after the other, or at once; each slice is asked for once."""
    wanted = [(min(pair[0], pair[1], size), min(max(pair), size)) for pair in found]
    asyncio.run(read(upstream, size, wanted, together=together))

"""Whole downloads through the cache: real workers share its folder, and the storage counts requests.

The object is small by default; GATEWAY_TEST_COLD_OBJECT_MIB=1024 makes it large.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime.metrics import CACHE_BYPASSED, CACHE_FAILURES, CACHE_FILLED, CACHE_WAITED
from gateway.storage.cache.slice_files import SLICE_BYTES
from tests.support.bucket_objects import Pattern
from tests.support.downloads import publish, read_all, table
from tests.support.faulty_bucket import Upstream
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

OBJECT_BYTES = int(os.environ.get("GATEWAY_TEST_COLD_OBJECT_MIB", "24")) * 1024 * 1024
CLIENTS = 100


@pytest.mark.slow
def test_a_hundred_clients_of_a_cold_object_are_one_to_the_storage(tmp_path: Path) -> None:
    """They come at once, to two workers; each slice is asked for once, by one of the workers."""
    content = Pattern(OBJECT_BYTES)
    with Upstream() as upstream:
        options: dict[str, Any] = {
            "storage": {"s3": table(upstream)},
            "cache_path": tmp_path / "cache",
            "cache_max_bytes": 2 * OBJECT_BYTES + 64 * 1024 * 1024,
        }
        with run_plane(tmp_path, workers=2, **options) as plane:
            link = plane.link(publish(plane, upstream.put("cold", content)), maximum=CLIENTS)
            together = threading.Barrier(CLIENTS)

            def download() -> None:
                with plane.connect() as client:
                    together.wait(60)
                    read_all(client, link, content)

            began = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as pool:
                for done in [pool.submit(download) for _ in range(CLIENTS)]:
                    done.result()
            took = time.monotonic() - began
            print(f"{CLIENTS} clients of {len(content)} B in {took:.1f} s, read {upstream.sent} B")
            assert (count(plane, CACHE_BYPASSED), count(plane, CACHE_FAILURES)) == (0, 0)
            slices = upstream.fetched
            assert len(slices) == -(-len(content) // SLICE_BYTES)
            assert set(slices.values()) == {1}
            wait_until(lambda: count(plane, CACHE_FILLED) == len(slices), "each has been counted")
            assert all(worker.counters.values()[CACHE_WAITED] for worker in plane.workers)
            assert plane.charged(link) == CLIENTS * len(content)


def count(plane: Plane, index: int) -> int:
    """A counter, of all workers."""
    return sum(worker.counters.values()[index] for worker in plane.workers)

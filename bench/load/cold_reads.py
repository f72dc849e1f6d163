"""Downloads of spans that are not in the page cache, so that the server must read them from the disk."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

from bench.load.downloads import MOST_BYTES, Download

CONNECTIONS = 4


def read_cold_spans(
    address: tuple[str, int],
    requests: Sequence[bytes],
    spans: Sequence[tuple[int, int]],
    path: str,
    rate: float,
    seconds: float,
) -> dict[str, float]:
    """Request spans of a file at a fixed rate (bytes a second), each evicted from the page cache just before.

    Returns bytes, seconds, spans requested (`asked`), those really gone from the cache (`cold`), and broken
    connections.
    """
    descriptor = os.open(path, os.O_RDONLY)
    idle = [Download(address) for _ in range(CONNECTIONS)]
    active: list[Download] = []
    began = time.monotonic()
    counts = {"bytes": 0.0, "asked": 0.0, "cold": 0.0, "broken": 0.0}
    number = 0
    try:
        while (now := time.monotonic()) < began + seconds:
            if idle and now >= began + number * (spans[0][1] - spans[0][0]) / rate:
                start, stop = spans[number % len(spans)]
                counts["cold"] += _evict(descriptor, start, stop)
                counts["asked"] += 1
                download = idle.pop()
                download.send(requests[number % len(requests)])
                active.append(download)
                number += 1
            for download in list(active):
                try:
                    counts["bytes"] += download.receive(MOST_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    counts["broken"] += 1
                    active.remove(download)
                    continue
                if not download.left:
                    active.remove(download)
                    idle.append(download)
            time.sleep(0.001)
    finally:
        os.close(descriptor)
        for download in (*idle, *active):
            download.close()
    return {**counts, "seconds": time.monotonic() - began}


def _evict(descriptor: int, start: int, stop: int) -> bool:
    """Remove a span from the page cache; returns whether its first page is really gone."""
    os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_DONTNEED)
    try:
        os.preadv(descriptor, [bytearray(1)], start, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    return False


def cold_spans(size: int, length: int) -> list[tuple[int, int]]:
    """All spans of this length in a file of this size, shuffled so that no read-ahead can guess the order."""
    starts = list(range(0, size - length + 1, length))
    random.Random(size).shuffle(starts)
    return [(start, start + length) for start in starts]

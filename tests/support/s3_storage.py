"""How tests read objects of an S3 storage, and the counters of that storage."""

from __future__ import annotations

import os
from collections.abc import Callable

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import (
    METRICS,
    UPSTREAM_IDLE,
    UPSTREAM_IN_USE,
    Counters,
)
from gateway.storage.interface import Stream
from gateway.storage.s3.storage import S3Storage
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.streams import rest

Make = Callable[..., S3Storage]

SIZE = 1_000_000
CONTENT = Pattern(SIZE)
"""What tests of streams read."""


class Counted:
    """Counters that can be asked."""

    def __init__(self) -> None:
        self._counters = Counters()

    def add(self, index: int, count: int) -> None:
        self._counters.add(index, count)

    def __getitem__(self, index: int) -> int:
        return self._counters.values()[index]

    @property
    def held(self) -> tuple[int, int]:
        """Connections in use, and idle."""
        return self[UPSTREAM_IN_USE], self[UPSTREAM_IDLE]

    def __repr__(self) -> str:
        return repr(
            {METRICS[i].name + METRICS[i].label: n for i, n in enumerate(self._counters.values()) if n}
        )


async def read(storage: S3Storage, file: ManifestFile, start: int = 0, stop: int | None = None) -> bytes:
    """A span, by `take`."""
    stream = await storage.lookup(file).fetch(start, file.size if stop is None else stop)
    try:
        return await rest(stream)
    finally:
        stream.close()


async def spliced(stream: Stream, most: int = 1 << 16) -> bytes:
    """Read the rest of a stream through a pipe."""
    pieces = []
    outlet, inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while stream.left:
            try:
                got = stream.splice(inlet, most)
            except BlockingIOError:
                await stream.wait_readable()
                continue
            assert 0 < got <= most
            pieces.append(os.read(outlet, got))
            assert len(pieces[-1]) == got
    finally:
        os.close(outlet)
        os.close(inlet)
    return b"".join(pieces)


BREAKS = {
    "reset": Fault(reset_after=1000),
    "reset at once": Fault(reset_after=0),
    "reset before the head": Fault(before_head="reset"),
    "short": Fault(short_after=1000),
    "nothing but a head": Fault(short_after=0),
    "end before the head": Fault(before_head="close"),
    "stall": Fault(stall_after=1000),
    "stall at once": Fault(stall_after=0),
    "stall before the head": Fault(before_head="stall"),
    "slow down": Fault(status=503, code="SlowDown"),
    "too many": Fault(status=429, code="TooManyRequests", retry_after="0"),
    "too many, last words": Fault(status=429, closes=True),
    "in chunks": Fault(status=503, code="SlowDown", chunked=True),
    "inner error": Fault(status=500, code="InternalError"),
    "bad gateway": Fault(status=502),
    "gateway timeout": Fault(status=504),
    "a reset error": Fault(status=503, reset_after=10),
}


def is_stall(name: str) -> bool:
    """Whether the storage falls silent. Where that counts soon, a busy machine may make more requests."""
    return "stall" in name


def silence(name: str) -> float:
    """How long the storage may be silent: short only where it will be."""
    return 0.4 if is_stall(name) else 30.0

"""A storage of every fault, over plain TCP and over TLS, and what is counted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import METRICS, UPSTREAM_IDLE, UPSTREAM_IN_USE, Counters
from gateway.storage.interface import Stream
from gateway.storage.s3.storage import S3Storage
from tests.storage.streams import rest
from tests.support.faulty_bucket import Upstream
from tests.support.plane import make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def plain() -> Iterator[Upstream]:
    """Over plain TCP only."""
    with Upstream() as running:
        yield running


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[Upstream]:
    """Over TLS only."""
    with Upstream(certificate) as running:
        yield running


@pytest.fixture(params=["plain", "secure"])
def upstream(request: pytest.FixtureRequest) -> Upstream:
    chosen: Upstream = request.getfixturevalue(request.param)
    return chosen


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


@pytest.fixture
def counted() -> Counted:
    return Counted()


Make = Callable[..., S3Storage]


@pytest.fixture
async def make(upstream: Upstream, counted: Counted) -> AsyncIterator[Make]:
    """Makes a storage of `upstream`, with what the bucket shall have otherwise."""
    made: list[S3Storage] = []

    def storage(**changes: Any) -> S3Storage:
        made.append(S3Storage(upstream.bucket(**changes), counted.add))
        return made[-1]

    yield storage
    for each in made:
        each.close()
    assert counted.held == (0, 0)


async def read(storage: S3Storage, file: ManifestFile, start: int = 0, stop: int | None = None) -> bytes:
    """A span, by `take`."""
    stream = await storage.lookup(file).fetch(start, file.size if stop is None else stop)
    try:
        return await rest(stream)
    finally:
        stream.close()


async def spliced(stream: Stream, most: int = 1 << 16) -> bytes:
    """What is left of a stream, through a pipe."""
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

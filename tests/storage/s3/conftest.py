"""A storage of every fault, over plain TCP and over TLS, and what is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage import retries
from gateway.storage.s3.storage import S3Storage
from tests.support.certificates import make_certificate
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import Counted, Make


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


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def make(upstream: Upstream, counted: Counted) -> AsyncIterator[Make]:
    """Makes a storage that reads from `upstream`; changes: other values for fields of its bucket."""
    made: list[S3Storage] = []

    def storage(**changes: Any) -> S3Storage:
        made.append(S3Storage(upstream.bucket(**changes), counted.add))
        return made[-1]

    yield storage
    for each in made:
        each.close()
    assert counted.held == (0, 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(retries, "LAST_BACKOFF", 0.004)

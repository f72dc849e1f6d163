"""Rates of a token whose file is an object: what is passed on from a bucket is paced like a file."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gateway.secrets import token_id
from tests.support.bucket_objects import Pattern
from tests.support.downloads import publish, read_all, table
from tests.support.faulty_bucket import Upstream
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

RATE = 500_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("rates")
    with run_plane(folder, storage={"s3": table(upstream)}, stall_timeout=1) as running:
        yield running


@pytest.mark.parametrize("caps", [f"rate={RATE}", f"connection_rate={RATE}"])
def test_an_object_comes_no_faster_and_is_right(objects: Plane, upstream: Upstream, caps: str) -> None:
    """At most two seconds' worth comes at once, and the rest at the rate, however fast the bucket is."""
    content = Pattern(5 * RATE // 2)
    published = publish(objects, upstream.put(f"paced-{caps}", content))
    link = f"/download?token={objects.token(published, caps=caps)}"
    started = time.monotonic()
    with objects.connect() as client:
        read_all(client, link, content)
        least = time.monotonic() - started
    assert least >= 0.4


@pytest.mark.slow
def test_connections_share_the_rate_and_give_it_back(objects: Plane, upstream: Upstream) -> None:
    """Two spans at once take as long as both one after the other; one that is broken off leaves the rest."""
    content = Pattern(4 * RATE)
    published = publish(objects, upstream.put("shared", content))
    token = objects.token(published, caps=f"rate={RATE} connections=2")
    link = f"/download?token={token}"
    started = time.monotonic()
    with objects.connect() as one, objects.connect() as other:
        one.send(request(link, f"Range: bytes=0-{2 * RATE - 1}"))
        other.send(request(link, f"Range: bytes={2 * RATE}-"))
        assert (one.read_head().status, other.read_head().status) == (206, 206)
        assert objects.get(link).status == 429
        other.read_bytes(RATE // 2)
        other.reset()
        assert one.read_bytes(2 * RATE) == content[: 2 * RATE]
    least = time.monotonic() - started
    assert least >= 0.4
    places = f"dg:running:{{{token_id(token)}}}"
    wait_until(lambda: objects.store.zcard(places) == 0, "both places were given back")

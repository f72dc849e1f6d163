"""Objects published by `az://` and `gs://` addresses are served by real workers as files on disk are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import obstore
import pytest

from gateway.manifest import Manifest
from gateway.products.publishing import hash_files
from gateway.products.scanning import plan_publication
from gateway.storage.obstore.bucket import make_store
from gateway.storage.registry import Storages
from tests.support.azurite import Azurite
from tests.support.bucket_faults import Fault
from tests.support.clouds import settings_of
from tests.support.google import Google
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.publications import Published
from tests.support.waiting import wait_until

CONTENT = os.urandom(3_000_000)
OTHER = os.urandom(3_000_000)
BROKEN = ["changed", "missing"]


@dataclass
class Cloud:
    """A worker with one storage, and how tests put objects into it."""

    plane: Plane
    address: str
    table: dict[str, Any]
    put: Callable[[str, bytes], object]
    name: str = "cloud"
    """Of the storage."""

    def publish(self, key: str, content: bytes = CONTENT) -> Published:
        """Upload, and publish by the address."""
        self.put(key, content)
        storages = Storages({self.name: settings_of(self.table)}, self.plane.folder / "data", 4)
        publication = plan_publication([self.address + key], None, storages)
        manifest = hash_files(publication, storages, "kit", "1.0")
        self.plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
        return Published(Manifest.parse(manifest.text), [])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Google]:
    with Google() as running:
        yield running


@pytest.fixture(scope="module")
def on_google(upstream: Google, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    table = upstream.table()
    tables = {"cloud": table, "impatient": upstream.table(read_timeout=1, prefix="impatient")}
    with run_plane(tmp_path_factory.mktemp("google"), storage=tables) as plane:
        plane.expected += BROKEN
        yield Cloud(plane, "gs://shop/", table, upstream.put)


@pytest.fixture(scope="module")
def on_azure(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    table = azurite.table()
    store = make_store("test", settings_of(table))
    with run_plane(tmp_path_factory.mktemp("azure"), storage={"cloud": table}) as plane:
        plane.expected += BROKEN
        yield Cloud(plane, "az://kits/", table, lambda key, content: obstore.put(store, key, content))


@pytest.fixture(params=["on_google", "on_azure"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    chosen: Cloud = request.getfixturevalue(request.param)
    return chosen


def test_a_download(cloud: Cloud) -> None:
    published = cloud.publish("kits/Über & co.zip")
    link = cloud.plane.link(published, maximum=1)
    with cloud.plane.connect() as client:
        head = client.get(link, method="HEAD")
        assert (head.status, head["Content-Length"], head["ETag"]) == (200, "3000000", published.etag)
        assert client.get(link, f"If-None-Match: {published.etag}").status == 304
        answer = client.get(link)
        assert (answer.status, answer.body) == (200, CONTENT)
        assert client.get(link).code == "limit_reached"
    assert cloud.plane.charged(link) == len(CONTENT)


@pytest.mark.parametrize(
    ("field", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-2000099", 100, 2_000_100),
        ("bytes=2999999-", 2_999_999, 3_000_000),
        ("bytes=-70000", 2_930_000, 3_000_000),
    ],
)
def test_a_range(cloud: Cloud, field: str, start: int, stop: int) -> None:
    answer = cloud.plane.get(cloud.plane.link(cloud.publish("a.bin")), f"Range: {field}")
    assert (answer.status, answer["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/3000000")
    assert answer.body == CONTENT[start:stop]


def test_several_ranges(cloud: Cloud) -> None:
    link = cloud.plane.link(cloud.publish("a.bin"))
    answer = cloud.plane.get(link, "Range: bytes=0-9,1000000-1999999,-5")
    assert answer.status == 206
    boundary = answer["Content-Type"].partition("boundary=")[2].encode()
    parts = re.split(rb"\r?\n?--" + re.escape(boundary) + rb"(?:--)?\r\n", answer.body)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]]
    assert bodies == [CONTENT[:10], CONTENT[1_000_000:2_000_000], CONTENT[-5:]]


def test_an_empty_object(cloud: Cloud) -> None:
    answer = cloud.plane.get(cloud.plane.link(cloud.publish("empty.txt", b"")))
    assert (answer.status, answer["Content-Length"], answer.body) == (200, "0", b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_replaced_object_is_refused(cloud: Cloud, method: str) -> None:
    link = cloud.plane.link(cloud.publish("replaced.bin"), maximum=1)
    cloud.put("replaced.bin", OTHER)
    answer = cloud.plane.get(link, method=method)
    assert answer.status == 502
    wait_until(lambda: cloud.plane.charged(link) == 0, "what was charged is given back")


def test_an_object_replaced_meanwhile_breaks_the_download(on_google: Cloud, upstream: Google) -> None:
    link = on_google.plane.link(on_google.publish("meanwhile.bin"))
    upstream.faults.append(Fault(reset_after=1_000_000, then=None))
    with on_google.plane.connect() as client:
        upstream.faults.append(Fault(then=lambda: upstream.put("meanwhile.bin", OTHER)))
        client.send(request(link))
        assert client.read_head().status == 200
        got = client.read_until_closed()
    assert len(got) < len(CONTENT)
    assert CONTENT.startswith(got)


def test_a_storage_that_fails_is_waited_for(on_google: Cloud, upstream: Google) -> None:
    table = upstream.table(read_timeout=1, prefix="impatient")
    impatient = replace(on_google, table=table, name="impatient")
    link = on_google.plane.link(impatient.publish("impatient/fails.bin"))
    upstream.faults += [Fault(status=503), Fault(reset_after=500_000), Fault(stall_after=900_000)]
    answer = on_google.plane.get(link)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert not upstream.faults

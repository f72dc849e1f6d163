"""What is published can be served: both meet the same odd answers of storages and proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.config.storages import S3Settings
from gateway.errors import NotAsPublished, StorageError
from gateway.manifest import ManifestFile
from gateway.storage import retries
from gateway.storage.catalog import Catalog, ObjectFacts
from gateway.storage.object_storage import ObjectStorage
from gateway.storage.registry import OBJECT_TYPES
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.clouds import settings_of
from tests.support.faulty_bucket import BUCKET, Upstream
from tests.support.google import Google

CONTENT = Pattern(400_000)
KEY = "dir/a b.csv"


def _no_count(_index: int, _count: int = 1) -> None:
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)


def pair(server: Upstream, **changes: Any) -> tuple[Catalog, ObjectStorage]:
    """What publishes from a server, and what serves from it, from the same settings."""
    if isinstance(server, Google):
        table: Any = settings_of(server.table(**changes))
    else:
        given = {"bucket": BUCKET, "endpoint": server.endpoint, "anonymous": True}
        table = S3Settings(type="s3", **{**given, **changes})
    made = OBJECT_TYPES[table.type]
    return made.catalog("shop", table), made.storage("shop", table, _no_count)


def published(facts: ObjectFacts) -> ManifestFile:
    return ManifestFile(
        "n", facts.size, "t", "", "", "shop", facts.key, facts.modified, facts.etag, facts.version_id
    )


async def read(storage: ObjectStorage, file: ManifestFile, start: int, stop: int) -> bytes:
    with storage.lookup(file) as blob:
        return b"".join([data async for data in blob.chunks(start, stop)])


NO_LENGTH = Fault(fields={"Content-Length": None}, closes=True)
ODD = {
    "range as 200": (Fault(range_status=200), "", "comes whole"),
    "no ranges": (Fault(ignore_range=True), "comes whole although a range", "comes whole although a range"),
    "no length": (NO_LENGTH, "", "comes without a length"),
    "chunks": (Fault(chunked=True), "comes in chunks", "comes without a length"),
    "no date": (Fault(fields={"Last-Modified": None}), "", "comes without a modification time"),
    "no ETag": (Fault(fields={"ETag": None}), "", "comes without an ETag"),
    "neither": (
        Fault(fields={"ETag": None, "Last-Modified": None}),
        "has neither an ETag nor a version",
        "comes without",
    ),
    "weak ETag": (Fault(fields={"ETag": 'W/"a"'}), "", ""),
    "weak ETag, no date": (
        Fault(fields={"ETag": 'W/"a"', "Last-Modified": None}),
        "has neither an ETag nor a version",
        "comes without a modification time",
    ),
    "ETag without quotes": (Fault(fields={"ETag": "0123abcd"}), "", ""),
    "compressed": (
        Fault(fields={"Content-Encoding": "gzip"}),
        "Content-Encoding: gzip",
        "Content-Encoding: gzip",
    ),
    "archived": (Fault(status=403, code="InvalidObjectState"), "is archived", "is archived"),
    "archived in Azure": (Fault(status=409, code="BlobArchived"), "BlobArchived", "is archived"),
    "busy": (Fault(status=503, code="503"), "the storage answers 503", "the storage answers 503"),
    "denied": (Fault(status=403, code="AccessDenied"), "is refused", "is refused"),
    "late clock": (Fault(status=403, code="RequestTimeTooSkewed"), "clock", "clock"),
    "damaged": (Fault(garbage=b"SSH-2.0-OpenSSH\r\n\r\n"), "no status line", "cannot be read"),
}
"""What the server does, and what publishing from S3 and from Google says then; "" publishes."""


@pytest.fixture(params=["s3", "gs"])
def server(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    with Upstream() if request.param == "s3" else Google() as running:
        running.put(KEY, CONTENT)
        yield running


@pytest.mark.parametrize("name", ODD)
async def test_what_is_published_is_served_and_the_rest_is_refused_in_one_line(
    server: Upstream, name: str
) -> None:
    fault, *wanted = ODD[name]
    text = wanted[isinstance(server, Google)]
    server.always = fault
    catalog, storage = pair(server)
    if text:
        with pytest.raises(StorageError) as caught:
            list(catalog.read(catalog.stat(KEY)))
        said = str(caught.value)
        assert text in said
        assert said.startswith(f"storage shop: the object {KEY!r} ")
        assert "\n" not in said
        assert "503 503" not in said
        return
    file = published(catalog.stat(KEY))
    assert b"".join(catalog.read(catalog.stat(KEY))) == CONTENT[:]
    catalog.check(file)
    assert file.size == len(CONTENT)
    assert file.modified > 0
    assert await read(storage, file, 0, file.size) == CONTENT[:]
    assert await read(storage, file, 5, 200_005) == CONTENT[5:200_005]
    await storage.lookup(file).check()
    storage.close()


@pytest.mark.parametrize("name", ["no ranges", "chunks", "archived", "compressed"])
def test_stored_digests_do_not_hide_it(name: str) -> None:
    """As with --trust, where no content is read."""
    with Upstream() as server:
        server.put(KEY, CONTENT)
        server.always = replace(ODD[name][0], fields={**ODD[name][0].fields, "x-amz-meta-sha256": "0" * 64})
        with pytest.raises(StorageError, match=ODD[name][1]):
            pair(server)[0].stat(KEY)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(status=403, code="InvalidObjectState"), "is archived"),
        (Fault(ignore_range=True), "comes whole although a range"),
        (Fault(fields={"ETag": None}), "comes without"),
        (Fault(fields={"Last-Modified": None, "ETag": None}), "comes without"),
    ],
)
async def test_check_and_a_download_say_the_same_of_what_came_later(
    server: Upstream, fault: Fault, text: str
) -> None:
    catalog, storage = pair(server)
    file = published(catalog.stat(KEY))
    server.always = fault
    said = []
    with pytest.raises(StorageError, match=text) as caught:
        catalog.check(file)
    said.append(str(caught.value))
    with pytest.raises(StorageError, match=text) as caught:
        await storage.lookup(file).check()
    said.append(str(caught.value))
    assert said[0] == said[1]
    assert "keys are right" not in said[0]
    storage.close()


def without_bytes(content_range: str | None) -> Fault:
    """A 206 without bytes, and what it says of the range."""
    fields = {"ETag": '"e"', "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT", "Content-Length": "0"}
    return Fault(status=206, fields={**fields, "Content-Range": content_range}, short_after=0, closes=True)


NO_FIRST_BYTE = {
    "416": Fault(),
    "whole": Fault(ignore_range=True),
    "206 as of Azurite": without_bytes("bytes 0--1/0"),
    "206 unsatisfied": without_bytes("bytes */0"),
    "206 of a byte that is none": without_bytes("bytes 0-0/0"),
    "206 without a range": without_bytes(None),
}
"""What storages answer when the first byte of an empty object is asked for."""


@pytest.mark.parametrize("name", NO_FIRST_BYTE)
async def test_an_empty_object(server: Upstream, name: str) -> None:
    server.put("empty", b"")
    catalog, storage = pair(server)
    server.faults.append(NO_FIRST_BYTE[name])
    facts = catalog.stat("empty")
    assert not server.faults
    assert facts.size == 0
    assert facts.etag == server.objects["empty"].etag
    assert list(catalog.read(facts)) == []
    catalog.check(published(facts))
    await storage.lookup(published(facts)).check()
    assert await read(storage, published(facts), 0, 0) == b""
    storage.close()


@pytest.mark.parametrize(
    "name", ["416", "206 as of Azurite", "206 unsatisfied", "206 of a byte that is none"]
)
async def test_an_object_that_became_empty_has_changed(server: Upstream, name: str) -> None:
    """Also where the request is not pinned, for want of a strong ETag."""
    server.put(KEY, CONTENT, etag='W/"a"')
    catalog, storage = pair(server)
    file = published(catalog.stat(KEY))
    server.put(KEY, b"", etag='W/"b"')
    server.faults.append(NO_FIRST_BYTE[name])
    with pytest.raises(NotAsPublished, match="has changed since it was published"):
        await storage.lookup(file).check()
    server.faults.append(NO_FIRST_BYTE[name])
    with pytest.raises(NotAsPublished, match="has changed since it was published"):
        await read(storage, file, 5, 10)
    storage.close()


async def test_a_storage_that_gives_no_range_of_bytes_that_are_there(server: Upstream) -> None:
    server.faults.append(Fault(status=416))
    with pytest.raises(StorageError, match=r"answers 416|comes whole although a range was asked for"):
        pair(server)[0].stat(KEY)


def test_an_object_of_one_byte(server: Upstream) -> None:
    server.put("one", b"x")
    catalog, _ = pair(server)
    facts = catalog.stat("one")
    assert facts.size == 1
    assert b"".join(catalog.read(facts)) == b"x"
    catalog.check(published(facts))


@pytest.mark.parametrize("make", [Upstream, Google])
async def test_an_ipv6_address_is_an_endpoint(make: Callable[..., Upstream]) -> None:
    with make(host="::1") as server:
        server.put(KEY, CONTENT)
        catalog, storage = pair(server)
        assert catalog.check_root() == ""
        assert list(catalog.list("dir/")) == [KEY]
        file = published(catalog.stat(KEY))
        catalog.check(file)
        assert await read(storage, file, 5, 200_005) == CONTENT[5:200_005]
        assert server.requests[-1].fields["host"] == f"[::1]:{server.port}"
        storage.close()


@pytest.mark.parametrize("make", [Upstream, Google])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_proxies_of_the_environment_are_not_used(
    make: Callable[..., Upstream], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with make() as server:
        server.put(KEY, CONTENT)
        endpoint = server.endpoint.replace("127.0.0.1", host)
        assert pair(server, endpoint=endpoint)[0].stat(KEY).size == len(CONTENT)
    with pytest.raises(StorageError, match="the proxy of https_proxy is not used"):
        pair(server, endpoint=endpoint)[0].stat(KEY)


def test_an_anonymous_bucket_is_asked_without_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Upstream() as server:
        server.put(KEY, CONTENT)
        catalog, storage = pair(server, delivery="redirect")
        assert catalog.check_root() == ""
        file = published(catalog.stat(KEY))
        assert not any("authorization" in asked.fields for asked in server.requests)
        assert storage.handoff(file, "t", "d") == f"{server.endpoint}/{BUCKET}/dir/a%20b.csv"
        pair(server, anonymous=False)[0].check_root()
        assert "AKENVIRONMENT" in server.requests[-1].fields["authorization"]

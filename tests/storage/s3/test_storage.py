"""Blobs of a bucket: how they are checked, signed and redirected to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_REQUESTS
from gateway.storage import object_storage as objects
from gateway.storage import retries
from gateway.storage.s3.credentials import Credentials
from gateway.storage.s3.storage import S3Storage
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import Counted, Make, read

CONTENT = Pattern(100_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)


async def test_a_blob_needs_no_asking(upstream: Upstream, make: Make, counted: Counted) -> None:
    file = upstream.put("a", CONTENT)
    storage = make()
    with storage.lookup(file) as blob, storage.open(file) as same:
        assert blob.size == same.size == len(CONTENT)
        assert blob.as_file is None
        assert blob.as_object is blob
        blob.acquire().release()
    assert counted[UPSTREAM_REQUESTS] == 0
    assert b"".join([piece async for piece in blob.chunks(5, 99_999)]) == CONTENT[5:99_999]
    assert [piece async for piece in blob.chunks(5, 5)] == []


# Checks.


async def test_a_check_is_remembered_and_shared(
    upstream: Upstream, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = upstream.put("a", CONTENT, version="v 1/+")
    storage = make()
    await asyncio.gather(*(storage.lookup(file).check() for _ in range(20)))
    await storage.lookup(file).check()
    (asked,) = upstream.requests
    assert (asked.method, asked.range, asked.fields["if-match"]) == ("GET", "bytes=0-0", file.etag)
    assert asked.target == "/shop/a?versionId=v%201%2F%2B"
    monkeypatch.setattr(objects, "CHECKED_SECONDS", 0.0)
    await storage.lookup(file).check()
    assert len(upstream.requests) == 2


async def test_reading_is_a_check(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    storage = make()
    assert await read(storage, file, 0, 1)
    await storage.lookup(file).check()
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [404, 412, 403])
async def test_a_read_that_fails_ends_what_a_check_is_remembered(
    upstream: Upstream, make: Make, status: int
) -> None:
    """A download that is 502 and a HEAD after it say the same."""
    file = upstream.put("a", CONTENT)
    storage = make()
    await storage.lookup(file).check()
    upstream.always = Fault(status=status)
    for look in (read(storage, file, 0, 1), storage.lookup(file).check()):
        with pytest.raises(StorageError):
            await look


async def test_checks_remember_a_bounded_number(
    upstream: Upstream, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "CHECKED_OBJECTS", 2)
    storage = make()
    files = [upstream.put(name, CONTENT) for name in "abc"]
    for file in (*files, files[2], files[1], files[0]):
        await storage.lookup(file).check()
    assert len(upstream.requests) == 4


async def test_the_first_of_two_checks_may_be_cancelled(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults.append(Fault(pieces=20))
    blob = make().lookup(file)
    first, second = (asyncio.create_task(blob.check()) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await second
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=404), "is missing"),
        (Fault(status=412), "has changed"),
        (Fault(fields={"ETag": '"other"'}), "has changed"),
        (Fault(fields={"Content-Range": "bytes 0-0/5"}), "has changed"),
        (Fault(status=403, code="InvalidObjectState"), "is archived"),
        (Fault(ignore_range=True), "comes whole although a range was asked for"),
        (Fault(chunked=True), "comes in chunks"),
        (Fault(status=403), "is refused"),
        (Fault(status=503), "cannot be read after 4 tries"),
        (Fault(before_head="close"), "cannot be read after 4 tries"),
    ],
)
async def test_a_check_says_what_is_wrong_and_forgets_it(
    upstream: Upstream, make: Make, fault: Fault, message: str
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.always = fault
    blob = make().lookup(file)
    with pytest.raises(StorageError, match=f"the object 'a' {message}"):
        await blob.check()
    upstream.always = Fault()
    await blob.check()


async def test_without_an_etag_the_version_is_read(upstream: Upstream, make: Make) -> None:
    file = replace(upstream.put("a", CONTENT, version="v1"), etag="")
    storage = make()
    assert await read(storage, file, 0, 5) == CONTENT[:5]
    assert "if-match" not in upstream.requests[0].fields
    upstream.put("a", Pattern(100_000, seed=1), version="v2")
    with pytest.raises(StorageError, match="is not there in the version that was published"):
        await read(storage, file)


async def test_without_etag_and_version_the_time_counts(upstream: Upstream, make: Make) -> None:
    file = replace(upstream.put("a", CONTENT), etag="")
    storage = make()
    assert await read(storage, file, 0, 5) == CONTENT[:5]
    upstream.put("a", Pattern(100_000, seed=1), modified=1_700_000_001)
    with pytest.raises(StorageError, match="another modification time"):
        await read(storage, file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "\ud800"}, "key that is not valid text"),
        ({"version_id": "\ud800"}, "key that is not valid text"),
    ],
)
async def test_what_cannot_be_asked_for(
    upstream: Upstream, make: Make, changes: dict[str, Any], message: str
) -> None:
    file = replace(upstream.put("a", CONTENT), **changes)
    with pytest.raises(StorageError, match=message):
        await read(make(), file)
    assert upstream.requests == []


# Credentials.


class Keys:
    """Implements CredentialSource: hands out what the test gives it."""

    def __init__(self, *found: Credentials) -> None:
        self.found = list(found)
        self.current: Credentials | None = None
        self.fetched: list[Credentials | None] = []

    def now(self) -> Credentials | None:
        return self.current

    def fetch(self, refused: Credentials | None = None) -> Credentials:
        self.fetched.append(refused)
        if len(self.found) > 0:
            self.current = self.found.pop(0)
        assert self.current is not None
        return self.current


OLD = Credentials("AKOLD", "secret-1", "session-1")
NEW = Credentials("AKNEW", "secret-2")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "ExpiredToken"), (401, "")])
async def test_refused_keys_are_fetched_anew_once(
    upstream: Upstream, make: Make, status: int, code: str
) -> None:
    file = upstream.put("a", CONTENT)
    keys = Keys(OLD, NEW)
    storage = make(credentials=lambda: keys)
    upstream.faults += [Fault(reset_after=50_000), Fault(status=status, code=code)]
    assert await read(storage, file) == CONTENT[:]
    assert keys.fetched == [None, OLD]
    used = [asked.fields["authorization"].partition("Credential=")[2][:5] for asked in upstream.requests]
    assert used == ["AKOLD", "AKOLD", "AKNEW"]
    sessions = [asked.fields.get("x-amz-security-token") for asked in upstream.requests]
    assert sessions == ["session-1", "session-1", None]
    upstream.always = Fault(status=status, code=code)
    with pytest.raises(StorageError, match=rf"is refused \({status}"):
        await read(storage, file)
    assert keys.fetched == [None, OLD, NEW]
    assert len(upstream.requests) == 4


async def test_without_keys_the_error_says_so(upstream: Upstream, make: Make) -> None:
    class NoKeys(Keys):
        def fetch(self, refused: Credentials | None = None) -> Credentials:
            raise StorageError("storage s3: there are no keys")

    file = upstream.put("a", CONTENT)
    storage = make(credentials=NoKeys)
    for asking in (read(storage, file), storage.lookup(file).check()):
        with pytest.raises(StorageError, match="there are no keys"):
            await asking


async def test_keys_with_a_line_break_are_not_sent(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    storage = make(credentials=lambda: Keys(Credentials("AK", "s", "token\r\nX-Evil: 1")))
    with pytest.raises(StorageError, match="line break") as caught:
        await read(storage, file)
    assert "X-Evil" not in str(caught.value)
    assert upstream.requests == []


async def test_no_secret_is_in_an_error_or_the_log(
    upstream: Upstream, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(reset_after=5), Fault(status=503), Fault(status=403), Fault(status=403)]
    storage = make(credentials=lambda: Keys(OLD, NEW))
    with pytest.raises(StorageError) as caught:
        await read(storage, file)
    shown = f"{caught.value!r} {caught.value.__context__!r} {caplog.text} {storage!r} {vars(storage)!r}"
    for secret in ("secret-1", "secret-2", "session-1", "AKOLD", "AKNEW"):
        assert secret not in shown


# Hand-off.


def test_a_url_for_the_client() -> None:
    with Upstream() as upstream:
        file = upstream.put("dir/a b", CONTENT, version="v+1")
        keys = Keys()
        storage = S3Storage(
            upstream.bucket(credentials=lambda: keys, redirect=True, redirect_ttl=77), lambda *_: None
        )
        assert storage.redirects
        assert storage.handoff(file, "text/plain", "attachment") is None
        keys.current = OLD
        url = storage.handoff(file, "text/plain", 'attachment; filename="a b"')
        assert url is not None
        assert "secret-1" not in url
        split = urlsplit(url)
        assert (split.scheme, split.netloc, split.path) == (
            "http", f"127.0.0.1:{upstream.port}", "/shop/dir/a%20b"
        )  # fmt: skip
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        assert query["response-content-disposition"] == 'attachment; filename="a b"'
        assert query["response-content-type"] == "text/plain"
        assert query["response-cache-control"] == "private, no-store"
        assert query["versionId"] == "v+1"
        assert query["X-Amz-Expires"] == "77"
        assert query["X-Amz-Security-Token"] == "session-1"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"host": "b.s3.test", "port": 443, "tls": True, "path": "/"}, "https://b.s3.test/k"),
        ({"host": "s3.test", "port": 80, "path": "/b/p/"}, "http://s3.test/b/p/k"),
        ({"host": "::1", "port": 9000, "path": "/b/"}, "http://[::1]:9000/b/k"),
    ],
)
def test_where_a_bucket_is(changes: dict[str, Any], place: str) -> None:
    with Upstream() as upstream:
        file = replace(upstream.put("k", CONTENT), version_id="")
        storage = S3Storage(upstream.bucket(**changes), lambda *_: None)
        assert storage.handoff(file, "t", "d") == place  # without keys: a public bucket

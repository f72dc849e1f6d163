"""Objects that were stored again: the same bytes under another ETag, version or time, of both clients."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.errors import NotAsPublished, StorageError, StorageUnreachable
from gateway.manifest import ManifestFile
from gateway.storage import adoption as module
from gateway.storage import retries
from gateway.storage.adoption import Adoption, NotCompared
from gateway.storage.catalog import ObjectMissing
from gateway.storage.object_storage import ObjectStorage
from gateway.storage.obstore.bucket import make_store
from gateway.storage.obstore.storage import CloudStorage
from gateway.storage.s3.credentials import Credentials, GivenCredentials
from gateway.storage.s3.storage import S3Storage
from tests.support.bucket_faults import Fault
from tests.support.clouds import settings_of
from tests.support.faulty_bucket import Upstream
from tests.support.google import Google
from tests.support.waiting import until

CONTENT = os.urandom(3_000_000)
PUBLISHED_ETAG = '"0123456789abcdef-2"'
OTHER_ETAG = '"fedcba9876543210-3"'


@dataclass
class Case:
    """A server, and how a worker makes its storage: each call is another worker."""

    server: Upstream
    worker: Callable[[], ObjectStorage]

    def publish(self, content: bytes = CONTENT, version: str = "") -> ManifestFile:
        file = self.server.put("a", content, PUBLISHED_ETAG, version=version)
        return replace(file, sha256=hashlib.sha256(content).hexdigest())


def _no_count(_index: int, _count: int) -> None:
    pass


@pytest.fixture(params=["s3", "gs"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Case]:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    made: list[ObjectStorage] = []
    with Upstream() if request.param == "s3" else Google() as server:

        def worker() -> ObjectStorage:
            storage: ObjectStorage
            if isinstance(server, Google):
                storage = CloudStorage("gs", make_store("gs", settings_of(server.table())), "", _no_count)
            else:
                storage = S3Storage(server.bucket(), _no_count)
            storage.adoption = Adoption(storage, tmp_path / "adopted")
            made.append(storage)
            return storage

        yield Case(server, worker)
        for each in made:
            each.close()


async def read(storage: ObjectStorage, file: ManifestFile, start: int = 0, stop: int | None = None) -> bytes:
    with storage.lookup(file) as blob:
        return b"".join([data async for data in blob.chunks(start, file.size if stop is None else stop)])


@pytest.mark.parametrize(
    ("published", "now", "etag"),
    [("", "", OTHER_ETAG), ("1", "2", PUBLISHED_ETAG), ("1", "", PUBLISHED_ETAG), ("1", "7", OTHER_ETAG)],
    ids=["another part size", "a copy with versions", "a bucket without versions", "all is other"],
)
async def test_the_same_bytes_are_served_and_compared_once(
    case: Case, published: str, now: str, etag: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = case.publish(version=published)
    case.server.put("a", CONTENT, etag, modified=1_800_000_000, version=now)
    storage = case.worker()
    assert await read(storage, file) == CONTENT
    assert "it is the same, so the object is served" in caplog.text
    case.server.sent = 0
    assert await read(storage, file, 5, 10) == CONTENT[5:10]
    await storage.lookup(file).check()
    assert await read(case.worker(), file, 5, 10) == CONTENT[5:10], "another worker, or after a restart"
    assert case.server.sent < 100_000
    caplog.clear()
    await case.worker().verify(file)
    assert caplog.text == ""


async def test_without_a_fault_nothing_is_compared(case: Case) -> None:
    file = case.publish()
    storage = case.worker()
    assert await read(storage, file, 5, 10) == CONTENT[5:10]
    assert len(case.server.requests) == 1
    assert storage.adoption is not None
    assert storage.adoption.known == {}


async def test_other_bytes_are_refused_and_read_once(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    file = case.publish()
    case.server.put("a", CONTENT[::-1], OTHER_ETAG)
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.0)
    storage = case.worker()
    for each in (storage, storage, case.worker()):
        with pytest.raises(NotAsPublished, match="has changed since it was published"):
            await read(each, file)
        if each is storage:
            case.server.sent = min(case.server.sent, len(CONTENT) + 1000)
    assert case.server.sent < len(CONTENT) + 100_000
    for verify in (case.worker().verify, storage.verify):
        with pytest.raises(NotAsPublished):
            await verify(file)
    case.server.put("a", CONTENT, PUBLISHED_ETAG)
    assert await read(storage, file) == CONTENT, "the published object was put back"


async def test_an_object_that_is_refused_is_not_asked_about_at_each_request(case: Case) -> None:
    file = case.publish()
    case.server.put("a", CONTENT[::-1], OTHER_ETAG)
    storage = case.worker()
    for _ in range(5):
        with pytest.raises(NotAsPublished):
            await read(storage, file)
    asked = len(case.server.requests)
    with pytest.raises(NotAsPublished):
        await read(storage, file)
    assert len(case.server.requests) == asked + 1


@pytest.mark.parametrize("size", [0, 1, len(CONTENT) - 1, len(CONTENT) + 1])
async def test_another_size_is_not_compared(case: Case, size: int) -> None:
    file = case.publish()
    case.server.put("a", (CONTENT * 2)[:size], OTHER_ETAG)
    with pytest.raises(NotAsPublished, match="has changed"):
        await read(case.worker(), file)
    assert case.server.sent < 10_000


async def test_a_missing_object_is_missing(case: Case) -> None:
    file = case.publish(version="1")
    del case.server.objects["a"]
    with pytest.raises(ObjectMissing, match="is missing"):
        await read(case.worker(), file)


async def test_many_workers_and_requests_read_it_once(case: Case) -> None:
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    workers = [case.worker() for _ in range(4)]
    spans = await asyncio.gather(*(read(each, file, 5, 10) for each in workers for _ in range(10)))
    assert set(spans) == {CONTENT[5:10]}
    assert case.server.sent < len(CONTENT) + 200_000


async def test_a_request_does_not_wait_for_ever(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    case.server.always = Fault(rate=4_000_000)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    storage = case.worker()
    with pytest.raises(StorageUnreachable, match="its SHA-256 is being compared with the published one"):
        await read(storage, file, 5, 10)
    assert storage.adoption is not None
    await until(lambda: bool(storage.adoption and storage.adoption.known))
    assert await read(storage, file, 5, 10) == CONTENT[5:10]


async def test_where_nothing_can_be_written_each_worker_compares(case: Case, tmp_path: Path) -> None:
    (tmp_path / "adopted").write_text("a file, not a folder")
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    for _ in range(2):
        assert await read(case.worker(), file) == CONTENT
    assert case.server.sent > 3 * len(CONTENT)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"identity": 5}', b'{"same": true}'])
async def test_a_damaged_record_is_no_record(case: Case, tmp_path: Path, damage: bytes) -> None:
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    assert await read(case.worker(), file, 0, 5) == CONTENT[:5]
    [record] = (tmp_path / "adopted").iterdir()
    record.write_bytes(damage)
    assert await read(case.worker(), file, 0, 5) == CONTENT[:5]


async def test_what_cannot_be_compared_is_tried_again_after_a_pause(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    monkeypatch.setattr(module, "FIRST_PAUSE", 60.0)
    storage = case.worker()
    refused = [Fault(status=403)] * (2 if storage.older(file) else 1)
    case.server.faults += [Fault(), *refused]  # the version named null and the description fail
    with pytest.raises(StorageError, match="is refused"):
        await read(storage, file)
    asked = len(case.server.requests)
    with pytest.raises(NotAsPublished):
        await read(storage, file)
    assert len(case.server.requests) == asked + 1
    assert await read(case.worker(), file) == CONTENT


async def test_check_does_not_read_large_objects_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    file = case.publish()
    case.server.put("a", CONTENT, OTHER_ETAG)
    monkeypatch.setattr(module, "SMALL_BYTES", 1000)
    with pytest.raises(NotCompared, match="the next download reads its 3000000 bytes once"):
        await case.worker().verify(file)
    assert case.server.sent < 100_000
    assert await read(case.worker(), file, 0, 5) == CONTENT[:5]
    await case.worker().verify(file)


async def test_a_redirect_leads_to_the_version_that_was_adopted(tmp_path: Path) -> None:
    keys = GivenCredentials(Credentials("AK", "secret"))
    with Upstream() as server:
        storage = S3Storage(server.bucket(credentials=lambda: keys, redirect=True), _no_count)
        storage.adoption = Adoption(storage, tmp_path / "adopted")
        file = Case(server, lambda: storage).publish(version="1")
        server.put("a", CONTENT, OTHER_ETAG, version="2")
        await storage.lookup(file).check()
        url = storage.handoff(file, "text/plain", "attachment")
        assert url is not None
        assert parse_qs(urlsplit(url).query)["versionId"] == ["2"]
        storage.close()

"""What Swift cannot do, on moto: archive classes, versions switched on later, encodings, ETags of parts."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.cli.checks.storages import check_blobs
from gateway.errors import ConfigurationError, NotAsPublished, StorageError
from gateway.manifest import Manifest
from gateway.products.publishing import hash_files
from gateway.products.scanning import plan_publication
from gateway.storage.adoption import Adoption
from gateway.storage.registry import Storages
from gateway.storage.s3.bucket import make_bucket
from gateway.storage.s3.storage import S3Storage
from tests.support.buckets import S3Server
from tests.support.moto import SMALLEST_PART, run_moto
from tests.support.s3_storage import read
from tests.support.shop import Shop

CONTENT = os.urandom(50_000)
OTHER = os.urandom(50_000)


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with run_moto() as server:
        yield server


@pytest.fixture
def shop(moto: S3Server) -> Shop:
    return Shop(moto)


@pytest.fixture
def storages(shop: Shop, tmp_path: Path) -> Storages:
    return Storages({"shop": shop.table()}, tmp_path / "data", 4)


@pytest.fixture
async def served(shop: Shop, tmp_path: Path) -> AsyncIterator[S3Storage]:
    """The bucket, as a worker reads it."""
    storage = S3Storage(make_bucket("shop", shop.table()), lambda _index, _count: None)
    storage.adoption = Adoption(storage, tmp_path / "adopted")
    yield storage
    storage.close()


def publish(storages: Storages, shop: Shop, key: str = "a.bin", *, trust: bool = False) -> Manifest:
    publication = plan_publication([shop.address(key)], None, storages)
    return hash_files(publication, storages, "p", "1", trust=trust)


def store(shop: Shop, content: bytes, key: str = "a.bin", **fields: str) -> None:
    shop.server.client.put_object(Bucket=shop.bucket, Key=key, Body=content, **fields)


def version(shop: Shop, state: str) -> None:
    shop.server.client.put_bucket_versioning(Bucket=shop.bucket, VersioningConfiguration={"Status": state})


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("kind", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_not_published(storages: Storages, shop: Shop, kind: str, trust: bool) -> None:
    digests = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "crc32": "0" * 8}
    shop.server.client.put_object(
        Bucket=shop.bucket, Key="a.bin", Body=CONTENT, StorageClass=kind, Metadata=digests
    )
    with pytest.raises(ConfigurationError) as caught:
        publish(storages, shop, trust=trust)
    [fault] = caught.value.faults
    assert "is archived (403 InvalidObjectState): restore it" in fault


@pytest.mark.parametrize("kind", ["STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING"])
async def test_classes_that_can_be_read_at_once(
    storages: Storages, shop: Shop, served: S3Storage, kind: str
) -> None:
    store(shop, CONTENT, StorageClass=kind)
    [file] = publish(storages, shop).files
    assert await read(served, file, 10, 20) == CONTENT[10:20]


async def test_an_object_that_was_archived_afterwards_and_restored(
    storages: Storages, shop: Shop, served: S3Storage
) -> None:
    store(shop, CONTENT)
    manifest = publish(storages, shop)
    shop.server.client.copy_object(
        Bucket=shop.bucket, Key="a.bin", CopySource=f"{shop.bucket}/a.bin", StorageClass="GLACIER"
    )
    with pytest.raises(StorageError, match=r"is archived \(403 InvalidObjectState\): restore it"):
        await read(served, manifest.files[0])
    [finding] = check_blobs([manifest], storages)
    assert "is archived" in finding.line
    assert "put the published file back" not in finding.line
    shop.server.client.restore_object(Bucket=shop.bucket, Key="a.bin", RestoreRequest={"Days": 1})
    assert await read(served, manifest.files[0]) == CONTENT


async def test_versions_that_are_switched_on_later(storages: Storages, shop: Shop, served: S3Storage) -> None:
    store(shop, CONTENT)
    [plain] = publish(storages, shop).files
    assert plain.version_id == ""
    version(shop, "Enabled")
    assert await read(served, plain, 5, 50) == CONTENT[5:50]
    store(shop, CONTENT)  # the same bytes as a version of its own
    assert await read(served, plain) == CONTENT
    [pinned] = publish(storages, shop).files
    assert pinned.version_id not in ("", "null")
    store(shop, OTHER)
    assert await read(served, pinned) == CONTENT
    await served.check(plain)
    assert await read(served, plain, 5, 50) == CONTENT[5:50], "S3 keeps it as the version named null"
    assert "versionId=null" in (served.handoff(plain, "a/b", "attachment") or "")
    [finding] = check_blobs([Manifest("p", "1", (plain,))], storages)
    assert "all as they were published" in finding.line
    shop.server.delete(shop.bucket, "a.bin", "null")
    with pytest.raises(NotAsPublished, match=r"has changed|is not there in the version"):
        await read(served, plain)


async def test_an_object_replaced_in_a_bucket_without_versions(
    storages: Storages, shop: Shop, served: S3Storage
) -> None:
    store(shop, CONTENT)
    [file] = publish(storages, shop).files
    store(shop, OTHER)
    with pytest.raises(NotAsPublished, match="has changed since it was published"):
        await read(served, file)


async def test_a_version_that_was_removed_and_stored_again(
    storages: Storages, shop: Shop, served: S3Storage
) -> None:
    version(shop, "Enabled")
    store(shop, CONTENT)
    [file] = publish(storages, shop).files
    shop.server.delete(shop.bucket, "a.bin", file.version_id)
    store(shop, CONTENT)
    assert await read(served, file) == CONTENT, "it is adopted by its SHA-256"


async def test_objects_with_an_encoding(storages: Storages, shop: Shop, served: S3Storage) -> None:
    packed = gzip.compress(CONTENT)
    store(shop, packed, "table.csv", ContentEncoding="gzip")
    store(shop, packed, "table.csv.gz", ContentEncoding="gzip")
    with pytest.raises(ConfigurationError) as caught:
        publish(storages, shop, "table.csv")
    [fault] = caught.value.faults
    assert "table.csv" in fault
    assert "is stored compressed (Content-Encoding: gzip)" in fault
    [file] = publish(storages, shop, "table.csv.gz").files
    assert await read(served, file) == packed


@pytest.mark.slow
async def test_etags_of_parts(storages: Storages, shop: Shop, served: S3Storage) -> None:
    content = os.urandom(2 * SMALLEST_PART + 1000)
    parts = (
        content[:SMALLEST_PART],
        content[SMALLEST_PART : 2 * SMALLEST_PART],
        content[2 * SMALLEST_PART :],
    )
    shop.server.put_multipart(shop.bucket, "a.bin", *parts)
    [file] = publish(storages, shop).files
    assert file.etag.endswith('-3"')
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    middle = slice(SMALLEST_PART - 10, SMALLEST_PART + 10)
    assert await read(served, file, middle.start, middle.stop) == content[middle]
    shop.server.put_multipart(
        shop.bucket, "a.bin", content[: SMALLEST_PART + 7], content[SMALLEST_PART + 7 :]
    )
    assert shop.server.head(shop.bucket, "a.bin").etag.endswith('-2"')
    assert await read(served, file, middle.start, middle.stop) == content[middle], "copied in other parts"

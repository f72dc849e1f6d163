"""The catalogue of a bucket on a real S3 server: facts, folders, contents, and the errors of each."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config.storages import S3Settings
from gateway.errors import NotAsPublished, StorageError
from gateway.manifest import ManifestFile
from gateway.storage import object_catalog as module
from gateway.storage.catalog import ObjectFacts, ObjectMissing
from gateway.storage.s3.bucket import make_bucket
from gateway.storage.s3.catalog import S3Catalog
from gateway.storage.s3.describing import stored_digests
from tests.support.buckets import SECRET_KEY
from tests.support.shop import Shop

CONTENT = os.urandom(3 * module.READ_BYTES + 17)


def catalog(table: S3Settings) -> S3Catalog:
    return S3Catalog(make_bucket("shop", table), table)


@pytest.fixture
def looked(shop: Shop) -> S3Catalog:
    return catalog(shop.table())


def published(facts: ObjectFacts) -> ManifestFile:
    return ManifestFile(
        "n", facts.size, "t", "", "", "shop", facts.key, facts.modified, facts.etag, facts.version_id
    )


def test_facts(shop: Shop, looked: S3Catalog) -> None:
    shop.put("a/ü +%.bin", CONTENT)
    facts = looked.stat("a/ü +%.bin")
    etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert (facts.key, facts.size, facts.etag, facts.version_id) == ("a/ü +%.bin", len(CONTENT), etag, "")
    assert facts.modified > 1_600_000_000 * 10**9
    assert (facts.sha256, facts.crc32) == ("", "")
    assert looked.check_root() == ""


def test_no_log_has_a_secret(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.put("a", b"a")  # botocore's client of the tests logs what it signs
    caplog.set_level(logging.DEBUG)
    catalog(shop.table(session_token="hunter2")).check_root()
    assert "hunter2" not in caplog.text
    assert "Signature=" not in caplog.text
    assert SECRET_KEY not in caplog.text


@pytest.mark.slow
def test_versions(versioned: Shop) -> None:
    looked = catalog(versioned.table())
    version = versioned.put("a", b"one").version_id
    first = looked.stat("a")
    assert version
    assert first.version_id == version
    other = versioned.put("a", b"three").version_id
    assert looked.stat("a").version_id == other
    assert b"".join(looked.read(first)) == b"one", "the version that was described"
    looked.check(published(first))


def test_digests_that_the_uploader_stored(shop: Shop, looked: S3Catalog) -> None:
    digests = {"sha256": hashlib.sha256(CONTENT).hexdigest().upper(), "crc32": f"{zlib.crc32(CONTENT):08x}"}
    shop.put("good", CONTENT, **digests)
    shop.put("bad", CONTENT, sha256="abc", crc32="not hex!")
    good, bad = looked.stat("good"), looked.stat("bad")
    assert (good.sha256, good.crc32) == (digests["sha256"].lower(), digests["crc32"])
    assert (bad.sha256, bad.crc32) == ("", "")


SHA256 = hashlib.sha256(CONTENT).digest()
CRC32 = zlib.crc32(CONTENT).to_bytes(4, "big")


B64_SHA256 = base64.b64encode(SHA256).decode()
B64_CRC32 = base64.b64encode(CRC32).decode()


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ("", "")),
        ({"x-amz-checksum-sha256": B64_SHA256}, (SHA256.hex(), "")),
        ({"x-amz-checksum-crc32": B64_CRC32, "x-amz-checksum-type": "FULL_OBJECT"}, ("", CRC32.hex())),
        ({"x-amz-checksum-sha256": B64_SHA256, "x-amz-checksum-type": "COMPOSITE"}, ("", "")),
        ({"x-amz-checksum-sha256": f"{B64_SHA256}-3"}, ("", "")),
        ({"x-amz-checksum-sha256": B64_CRC32}, ("", "")),
        ({"x-amz-checksum-sha256": "ä"}, ("", "")),
        ({"x-amz-checksum-sha256": "", "x-amz-meta-sha256": SHA256.hex()}, (SHA256.hex(), "")),
        ({"x-amz-checksum-sha256": B64_SHA256, "x-amz-meta-sha256": "0" * 64}, (SHA256.hex(), "")),
    ],
)
def test_stored_checksums(fields: dict[str, str], wanted: tuple[str, str]) -> None:
    """As AWS sends them; the server of the tests does not."""
    assert stored_digests(fields) == wanted


@pytest.mark.slow
def test_folders(shop: Shop) -> None:
    for number in range(3):
        shop.put(f"in/a{number}", b"x")
    shop.put("in/deep/ü&<b>", b"x")
    shop.put("in/deep/", b"")
    shop.put("inside", b"x")
    looked = catalog(shop.table())
    assert list(looked.list("in/")) == ["in/a0", "in/a1", "in/a2", "in/deep/ü&<b>"]
    assert list(looked.list("")) == ["in/a0", "in/a1", "in/a2", "in/deep/ü&<b>", "inside"]
    assert list(looked.list("none/")) == []
    below = catalog(shop.table(prefix="in"))
    assert below.root == shop.address("in/")
    assert list(below.list("")) == ["a0", "a1", "a2", "deep/ü&<b>"]
    assert below.stat("a1").size == 1


def test_contents(shop: Shop, looked: S3Catalog) -> None:
    shop.put("a", CONTENT)
    shop.put("empty", b"")
    assert b"".join(looked.read(looked.stat("a"))) == CONTENT
    assert b"".join(looked.read(looked.stat("empty"))) == b""


@pytest.mark.slow
def test_what_changed_is_not_read(shop: Shop, looked: S3Catalog) -> None:
    shop.put("a", CONTENT)
    facts = looked.stat("a")
    looked.check(published(facts))
    shop.put("a", CONTENT[::-1])
    with pytest.raises(StorageError, match="'a' has changed"):
        list(looked.read(facts))
    with pytest.raises(NotAsPublished, match=r"'a' has changed .*; its SHA-256 is another, too"):
        looked.check(published(facts))
    with pytest.raises(StorageError, match="'a' has changed since it was published"):
        looked.check(replace(published(looked.stat("a")), size=3))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["another bucket", "versions later", "another part size"])
def test_the_same_bytes_that_were_stored_again_are_as_published(shop: Shop, how: str, tmp_path: Path) -> None:
    """On a real server: the catalog compares as a worker does, and keeps the result for both."""
    parts = (os.urandom(5 << 20), os.urandom(100))
    content = b"".join(parts)
    shop.put("a", content)
    file = replace(published(catalog(shop.table()).stat("a")), sha256=hashlib.sha256(content).hexdigest())
    table = shop.table()
    if how == "another bucket":
        other = Shop(shop.server, versions=True)
        other.put("a", content)
        file = replace(file, version_id="1764300000.00000")
        table = other.table()
    elif how == "versions later":
        enabled = {"Status": "Enabled"}
        shop.server.client.put_bucket_versioning(Bucket=shop.bucket, VersioningConfiguration=enabled)
        shop.put("a", content)
    else:
        shop.server.put_multipart(shop.bucket, "a", *parts)
    for _ in range(2):
        looked = catalog(table)
        looked.adopted = tmp_path / "adopted"
        looked.check(file)
    assert len(list(tmp_path.glob("adopted/*"))) == (how != "versions later")


def test_what_is_not_there(shop: Shop, looked: S3Catalog) -> None:
    for ask in (lambda: looked.stat("a/b"), lambda: list(looked.read(ObjectFacts("a/b", 1, 0, '"x"')))):
        with pytest.raises(ObjectMissing, match="storage shop: the object 'a/b' is missing"):
            ask()


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (
            {"bucket": "nope-nope"},
            "s3://nope-nope/ is in a bucket that does not exist (404 NoSuchBucket): correct",
        ),
        ({"secret_key": "hunter2"}, "the storage does not accept the secret key: correct the keys"),
        (
            {"region": "eu-west-9"},
            "is stored elsewhere (400 AuthorizationHeaderMalformed): set `region` to 'us-east-1'",
        ),
        ({"endpoint": "http://127.0.0.1:1"}, "127.0.0.1:1 cannot be reached: the connection is refused"),
        ({"access_key": None, "secret_key": None, "profile": "none"}, "correct storage.shop.profile"),
    ],
)
def test_each_fault_says_how_to_fix_it(shop: Shop, other: dict[str, Any], wanted: str) -> None:
    with pytest.raises(StorageError, match=r"^storage shop: ") as caught:
        catalog(shop.table(**other)).check_root()
    assert wanted in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)

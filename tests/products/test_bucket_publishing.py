"""Publishing objects of a real S3 server: addresses, names, digests computed or taken from the storage."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.manifest import Manifest
from gateway.products.bucket_scanning import ScannedObject
from gateway.products.publishing import hash_files
from gateway.products.scanning import ScannedFile, plan_publication
from gateway.storage.registry import OBJECT_TYPES, Storages
from tests.support.shop import Shop

CONTENTS = {
    "empty": b"",
    "one.wav": b"x",
    "sub/large.zip": os.urandom(700_001),
    'sub/Über "q"\n.pdf': os.urandom(5000),
}


@pytest.fixture
def storages(shop: Shop, tmp_path: Path) -> Storages:
    for name, content in CONTENTS.items():
        shop.put(f"drums/{name}", content)
    return Storages({"shop": shop.table(), "kits": shop.table(prefix="kits")}, tmp_path / "data", 4)


def publish(
    storages: Storages, *files: str | Path, trust: bool = False, previous: Manifest | None = None
) -> Manifest:
    publication = plan_publication(files, None, storages)
    return hash_files(publication, storages, "drums", "1.0", previous=previous, trust=trust)


def faults(storages: Storages, *files: str | Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        publish(storages, *files)
    return caught.value.faults


def test_a_folder(storages: Storages, shop: Shop) -> None:
    manifest = publish(storages, shop.address("drums/"))
    assert [file.name for file in manifest.files] == sorted(CONTENTS, key=str.encode)
    for file in manifest.files:
        content = CONTENTS[file.name]
        assert file.size == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.crc32 == f"{zlib.crc32(content):08x}"
        assert (file.storage, file.key) == ("shop", f"drums/{file.name}")
        assert file.etag == f'"{hashlib.md5(content).hexdigest()}"'
        assert file.version_id == ""
        assert file.type == ("audio/wav" if file.name == "one.wav" else file.type)


def test_the_same_bytes_on_disk_have_the_same_digests(storages: Storages, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "large.zip").write_bytes(CONTENTS["sub/large.zip"])
    there = publish(storages, shop.address("drums/sub/large.zip")).files[0]
    here = publish(storages, tmp_path / "large.zip").files[0]
    assert (there.sha256, there.crc32, there.size) == (here.sha256, here.crc32, here.size)


def test_paths_and_addresses_in_the_order_given(storages: Storages, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("here")
    files = [shop.address("drums/one.wav"), str(tmp_path / "here.txt"), shop.address("drums/sub/")]
    publication = plan_publication(files, None, storages)
    assert [type(each) for each in publication.scanned] == [ScannedObject, ScannedFile] + [ScannedObject] * 2
    assert publication.size == 1 + 4 + 700_001 + 5000
    names = [file.name for file in publish(storages, *files).files]
    assert names == ["one.wav", "here.txt", "large.zip", 'Über "q"\n.pdf']


def test_the_whole_bucket_and_the_nearest_storage(storages: Storages, shop: Shop) -> None:
    shop.put("kits/a", b"a")
    assert [(file.storage, file.key) for file in publish(storages, shop.address("kits/")).files] == [
        ("kits", "a")
    ]
    assert publish(storages, shop.address("kits/a")).files[0].name == "a"
    whole = {file.name for file in publish(storages, f"s3://{shop.bucket}").files}
    assert whole == {*(f"drums/{name}" for name in CONTENTS), "kits/a"}


def test_hidden_objects_are_left_out_of_a_folder_and_refused_by_name(storages: Storages, shop: Shop) -> None:
    for key in ("drums/.DS_Store", "drums/.git/config", "drums/sub/Thumbs.db"):
        shop.put(key, b"x")
    publication = plan_publication([shop.address("drums/")], None, storages)
    assert {each.name for each in publication.scanned} == set(CONTENTS)
    assert len(publication.skipped) == 3
    for key in ("drums/.DS_Store", "drums/.git/config", "drums/sub/Thumbs.db"):
        with pytest.raises(ConfigurationError, match=r"is hidden: .* never served; copy it to another key"):
            publish(storages, shop.address(key))


def test_a_version_is_pinned(versioned: Shop, tmp_path: Path) -> None:
    storages = Storages({"shop": versioned.table()}, tmp_path / "data", 4)
    version = versioned.put("a", b"one").version_id
    publication = plan_publication([versioned.address("a")], None, storages)
    versioned.put("a", b"other")
    file = hash_files(publication, storages, "p", "1").files[0]
    assert (file.version_id, file.sha256) == (version, hashlib.sha256(b"one").hexdigest())


def test_what_changes_meanwhile_is_a_fault(storages: Storages, shop: Shop) -> None:
    publication = plan_publication([shop.address("drums/one.wav")], None, storages)
    shop.put("drums/one.wav", b"y")
    with pytest.raises(ConfigurationError, match=r"'drums/one.wav' has changed"):
        hash_files(publication, storages, "p", "1")


def test_stored_digests_are_believed_when_wished_and_else_compared(storages: Storages, shop: Shop) -> None:
    wrong = {"sha256": "0" * 64, "crc32": "0" * 8}
    shop.put("drums/one.wav", b"x", **wrong)
    shop.put("drums/empty", b"", sha256=hashlib.sha256(b"").hexdigest())
    files = [shop.address("drums/one.wav"), shop.address("drums/empty")]
    publication = plan_publication(files, None, storages)
    assert [each.name for each in publication.without_digests] == ["empty"], (
        "one of two digests is not enough"
    )
    one, empty = publish(storages, *files, trust=True).files
    assert (one.sha256, one.crc32) == (wrong["sha256"], wrong["crc32"])
    assert (empty.sha256, empty.crc32) == (hashlib.sha256(b"").hexdigest(), "00000000")
    [fault] = faults(storages, *files)
    assert fault.startswith(f"{shop.address('drums/one.wav')} is damaged, or its stored SHA-256 is wrong")


def test_digests_are_taken_over_from_an_earlier_manifest(storages: Storages, shop: Shop) -> None:
    shop.put("drums/one.wav", b"x", sha256="1" * 64, crc32="1" * 8)
    known = publish(storages, shop.address("drums/one.wav"), trust=True)
    again = publish(storages, shop.address("drums/one.wav"), previous=known)
    assert again == known, "if it had been read, the wrong digest would be an error"
    shop.put("drums/one.wav", b"y")
    assert publish(storages, shop.address("drums/one.wav"), previous=known).files[0].sha256[0] != "1"


def test_every_fault_is_reported_at_once(storages: Storages, shop: Shop) -> None:
    found = faults(
        storages,
        shop.address("drums/none"),
        shop.address("drums/sub"),
        "s3://other-bucket/a",
        "ftp://x/y",
        "s3:///x",
        "/does/not/exist",
        shop.address("nothing/"),
        shop.address("drums/one.wav"),
        shop.address("drums/one.wav"),
    )
    addresses = " or ".join(f"{kind}://BUCKET/KEY" for kind in OBJECT_TYPES)
    assert found == (
        "s3://other-bucket/a is in no storage of the settings: add the table [storage.other-bucket] with "
        'type = "s3" and bucket = "other-bucket" (docs/settings.md has its other keys)',
        f"ftp://x/y is not an address of an object: write {addresses}",
        f"s3:///x is not an address of an object: write {addresses}",
        "/does/not/exist does not exist",
        found[4],
        f"{shop.address('drums/one.wav')} and {shop.address('drums/one.wav')} would both be named 'one.wav'; "
        "rename one",
        f"{shop.address('drums/none')} does not exist; a folder's address ends with a slash",
        f"{shop.address('drums/sub')} does not exist; a folder's address ends with a slash",
    )
    assert found[4].startswith(f"{shop.address('nothing/')} has no objects to publish.")


def test_a_storage_that_holds_only_a_part_of_the_bucket(shop: Shop, tmp_path: Path) -> None:
    storages = Storages({"kits": shop.table(prefix="kits")}, tmp_path / "data", 4)
    assert faults(storages, shop.address("drums/a")) == (
        f"{shop.address('drums/a')} is outside the storages of its bucket, which begin at "
        f"{shop.address('kits/')}",
    )


def test_a_storage_that_does_not_answer_is_reported_once(shop: Shop, tmp_path: Path) -> None:
    storages = Storages({"shop": shop.table(secret_key="hunter2")}, tmp_path / "data", 4)
    [fault] = faults(storages, shop.address("a/"))
    assert "does not accept the secret key" in fault
    assert "hunter2" not in fault


@pytest.mark.slow
def test_many_objects_are_looked_at_at_once(shop: Shop, tmp_path: Path) -> None:
    storages = Storages({"shop": shop.table()}, tmp_path / "data", 4)
    for number in range(40):
        shop.put(f"m/{number:03}", b"%d" % number)
    manifest = publish(storages, shop.address("m/"))
    assert [file.sha256 for file in manifest.files] == [
        hashlib.sha256(b"%d" % number).hexdigest() for number in range(40)
    ]

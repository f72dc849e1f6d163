"""Commands for products in a bucket: they publish, show and check objects, and print no key."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import SECRET_KEY
from tests.support.console import Gateway
from tests.support.shop import Shop

FREE = ("--listen", "127.0.0.1:0", "--mint-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
CONTENT = b"drums" * 1000


@pytest.fixture
def shopkeeper(gateway: Gateway, shop: Shop) -> Gateway:
    """Commands whose settings have the bucket as storage `shop`."""
    gateway.variables.update(shop.variables("shop"))
    return gateway


def report(gateway: Gateway, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    done = gateway.run("check", *FREE, *arguments, code=code)
    assert SECRET_KEY not in done.stdout + done.stderr
    found = gateway.json("check", *FREE, *arguments, code=code)
    return {each["check"]: each for each in found}


def test_a_folder_of_a_bucket_beside_a_file(shopkeeper: Gateway, shop: Shop, files: Path) -> None:
    shop.put(
        "drums/a.zip", CONTENT, sha256=hashlib.sha256(CONTENT).hexdigest(), crc32=f"{zlib.crc32(CONTENT):08x}"
    )
    shop.put("drums/deep/b.wav", CONTENT)
    shop.put("drums/.DS_Store", b"x")
    added = shopkeeper.run("product", "add", "drums", "1", shop.address("drums/"), files / "a.bin", "--trust")
    assert added.stderr.splitlines() == [
        "1 object without a stored SHA-256 and CRC-32 must be read, such as "
        + shop.address("drums/deep/b.wav"),
        f"Left out 1 hidden file, such as {shop.address('drums/.DS_Store')}",
        "drums 1: 3 files, 14.8 KiB, registered and active.",
    ]
    shown = shopkeeper.run("product", "show", "drums").stdout
    assert "shop:drums/deep/b.wav" in shown
    version = shopkeeper.json("product", "show", "drums")["versions"][0]
    assert [(each["name"], each["storage"], each["key"]) for each in version["files"][:2]] == [
        ("a.zip", "shop", "drums/a.zip"),
        ("deep/b.wav", "shop", "drums/deep/b.wav"),
    ]
    assert {each["sha256"] for each in version["files"][:2]} == {hashlib.sha256(CONTENT).hexdigest()}
    again = shopkeeper.json("product", "add", "drums", "1", shop.address("drums/"), files / "a.bin")
    assert again["manifest"] == version["manifest"], "the same objects are the same version"


def test_faults_are_lines(shopkeeper: Gateway, shop: Shop) -> None:
    done = shopkeeper.run("product", "add", "drums", "1", shop.address("none"), "s3://elsewhere/a", code=1)
    assert done.stderr.splitlines() == [
        "download-gateway: s3://elsewhere/a is in no storage of the settings: add the table "
        '[storage.elsewhere] with type = "s3" and bucket = "elsewhere" (docs/settings.md has its other keys)',
        f"download-gateway: {shop.address('none')} does not exist; a folder's address ends with a slash",
    ]


def test_check_looks_at_buckets_and_objects(shopkeeper: Gateway, shop: Shop) -> None:
    shop.put("a", b"a")
    shop.put("b", b"b")
    shopkeeper.run("product", "add", "drums", "1", shop.address("a"), shop.address("b"))
    found = report(shopkeeper)
    assert found["storage shop"] == {
        "check": "storage shop", "result": "ok", "text": f"{shop.address()} can be read", "mend": None,
    }  # fmt: skip
    assert found["files"]["text"] == "all as they were published: 2 files"
    shop.put("a", b"other")
    shop.server.delete(shop.bucket, "b")
    output = shopkeeper.run("check", *FREE, code=1).stdout
    assert "a: storage shop: the object 'a' has changed since it was published" in output
    missing = "b: storage shop: the object 'b' is missing (404 NoSuchKey): put the published file back"
    assert missing in output


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        (
            "SECRET_KEY",
            "hunter2",
            "the storage does not accept the secret key: correct the keys",
        ),
        ("BUCKET", "no-such-bucket", "s3://no-such-bucket/ is in a bucket that does not exist"),
        ("REGION", "eu-west-9", "set `region` to 'us-east-1'"),
    ],
)
def test_check_says_what_is_wrong_with_a_bucket(
    shopkeeper: Gateway, variable: str, value: str, text: str
) -> None:
    shopkeeper.variables[f"GATEWAY_STORAGE__SHOP__{variable}"] = value
    found = report(shopkeeper, "--quick", code=1)["storage shop"]
    assert found["result"] == "fail"
    assert text in found["text"]
    assert "hunter2" not in found["text"]

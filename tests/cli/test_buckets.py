"""Commands for products in a bucket: they publish, show and check objects, and print no key."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bucket_faults import Fault
from tests.support.buckets import SECRET_KEY
from tests.support.console import Gateway
from tests.support.faulty_bucket import BUCKET, Upstream
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


@pytest.mark.slow
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
        "Left out 1 hidden file:",
        f"  {shop.address('drums/.DS_Store')}",
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture
def odd(gateway: Gateway) -> Iterator[Upstream]:
    """A server that behaves as a test asks, as the storage `odd` of the commands."""
    with Upstream() as server:
        table = {"TYPE": "s3", "BUCKET": BUCKET, "ENDPOINT": server.endpoint, "ANONYMOUS": "true"}
        gateway.variables.update({f"GATEWAY_STORAGE__ODD__{name}": value for name, value in table.items()})
        server.put("a.csv", CONTENT, etag='"0123"')
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(
    ("later", "text", "put_back"),
    [
        (
            Fault(status=403, code="InvalidObjectState"),
            "is archived (403 InvalidObjectState): restore it",
            False,
        ),
        (Fault(status=403, code="AccessDenied"), "check that the keys are right", False),
        (Fault(ignore_range=True), "comes whole although a range was asked for", False),
        (Fault(fields={"ETag": 'W/"0123"'}), 'comes with the weak ETag W/"0123", not "0123"', False),
        (Fault(fields={"ETag": None}), "comes without its ETag", False),
        (Fault(fields={"Content-Length": None, "ETag": None}, closes=True), "comes without its ETag", False),
        (Fault(status=404, code="NoSuchKey"), "is missing (404 NoSuchKey)", True),
        (Fault(status=503, code="503"), "the storage answers 503", False),
    ],
)
def test_check_advises_only_what_can_help(
    gateway: Gateway, odd: Upstream, later: Fault, text: str, put_back: bool
) -> None:
    gateway.run("product", "add", "drums", "1", f"s3://{BUCKET}/a.csv")
    # The first request lists the bucket; all that follow are about the object.
    odd.faults.append(Fault())
    odd.always = later
    [found] = [
        each
        for each in gateway.json("check", *FREE, code=1)
        if each["check"].startswith("product") and each["result"] == "fail"
    ]
    assert text in found["text"]
    assert "503 503" not in found["text"]
    assert (found["mend"] is not None) is put_back


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(fields={"Content-Encoding": "gzip"}), "is stored compressed (Content-Encoding: gzip)"),
        (Fault(chunked=True), "comes in chunks (Transfer-Encoding)"),
        (Fault(fields={"ETag": None, "Last-Modified": None}), "has neither an ETag nor a version"),
    ],
)
def test_what_cannot_be_served_is_not_published_and_named_in_one_line(
    gateway: Gateway, odd: Upstream, fault: Fault, text: str
) -> None:
    odd.faults.append(Fault())
    odd.always = fault
    for trust in ((), ("--trust",)):
        done = gateway.run("product", "add", "drums", "1", f"s3://{BUCKET}/a.csv", *trust, code=1)
        [line] = done.stderr.splitlines()
        assert text in line
        assert "'a.csv'" in line
        odd.faults.append(Fault())


@pytest.mark.slow
def test_an_object_without_a_date_is_the_same_version_when_it_is_added_again(
    gateway: Gateway, odd: Upstream
) -> None:
    odd.always = Fault(fields={"Last-Modified": None, "ETag": "0123456789abcdef"})
    added = gateway.run("product", "add", "drums", "1", f"s3://{BUCKET}/a.csv", "--json")
    assert "Warning" not in added.stderr, "it is no file that a build has dated 1970"
    first = json.loads(added.stdout)
    again = gateway.json("product", "add", "drums", "1", f"s3://{BUCKET}/a.csv")
    assert again["manifest"] == first["manifest"]
    assert report(gateway)["files"]["result"] == "ok"

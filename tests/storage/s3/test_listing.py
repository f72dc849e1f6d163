"""Pages of a bucket's keys: what is asked for, what the XML says, and in which forms the body comes."""

from __future__ import annotations

import pytest

from gateway.config.storages import S3Settings
from gateway.errors import StorageError
from gateway.storage import retries
from gateway.storage.s3.bucket import make_bucket
from gateway.storage.s3.catalog import S3Catalog
from gateway.storage.s3.listing import Page, page_parameters, parse_page
from tests.support.bucket_faults import Fault
from tests.support.faulty_bucket import BUCKET, Upstream

XML = '<?xml version="1.0" encoding="UTF-8"?>'
SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (f"{XML}<ListBucketResult {SPACE}><IsTruncated>false</IsTruncated></ListBucketResult>", Page([], "")),
        (
            "<ListBucketResult><Contents><Key>a&amp;b+c%20</Key></Contents></ListBucketResult>",
            Page(["a&b+c%20"], ""),
        ),
        (
            f"{XML}<ListBucketResult {SPACE}><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
            "<NextContinuationToken>t/+=</NextContinuationToken><Contents><Key>a+b%2B%0A%C3%BC</Key></Contents>"
            "</ListBucketResult>",
            Page(["a b+\nü"], "t/+="),
        ),
    ],
)
def test_a_page(body: str, page: Page) -> None:
    assert parse_page(body.encode()) == page


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<Error><Code>Busy</Code></Error>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult/>',
        b"\xff\xfe",
    ],
)
def test_what_is_no_page(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_page(body)


def test_what_is_asked_for() -> None:
    first = page_parameters("kits/")
    assert first == {"list-type": "2", "encoding-type": "url", "max-keys": "1000", "prefix": "kits/"}
    assert page_parameters("kits/", "t") == {**first, "continuation-token": "t"}


@pytest.mark.parametrize(
    "fault",
    [Fault(), Fault(chunked=True), Fault(fields={"Content-Length": None}, closes=True), Fault(pieces=5)],
    ids=["length", "chunks", "end of the connection", "pieces"],
)
def test_a_list_comes_in_every_form_of_a_body(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    with Upstream() as server:
        keys = sorted(f"kits/{number:04} ü.wav" for number in range(2000))
        for key in keys:
            server.put(key, b"x")
        table = S3Settings(type="s3", bucket=BUCKET, endpoint=server.endpoint, anonymous=True)
        catalog = S3Catalog(make_bucket("shop", table), table)
        server.faults += [Fault(before_head="close"), Fault(status=503), fault]
        assert list(catalog.list("kits/")) == keys
        server.always = Fault(garbage=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        with pytest.raises(StorageError, match="damaged or too many chunks"):
            catalog.check_root()
        server.always = Fault(status=403, code="AccessDenied")
        assert "s3:ListBucket" in catalog.check_root()

"""The address of a bucket, and all else that follows from its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.config.storages import S3Settings
from gateway.storage.s3.bucket import make_bucket
from gateway.storage.s3.credentials import GivenCredentials
from tests.support.rows import each_row


@each_row(
    ("given", "host", "port", "tls", "path"),
    [
        ({}, "shop.s3.us-east-1.amazonaws.com", 443, True, "/"),
        ({"region": "cn-north-1"}, "shop.s3.cn-north-1.amazonaws.com.cn", 443, True, "/"),
        ({"prefix": "a b/c"}, "shop.s3.us-east-1.amazonaws.com", 443, True, "/a b/c/"),
        ({"bucket": "my.shop"}, "s3.us-east-1.amazonaws.com", 443, True, "/my.shop/"),
        ({"addressing": "path"}, "s3.us-east-1.amazonaws.com", 443, True, "/shop/"),
        ({"endpoint": "http://h:9000"}, "h", 9000, False, "/shop/"),
        ({"endpoint": "http://h"}, "h", 80, False, "/shop/"),
        ({"endpoint": "https://h/", "addressing": "virtual"}, "shop.h", 443, True, "/"),
        (
            {"endpoint": "https://h/storage/v1%20/s3", "prefix": "/x/"},
            "h",
            443,
            True,
            "/storage/v1 /s3/shop/x/",
        ),
        ({"endpoint": "http://[::1]:9000"}, "::1", 9000, False, "/shop/"),
    ],
)
def test_where_a_bucket_is(given: dict[str, Any], host: str, port: int, tls: bool, path: str) -> None:
    bucket = make_bucket("files", S3Settings(**{"bucket": "shop", **given}))
    assert (bucket.host, bucket.port, bucket.tls, bucket.path) == (host, port, tls, path)


def test_every_setting_of_the_table_reaches_the_bucket() -> None:
    table = S3Settings(
        bucket="shop", connections=7, connect_timeout=1.0, read_timeout=2.0, ca_file=Path("/ca"),
        verify=False, delivery="redirect", redirect_ttl=9, access_key="a", secret_key="hunter2",
        session_token="t",
    )  # fmt: skip
    bucket = make_bucket("files", table)
    assert (bucket.name, bucket.bucket, bucket.region) == ("files", "shop", "us-east-1")
    assert (bucket.connections, bucket.connect_timeout, bucket.read_timeout) == (7, 1.0, 2.0)
    assert (bucket.ca_file, bucket.verify, bucket.redirect, bucket.redirect_ttl) == (
        Path("/ca"),
        False,
        True,
        9,
    )
    source = bucket.credentials()
    assert isinstance(source, GivenCredentials)
    assert source is bucket.credentials()
    assert source.now() == source.fetch(source.now()) == ("a", "hunter2", "t")
    assert "hunter2" not in repr(bucket)

"""Signatures: AWS' published examples, and botocore's own results for everything else."""

from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.s3.credentials import Credentials
from gateway.storage.s3.signing import presign, query_of, quote_path, sign

# "Examples: Signature Calculations in AWS Signature Version 4", Amazon S3 API reference.
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EXAMPLE_TIME = calendar.timegm((2013, 5, 24, 0, 0, 0))
HOST = "examplebucket.s3.amazonaws.com"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("path", "query", "more", "signature"),
    [
        (
            "/test.txt",
            "",
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        ("/", "lifecycle=", {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/",
            "max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["object", "lifecycle", "list"],
)
def test_published_examples(path: str, query: str, more: dict[str, str], signature: str) -> None:
    fields = sign("GET", path, query, {"host": HOST, **more}, EXAMPLE, "us-east-1", EXAMPLE_TIME, EMPTY)
    assert fields["x-amz-date"] == "20130524T000000Z"
    assert fields["x-amz-content-sha256"] == EMPTY
    names = ";".join(["host", *more, "x-amz-content-sha256", "x-amz-date"])
    assert fields["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={names},Signature={signature}"
    )


def test_published_example_of_a_presigned_url() -> None:
    url = presign("GET", "/test.txt", [], HOST, EXAMPLE, "us-east-1", EXAMPLE_TIME, 86400)
    assert url.startswith("/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert parse_qs(urlsplit(url).query) == {
        "X-Amz-Algorithm": ["AWS4-HMAC-SHA256"],
        "X-Amz-Credential": ["AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"],
        "X-Amz-Date": ["20130524T000000Z"],
        "X-Amz-Expires": ["86400"],
        "X-Amz-SignedHeaders": ["host"],
        "X-Amz-Signature": ["aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"],
    }


@pytest.mark.parametrize(
    ("key", "quoted"),
    [
        ("plain-_.~09AZaz", "plain-_.~09AZaz"),
        ("a b+c", "a%20b%2Bc"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("a//b/./../c/", "a//b/./../c/"),
        ("%41?#&=:@!$'()*,;", "%2541%3F%23%26%3D%3A%40%21%24%27%28%29%2A%2C%3B"),
        ("\x00\n\x7f", "%00%0A%7F"),
    ],
)
def test_keys_are_quoted_once_and_kept_as_they_are(key: str, quoted: str) -> None:
    assert quote_path(f"/{key}") == f"/{quoted}"


def test_queries_are_sorted_as_they_are_encoded() -> None:
    assert query_of([("b", "2"), ("a", "~/ +"), ("B", "é")]) == "B=%C3%A9&a=~%2F%20%2B&b=2"


NOW = calendar.timegm((2026, 2, 3, 4, 5, 6))
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def freeze_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.fromtimestamp(NOW, UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))


@given(
    key=KEYS,
    version=st.text(max_size=20).filter(lambda text: text.isprintable()),
    secret=SECRETS,
    session=st.sampled_from(["", "FQoGZXIvYXdzE+/=="]),
)
def test_botocore_signs_the_same(key: str, version: str, secret: str, session: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        freeze_botocore(monkeypatch)
        path = quote_path(f"/shop/{key}")
        query = query_of([("versionId", version)]) if version else ""
        keys = Credentials("AK", secret, session)
        ours = sign("GET", path, query, {"host": "s3.test:9000"}, keys, "eu-x-1", NOW, EMPTY)
        request = AWSRequest("GET", f"https://s3.test:9000{path}{'?' if query else ''}{query}")
        auth: Any = S3SigV4Auth(BotoCredentials("AK", secret, session or None), "s3", "eu-x-1")
        auth.add_auth(request)
        theirs = {name.lower(): value.replace(", ", ",") for name, value in request.headers.items()}
    assert ours == {name: theirs[name] for name in ours}


@given(key=KEYS, session=st.sampled_from(["", "FQoGZXIvYXdzE+/=="]), disposition=KEYS)
def test_botocore_presigns_the_same(key: str, session: str, disposition: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        freeze_botocore(monkeypatch)
        path = quote_path(f"/shop/{key}")
        parameters = [("response-content-disposition", disposition), ("versionId", "v1")]
        ours = presign(
            "GET", path, parameters, "s3.test", Credentials("AK", "secret", session), "eu-x-1", NOW, 300
        )
        request = AWSRequest("GET", f"https://s3.test{path}?{query_of(parameters)}")
        auth: Any = S3SigV4QueryAuth(BotoCredentials("AK", "secret", session or None), "s3", "eu-x-1", 300)
        auth.add_auth(request)
        theirs = urlsplit(request.url)
    assert urlsplit(ours).path == theirs.path
    assert parse_qs(urlsplit(ours).query) == parse_qs(theirs.query)


def test_a_day_later_the_key_is_another() -> None:
    signatures = {
        sign("GET", "/", "", {"host": HOST}, EXAMPLE, "us-east-1", NOW + day * 86400)["authorization"]
        for day in range(3)
    }
    assert len(signatures) == 3


def test_secrets_are_in_nothing_that_is_sent() -> None:
    fields = sign("GET", "/", "", {"host": HOST}, EXAMPLE, "us-east-1", int(time.time()))
    assert EXAMPLE.secret_key not in "".join(fields.values())
    assert EXAMPLE.secret_key not in repr(EXAMPLE)

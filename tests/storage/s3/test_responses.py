"""Heads of responses are read strictly, and must be exactly what was requested."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manifest import ManifestFile
from gateway.storage.retries import TransientError
from gateway.storage.s3.responses import (
    MAX_RETRY_AFTER,
    CredentialsRefused,
    ExpectedObject,
    Head,
    PermanentError,
    check_body,
    check_description,
    error_code,
    error_of,
    parse_head,
    retry_after,
)

TAG = '"9b2cf535f27731c974343645a3985328"'
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
SECONDS = 1_700_000_000


def head(text: str, method: str = "GET") -> Head:
    return parse_head(text.replace("\n", "\r\n").encode("latin-1"), method)


def test_a_head_as_s3_sends_it() -> None:
    parsed = head(
        "HTTP/1.1 206 Partial Content\nx-amz-id-2: abc/+=\nContent-Length:  10 \t\n"
        "ETag: " + TAG + "\nServer:\nX-Name: caf\xe9, \x09tab\n\n"
    )
    assert parsed == Head(
        206,
        {
            "x-amz-id-2": "abc/+=",
            "content-length": "10",
            "etag": TAG,
            "server": "",
            "x-name": "café, \ttab",
        },
        10,
        keeps=True,
    )


@pytest.mark.parametrize(
    ("text", "method", "length", "keeps"),
    [
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", "GET", 5, True),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", "HEAD", 0, True),
        ("HTTP/1.1 200\nContent-Length: 0\n\n", "GET", 0, True),
        ("HTTP/1.1 204 No Content\n\n", "GET", 0, True),
        ("HTTP/1.1 200 OK\n\n", "GET", None, False),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "GET", None, False),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: x, Close\n\n", "GET", 5, False),
        ("HTTP/1.0 200 OK\nContent-Length: 5\n\n", "GET", 5, False),
        ("HTTP/1.0 200 OK\nContent-Length: 5\nConnection: keep-alive\n\n", "GET", 5, True),
    ],
)
def test_where_a_body_ends(text: str, method: str, length: int | None, keeps: bool) -> None:
    parsed = head(text, method)
    assert (parsed.length, parsed.keeps) == (length, keeps)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "SSH-2.0-OpenSSH\n\n",
        "HTTP/2 200\n\n",
        "HTTP/1.1 20 OK\n\n",
        "HTTP/1.1 600 OK\n\n",
        "HTTP/1.1  200 OK\n\n",
        "HTTP/1.1 200 O\x00K\n\n",
        " HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\nno colon\n\n",
        "HTTP/1.1 200 OK\nETag : x\n\n",
        "HTTP/1.1 200 OK\n: x\n\n",
        "HTTP/1.1 200 OK\nETag: a\n folded\n\n",
        "HTTP/1.1 200 OK\n ETag: a\n\n",
        "HTTP/1.1 200 OK\nETag: a\rb\n\n",
        "HTTP/1.1 200 OK\nETag: a\x00\n\n",
        "HTTP/1.1 200 OK\nContent-Length: -5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5 5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: +5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: \xb2\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
    ],
)
def test_a_malformed_head_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        head(text)


@given(st.binary(max_size=200))
def test_nothing_else_comes_of_any_bytes(data: bytes) -> None:
    for before in (b"", b"HTTP/1.1 200 OK\r\n"):
        with suppress(ValueError):
            assert 100 <= parse_head(before + data + b"\r\n\r\n", "GET").status < 600


def published(etag: str = TAG, version: str = "", size: int = 100) -> ManifestFile:
    return ManifestFile("a", size, "t", "0" * 64, "0" * 8, "s3", "a", SECONDS * 10**9 + 5, etag, version)


def answer(status: int, length: int | None, **fields: str) -> Head:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    return Head(status, {"etag": TAG, **given}, length, keeps=True)


def test_the_requested_bytes_are_accepted() -> None:
    file = published()
    check_body(answer(206, 10, content_range="bytes 5-14/100"), ExpectedObject(file, 5, 15))
    check_body(answer(200, 100), ExpectedObject(file, 0, 100))
    check_body(answer(206, 100, content_range="bytes 0-99/100"), ExpectedObject(file, 0, 100))


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (answer(206, 10, content_range="bytes 5-14/101"), "changed since it was published: 101 bytes"),
        (answer(206, 10, content_range="bytes 4-13/100"), "comes with bytes 4-13, not 5-14"),
        (answer(206, 9, content_range="bytes 5-13/100"), "comes with bytes 5-13, not 5-14"),
        (answer(206, 9, content_range="bytes 5-14/100"), "comes with 9 bytes, not 10"),
        (answer(206, 11, content_range="bytes 5-14/100"), "comes with 11 bytes, not 10"),
        (answer(206, None, content_range="bytes 5-14/100"), "comes with None bytes"),
        (answer(206, 10, content_range="bytes 5-14/*"), "no range that can be read"),
        (answer(206, 10, content_range="bytes */100"), "no range that can be read"),
        (answer(206, 10), "no range that can be read"),
        (answer(200, 100), "comes whole"),
        (answer(200, 10), "comes whole"),
        (answer(204, 0), "answers 204"),
        (answer(206, 10, content_range="bytes 5-14/100", etag='"other"'), 'ETag "other", not'),
        (answer(206, 10, content_range="bytes 5-14/100", etag="W/" + TAG), "ETag W/"),
        (answer(206, 10, content_range="bytes 5-14/100", etag=""), "changed since it was published: ETag"),
        (answer(206, None, content_range="bytes 5-14/100", transfer_encoding="chunked"), "in chunks"),
    ],
)
def test_bytes_that_were_not_asked_for_are_refused(got: Head, message: str) -> None:
    with pytest.raises(PermanentError, match=message.replace("(", r"\(")):
        check_body(got, ExpectedObject(published(), 5, 15))


@pytest.mark.parametrize("length", [99, 101, None])
def test_a_whole_object_of_another_length_has_changed(length: int | None) -> None:
    with pytest.raises(PermanentError, match="changed since it was published"):
        check_body(answer(200, length), ExpectedObject(published(), 0, 100))


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_tag_the_version_counts_or_else_the_time(etag: str) -> None:
    wanted = ExpectedObject(published(etag, "v1"), 0, 100)
    check_body(answer(200, 100, etag='"any"', x_amz_version_id="v1"), wanted)
    check_body(answer(200, 100, etag='"any"'), wanted)
    with pytest.raises(PermanentError, match="another version"):
        check_body(answer(200, 100, x_amz_version_id="v2"), wanted)
    wanted = ExpectedObject(published(etag), 0, 100)
    check_body(answer(200, 100, last_modified=DATE), wanted)
    for other in ("Tue, 14 Nov 2023 22:13:21 GMT", "", "yesterday"):
        with pytest.raises(PermanentError, match="another modification time"):
            check_body(answer(200, 100, last_modified=other), wanted)


def test_the_head_of_an_object() -> None:
    check_description(answer(200, 0, content_length="100"), published())
    for fields in ({"content_length": "99"}, {}, {"content_length": "100", "etag": '"other"'}):
        with pytest.raises(PermanentError, match="changed since it was published"):
            check_description(answer(200, 0, **fields), published())
    with pytest.raises(PermanentError, match="answers 206"):
        check_description(answer(206, 0, content_length="100"), published())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_work_later(status: int) -> None:
    with pytest.raises(TransientError, match=f"the storage answers {status} SlowDown") as caught:
        raise error_of(answer(status, 0, retry_after="3"), "SlowDown")
    assert caught.value.after == 3
    assert caught.value.throttled is (status in {429, 503})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, ""),
        (401, ""),
        (400, ""),
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (400, "TokenRefreshRequired"),
    ],
)
def test_refusals_that_other_keys_may_solve(status: int, code: str) -> None:
    with pytest.raises(CredentialsRefused, match=rf"is refused \({status}{' ' * bool(code)}{code}\)"):
        raise error_of(answer(status, 0), code)


def test_a_wrong_clock_is_named() -> None:
    with pytest.raises(CredentialsRefused, match="clock"):
        raise error_of(answer(403, 0), "RequestTimeTooSkewed")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "NoSuchKey", r"is missing \(404 NoSuchKey\)"),
        (410, "", r"is missing \(410\)"),
        (412, "PreconditionFailed", "has changed since it was published"),
        (416, "InvalidRange", "has changed since it was published"),
        (301, "PermanentRedirect", "set `region` to 'eu-west-1' or `endpoint`"),
        (307, "", "set `region`"),
        (400, "AuthorizationHeaderMalformed", "set `region`"),
        (400, "InvalidRequest", "answers 400 InvalidRequest"),
        (418, "", "answers 418"),
        (304, "", "answers 304"),
        (501, "", "answers 501"),
    ],
)
def test_errors_that_asking_again_does_not_help(status: int, code: str, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        raise error_of(answer(status, 0, x_amz_bucket_region="eu-west-1"), code)


def test_a_region_that_is_none_is_not_repeated() -> None:
    with pytest.raises(PermanentError) as caught:
        raise error_of(answer(301, 0, x_amz_bucket_region="a'b\x1b[0m"), "")
    assert "a'b" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("5", 5),
        ("0", 0),
        ("86400", MAX_RETRY_AFTER),
        ("9" * 5000, 0),
        ("-1", 0),
        ("1.5", 0),
        ("²", 0),
        (DATE, 0),
    ],
)
def test_how_long_to_wait(text: str, seconds: float) -> None:
    assert retry_after(text) == seconds


def test_the_code_of_an_error() -> None:
    assert error_code(b"<?xml?><Error><Code>SlowDown</Code><Message>x</Message>") == "SlowDown"
    assert error_code(b"5\r\n<Code\r\n") == ""
    assert error_code(b"<Code>a b\n</Code>") == ""
    assert error_code(b"\xff\x00") == ""

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
    Differs,
    ErrorBody,
    ExpectedObject,
    Head,
    PermanentError,
    check_body,
    check_description,
    error_of,
    parse_head,
    read_error,
    retry_after,
    size_of_range,
)
from tests.support.rows import each_row

TAG = '"9b2cf535f27731c974343645a3985328"'
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
SECONDS = 1_700_000_000
NOW = float(SECONDS)
"""The time that DATE has."""


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


@each_row(
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
    "got",
    [
        answer(200, 10, content_range="bytes 5-14/100"),
        answer(206, None, content_range="bytes 5-14/100"),
        answer(200, None, content_range="bytes 5-14/100"),
        answer(206, 10, content_range="bytes 5-14/100", etag=TAG.strip('"')),
    ],
    ids=["rclone's 200", "no length", "200 without a length", "ETag without quotes"],
)
def test_what_storages_and_proxies_make_of_a_range_is_accepted_if_it_is_exact(got: Head) -> None:
    check_body(got, ExpectedObject(published(), 5, 15))


def test_a_whole_object_may_have_no_length_or_a_needless_range() -> None:
    whole = ExpectedObject(published(), 0, 100)
    check_body(answer(200, None), whole)
    check_body(answer(200, 100, content_range="bytes 0-99/100"), whole)
    with pytest.raises(PermanentError, match="comes without a length"):
        check_body(answer(200, None, last_modified=DATE), ExpectedObject(published(etag=""), 0, 100))


@each_row(
    ("got", "message"),
    [
        (answer(206, 10, content_range="bytes 5-14/101"), "changed since it was published: 101 bytes"),
        (answer(206, 10, content_range="bytes 4-13/100"), "comes with bytes 4-13, not 5-14"),
        (answer(206, 9, content_range="bytes 5-13/100"), "comes with bytes 5-13, not 5-14"),
        (answer(206, 9, content_range="bytes 5-14/100"), "comes with 9 bytes, not 10"),
        (answer(206, 11, content_range="bytes 5-14/100"), "comes with 11 bytes, not 10"),
        (answer(200, 100, content_range="bytes 0-99/100"), "comes with bytes 0-99, not 5-14"),
        (answer(200, 10, content_range="bytes 5-14/*"), "no range that can be read"),
        (answer(206, 10, content_range="bytes 5-14/*"), "no range that can be read"),
        (answer(206, 10, content_range="bytes */100"), "no range that can be read"),
        (answer(206, 10), "no range that can be read"),
        (answer(200, 100), "comes whole"),
        (answer(200, 10), "comes whole"),
        (answer(200, 0), "changed since it was published: 0 bytes"),
        (answer(206, 0, content_range="bytes */0"), "changed since it was published: 0 bytes"),
        (answer(206, 0, content_range="bytes 0--1/0"), "changed since it was published: 0 bytes"),
        (answer(206, 0, content_range="bytes 0--1/100"), "no range that can be read"),
        (answer(204, 0), "answers 204"),
        (answer(206, 10, content_range="bytes 5-14/100", etag='"other"'), 'ETag "other", not'),
        (answer(206, 10, content_range="bytes 5-14/100", etag="W/" + TAG), "comes with the weak ETag W/"),
        (answer(206, 10, content_range="bytes 5-14/100", etag=""), "comes without its ETag"),
        (answer(206, None, content_range="bytes 5-14/100", transfer_encoding="chunked"), "in chunks"),
    ],
)
def test_bytes_that_were_not_asked_for_are_refused(got: Head, message: str) -> None:
    with pytest.raises(PermanentError, match=message.replace("(", r"\(")):
        check_body(got, ExpectedObject(published(), 5, 15))


@pytest.mark.parametrize("length", [99, 101])
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
    with pytest.raises(Differs, match="another modification time"):
        check_body(answer(200, 100, last_modified="Tue, 14 Nov 2023 22:13:21 GMT"), wanted)
    for other in ("", "yesterday"):
        with pytest.raises(PermanentError, match="comes without a modification time"):
            check_body(answer(200, 100, last_modified=other), wanted)


def test_the_head_of_an_object() -> None:
    check_description(answer(200, 0, content_length="100"), published())
    check_description(answer(200, 0), published())
    with pytest.raises(PermanentError, match="comes without a length"):
        check_description(answer(200, 0, last_modified=DATE), published(etag=""))
    for fields in ({"content_length": "99"}, {"content_length": "100", "etag": '"other"'}):
        with pytest.raises(Differs, match="changed since it was published"):
            check_description(answer(200, 0, **fields), published())
    with pytest.raises(PermanentError, match="answers 206"):
        check_description(answer(206, 0, content_length="100"), published())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_work_later(status: int) -> None:
    with pytest.raises(TransientError, match=f"the storage answers {status} SlowDown") as caught:
        raise error_of(answer(status, 0, retry_after="3"), ErrorBody("SlowDown"), NOW)
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
        raise error_of(answer(status, 0, date=DATE), ErrorBody(code), NOW)


def test_a_status_is_not_said_twice() -> None:
    with pytest.raises(TransientError, match=r"the storage answers 503$"):
        raise error_of(answer(503, 0), ErrorBody("503"), NOW)


@pytest.mark.parametrize(
    ("status", "code", "late", "text"),
    [
        (
            403,
            "RequestTimeTooSkewed",
            1200,
            "this machine's clock is 20 minutes ahead of the storage's: set it",
        ),
        (
            403,
            "RequestTimeTooSkewed",
            -1200,
            "this machine's clock is 20 minutes behind the storage's: set it",
        ),
        (403, "RequestTimeTooSkewed", 0, "this machine or the storage has a wrong clock"),
        (403, "", 1200, "20 minutes ahead"),
        (403, "SignatureDoesNotMatch", -86400, "1440 minutes behind"),
        (400, "RequestExpired", 600, "10 minutes ahead"),
    ],
)
def test_a_wrong_clock_is_named_with_its_offset(status: int, code: str, late: int, text: str) -> None:
    with pytest.raises(PermanentError, match=text) as caught:
        raise error_of(answer(status, 0, date=DATE), ErrorBody(code), NOW + late)
    assert not isinstance(caught.value, CredentialsRefused), "other keys do not help"


@pytest.mark.parametrize(("code", "late"), [("SignatureDoesNotMatch", 200), ("AccessDenied", 3600)])
def test_a_clock_that_is_not_the_cause_is_not_blamed(code: str, late: int) -> None:
    with pytest.raises(CredentialsRefused, match="keys"):
        raise error_of(answer(403, 0, date=DATE), ErrorBody(code), NOW + late)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "NoSuchVersion"), (404, "NoSuchKey"), (400, "InvalidArgument"), (405, "MethodNotAllowed")],
)
def test_a_version_that_is_gone_may_have_another_name_now(status: int, code: str) -> None:
    with pytest.raises(Differs, match="is not there in the version that was published"):
        raise error_of(answer(status, 0), ErrorBody(code), NOW, versioned=True)


def test_an_archived_object_needs_no_other_keys() -> None:
    with pytest.raises(PermanentError, match=r"is archived.*restore it") as caught:
        raise error_of(answer(403, 0), ErrorBody("InvalidObjectState"), NOW)
    assert not isinstance(caught.value, CredentialsRefused)


@each_row(
    ("status", "code", "message"),
    [
        (404, "NoSuchKey", r"is missing \(404 NoSuchKey\)"),
        (410, "", r"is missing \(410\)"),
        (412, "PreconditionFailed", "has changed since it was published"),
        (416, "InvalidRange", "has changed since it was published"),
        (301, "PermanentRedirect", "set `region` to 'eu-west-1' or `endpoint`"),
        (307, "", "set `region`"),
        (400, "AuthorizationHeaderMalformed", "set `region`"),
        (404, "NoSuchBucket", "correct `bucket` or `endpoint`"),
        (400, "InvalidRequest", "answers 400 InvalidRequest"),
        (418, "", "answers 418"),
        (304, "", "answers 304"),
        (501, "", "answers 501"),
    ],
)
def test_errors_that_asking_again_does_not_help(status: int, code: str, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        raise error_of(answer(status, 0, x_amz_bucket_region="eu-west-1"), ErrorBody(code), NOW)


def test_a_region_that_is_none_is_not_repeated() -> None:
    with pytest.raises(PermanentError) as caught:
        raise error_of(answer(301, 0, x_amz_bucket_region="a'b\x1b[0m"), ErrorBody(), NOW)
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
    assert read_error(b"<?xml?><Error><Code>SlowDown</Code><Message>x</Message>") == ErrorBody("SlowDown")
    assert read_error(b"<Code>A</Code><Region>eu-west-1</Region>") == ErrorBody("A", "eu-west-1")
    for body in (b"5\r\n<Code\r\n", b"<Code>a b\n</Code><Region>A</Region>", b"\xff\x00"):
        assert read_error(body) == ErrorBody()


@pytest.mark.parametrize(
    ("got", "size"),
    [
        (answer(206, 1, content_range="bytes 0-0/100"), 100),
        (answer(200, 1, content_range="bytes 0-0/100"), 100),
        (answer(206, None, content_range="bytes 0-0/100"), 100),
        (answer(200, 0), 0),
        (answer(200, 1), 1),
    ],
)
def test_the_size_of_what_is_published(got: Head, size: int) -> None:
    assert size_of_range(got) == size


@pytest.mark.parametrize(
    ("got", "fault"),
    [
        (answer(200, 100), "comes whole although a range was asked for"),
        (answer(200, None), "comes without a length"),
        (answer(206, None, transfer_encoding="chunked", content_range="bytes 0-0/100"), "comes in chunks"),
        (answer(206, 2, content_range="bytes 0-0/100"), "no range that can be read"),
        (answer(206, 1, content_range="bytes 1-1/100"), "no range that can be read"),
        (answer(206, 1, content_range="bytes 0-0/*"), "no range that can be read"),
        (answer(206, 1), "no range that can be read"),
        (answer(200, 100, content_range="bytes 0-99/100"), "no range that can be read"),
    ],
)
def test_what_could_not_be_served_is_not_published(got: Head, fault: str) -> None:
    with pytest.raises(PermanentError, match=fault):
        size_of_range(got)

"""The bounds of a request: which heads are refused before the parser sees them, and where bodies end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    HTTP_VERSION_NOT_SUPPORTED,
    URI_TOO_LONG,
    Refusal,
    Refused,
)
from gateway.http.framing import HEAD_END, Body, check_beginning, check_head, is_host
from tests.support.in_loop_server import LIMITS
from tests.support.rows import each_row

LINE = b"GET /a HTTP/1.1\r\n"
HEAD = LINE + b"Host: x\r\n\r\n"


@each_row(
    ("value", "expected"),
    [
        (b"", True),
        (b"example.com", True),
        (b"example.com:80", True),
        (b"example.com:", True),
        (b"EXAMPLE.com.", True),
        (b"a_b~c!$&'()*+,;=", True),
        (b"%41", True),
        (b"127.0.0.1:8080", True),
        (b"[::1]", True),
        (b"[2001:db8::1]:80", True),
        (b"[::ffff:192.0.2.1]", True),
        (b"a b", False),
        (b"a/b", False),
        (b"a?b", False),
        (b"a#b", False),
        (b"a@b", False),
        (b"a:b", False),
        (b"a:80:80", False),
        (b"a:-1", False),
        (b"::1", False),
        (b"[::1", False),
        (b"[::1]a", False),
        (b"[:::]", False),
        (b"[a]", False),
        (b"[fe80::1%25eth0]", False),
        (b"%4", False),
        (b"%zz", False),
        (b"\xc3\xa4.example", False),
        (b"a\tb", False),
        (b"http://a", False),
        (b'"a"', False),
        (b"a\\b", False),
    ],
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(value: bytes, expected: bool) -> None:
    """RFC 9112 section 3.2, RFC 3986 section 3.2.2."""
    assert is_host(value) is expected


@each_row(
    ("head", "refusal"),
    [
        (HEAD.replace(b" /a", b"  /a"), BAD_REQUEST),
        (HEAD.replace(b"/a ", b"/a  "), BAD_REQUEST),
        (HEAD.replace(b"GET ", b"GET\t"), BAD_REQUEST),
        (HEAD.replace(b"1.1", b"1.2"), HTTP_VERSION_NOT_SUPPORTED),
        (HEAD.replace(b"1.1", b"2.0"), HTTP_VERSION_NOT_SUPPORTED),
        (HEAD.replace(b"1.1", b"2"), BAD_REQUEST),
        (HEAD.replace(b"1.1", b"1.11"), BAD_REQUEST),
        (HEAD.replace(b" /a HTTP/1.1", b"  /a HTTP/2.0"), BAD_REQUEST),
        (HEAD.replace(b"HTTP", b"http"), BAD_REQUEST),
        (HEAD.replace(b"GET", b"G" * 65), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"Host: x y"), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"hOST:\tx/y\t"), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding:"), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"Host: x\r\ntransfer-encoding: , ,\t"), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"Host: x\r\nContent-Length: "), BAD_REQUEST),
        (HEAD.replace(b"Host: x", b"Host: x\r\nContent-Length: 1, 1"), BAD_REQUEST),
        (HEAD.replace(b"/a", b"/" + b"a" * LIMITS.max_line), URI_TOO_LONG),
        (HEAD.replace(b": x", b": x\r\nA: " + b"a" * LIMITS.max_field), HEAD_TOO_LARGE),
        (HEAD.replace(b": x", b": x\r\n" + b"a" * LIMITS.max_field + b": b"), HEAD_TOO_LARGE),
        (HEAD.replace(b": x", b": x" + b"\r\nA: b" * LIMITS.max_headers), HEAD_TOO_LARGE),
        (HEAD.replace(b": x", b": x" + (b"\r\nA: " + b"b" * 8_000) * 5), HEAD_TOO_LARGE),
    ],
)
def test_heads_that_are_refused(head: bytes, refusal: Refusal) -> None:
    with pytest.raises(Refused) as caught:
        check_head(head, LIMITS)
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("fields", "length", "closes"),
    [
        (b"", 0, False),
        (b"Content-Length: 0\r\n", 0, False),
        (b"Content-Length: 000\r\n", 0, False),
        (b"content-length:\t5 \r\n", 5, False),
        (b"Content-Length: " + b"0" * 50 + b"5\r\n", 5, False),
        (b"Content-Length: 99999999999999999999\r\n", 99999999999999999999, False),
        (b"X-Content-Length: 5\r\n", 0, False),
        (b"Transfer-Encoding: chunked\r\n", None, False),
        (b"Transfer-Encoding: gzip, chunked\r\n", None, False),
    ],
)
def test_what_a_head_says_about_its_body(fields: bytes, length: int | None, closes: bool) -> None:
    framing = check_head(LINE + b"Host: x\r\n" + fields + b"\r\n", LIMITS)
    assert (framing.body.length if framing.body else 0) == length
    assert framing.closes is closes


def test_chunks_with_http10_close_the_connection() -> None:
    head = b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert check_head(head, LIMITS).closes


@pytest.mark.parametrize("head", [HEAD, HEAD.replace(b"Host", b"A: b\r\nhost"), HEAD.replace(b"GET", b"X-Y")])
def test_a_part_of_a_good_head_is_good(head: bytes) -> None:
    for known in range(len(head) - 1):
        check_beginning(head[: known + 1], known, LIMITS)


@each_row(
    ("data", "refusal", "at_most"),
    [
        (b"\x16\x03\x01", BAD_REQUEST, 1),
        (b"\xff", BAD_REQUEST, 1),
        (b" GET", BAD_REQUEST, 1),
        (b"stray body", BAD_REQUEST, 7),
        (b"GET  /", BAD_REQUEST, 5),
        (b"g" * 70, BAD_REQUEST, 66),
        (b"GET /a\n", BAD_REQUEST, 7),
        (b"GET /a HTTP/1.1\n", BAD_REQUEST, 16),
        (b"GET /a HTTP/2.0\r\n", HTTP_VERSION_NOT_SUPPORTED, 17),
        (b"SSH-2.0-x\r\n", BAD_REQUEST, 11),
        (LINE + b"A: b\nC: d", BAD_REQUEST, 22),
        (LINE + b"\n", BAD_REQUEST, 18),
        (b"GET /" + b"a" * 10_000, URI_TOO_LONG, LIMITS.max_line + 1),
        (LINE + b"A: b\r\n" * 10_000, HEAD_TOO_LARGE, LIMITS.max_head + 1),
        (LINE + b"a" * 40_000, HEAD_TOO_LARGE, LIMITS.max_head + 1),
    ],
)
@each_row("step", [1, 7, 100_000])
def test_a_bad_beginning_is_refused_as_soon_as_it_is_one(
    data: bytes, refusal: Refusal, at_most: int, step: int
) -> None:
    known, found = 0, None
    while found is None and known < len(data):
        try:
            check_beginning(data[: known + step], known, LIMITS)
            known += step
        except Refused as refused:
            found = refused.refusal
    assert found is refusal
    assert known <= at_most


BODIES = [
    (5, b"hello"),
    (None, b"5\r\nhello\r\n0\r\n\r\n"),
    (None, b"5;a=b\r\nhello\r\n000\r\nTrailer: 1\r\nB: 2\r\n\r\n"),
    (None, b"A\r\n0123456789\r\n1 \r\nx\r\n0;x\r\n\r\n"),
    (None, b"4\r\n\r\n\r\n\r\n0\r\n\r\n"),
    (None, b"0\r\n\r\n"),
]


@pytest.mark.parametrize(("length", "body"), BODIES)
@given(st.lists(st.integers(0, 60), max_size=6))
def test_the_end_of_a_body_is_found_wherever_it_is_cut(
    length: int | None, body: bytes, cuts: list[int]
) -> None:
    data = body + HEAD
    found = Body(length)
    rest = b""
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        piece = data[start:end]
        rest += piece if found.ended else found.take(piece)
    assert found.ended
    assert not found.broken
    assert found.size == len(body)
    assert rest == HEAD


@each_row(
    "body",
    [
        b"zz\r\n",
        b"5\nhello",
        b"-5\r\n",
        b"5 5\r\n",
        b"\r\n",
        b"5\r\nhelloXX\r\n",
        b"5\r\nhello\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"a" * 5_000,
        b"0\r\n" + b"A: b\r\n" * 1_000,
    ],
)
@each_row("step", [1, 1000])
def test_chunks_with_a_fault_are_broken(body: bytes, step: int) -> None:
    found = Body(None)
    for start in range(0, len(body), step):
        if not found.broken:
            found.take(body[start : start + step])
    assert found.broken
    assert not found.ended


def test_a_head_ends_with_an_empty_line() -> None:
    assert HEAD.endswith(HEAD_END)

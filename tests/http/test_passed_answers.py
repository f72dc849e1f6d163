"""What is read of the web process' answers, in one piece and byte by byte."""

from __future__ import annotations

import pytest

from gateway.http.passed_answers import MAX_HEAD, AnswerReader, chunk, client_head
from tests.support.rows import each_row

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def read(data: bytes, method: str = "GET", *, step: int = 0) -> tuple[AnswerReader, bytes]:
    reader, body = AnswerReader(method), b""
    for start in range(0, len(data), step or len(data)):
        body += reader.feed(data[start : start + (step or len(data))])
    return reader, body


@each_row("step", [0, 1, 7])
@each_row(
    ("data", "method", "status", "body", "ends"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", "GET", 200, b"hello", True),
        (OK + b"Content-Length: 5\r\n\r\nhel", "GET", 200, b"hel", False),
        (OK + b"Content-Length: 0\r\n\r\n", "POST", 200, b"", True),
        (OK + CHUNKED + b"\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", "GET", 200, b"hello", True),
        (OK + b"transfer-encoding: Chunked\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n", "GET", 200, b"", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", "GET", 200, b"he", False),
        (OK + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", "GET", 200, b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", 304, b"", True),
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD", 200, b"", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "HEAD", 200, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", "POST", 200, b"x", True),
        (b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", "GET", 200, b"x", True),
        (b"HTTP/1.0 599\r\nContent-Length: 1\r\n\r\nx", "GET", 599, b"x", True),
        (OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", "GET", 200, b"x", True),
    ],
)  # fmt: skip
def test_answers(data: bytes, method: str, status: int, body: bytes, ends: bool, step: int) -> None:
    reader, found = read(data, method, step=step)
    assert reader.head is not None
    assert (reader.head.status, found, reader.ended, reader.broken) == (status, body, ends, False)
    assert reader.end_of_stream() is ends


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader, found = read(OK + b"\r\nhello", step=3)
    assert (found, reader.ended, reader.end_of_stream()) == (b"hello", False, True)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_is_cut_off_in_its_head_is_none(data: bytes) -> None:
    reader = AnswerReader("GET")
    assert reader.feed(data) == b""
    assert reader.head is None
    assert not reader.end_of_stream()


def test_that_the_body_is_wanted_is_noted() -> None:
    assert not read(OK + b"Content-Length: 0\r\n\r\n")[0].continues
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n")[0].continues


@each_row(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5, 5\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b" folded\r\n\r\n",
        OK + b"Name : x\r\n\r\n",
        OK + b"Name: a\nEvil: b\r\n\r\n",
        OK + b"Name: a\0b\r\n\r\n",
        b"x" * (MAX_HEAD + 1),
    ],
)
def test_what_is_no_answer_is_broken(data: bytes) -> None:
    reader, body = read(data)
    assert (reader.broken, body, reader.end_of_stream()) == (True, b"", False)


def test_fields_of_one_connection_and_our_own_end_here() -> None:
    reader, _ = read(
        OK + b"Content-Length: 1\r\nDate: x\r\nServer: x\r\n"
        b"Connection: close, X-Hop\r\nKeep-Alive: 1\r\nX-Hop: 1\r\n"
        b"Set-Cookie: a=b\r\nset-cookie: c=d\r\nUpgrade: x\r\nX-Cafe: 1\r\n\r\nx"
    )
    assert reader.head is not None
    assert client_head(reader.head, is_chunked=False) == (
        OK + b"Set-Cookie: a=b\r\nset-cookie: c=d\r\nX-Cafe: 1\r\nContent-Length: 1\r\n"
    )
    assert client_head(reader.head, is_chunked=True).endswith(b"X-Cafe: 1\r\nTransfer-Encoding: chunked\r\n")


def test_a_length_is_kept_where_there_is_no_body_but_204() -> None:
    for status, kept in ((200, True), (304, True), (204, False)):
        reader, _ = read(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status, "HEAD")
        assert reader.head is not None
        assert (b"Content-Length: 9" in client_head(reader.head, is_chunked=False)) is kept


def test_chunks() -> None:
    assert chunk(b"hello world, hello") == b"12\r\nhello world, hello\r\n"
    assert chunk(b"") == b"0\r\n\r\n"

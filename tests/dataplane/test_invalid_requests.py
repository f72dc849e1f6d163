"""What is not HTTP/1, or hostile: refused, and the connection closes; heads in pieces."""

from __future__ import annotations

import time

import pytest

from tests.support.downloads import LARGE
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.rows import each_row

pytestmark = pytest.mark.usefixtures("no_leak")

_GET = "GET /healthz HTTP/1.1\r\nHost: x\r\n"

BAD: list[tuple[str, bytes]] = [
    ("HTTP/0.9", b"GET /healthz\r\n\r\n"),
    ("no version", b"GET /healthz HTTP/\r\nHost: x\r\n\r\n"),
    ("half a version", b"GET /healthz HTTP/1\r\nHost: x\r\n\r\n"),
    ("a version of two digits", b"GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n"),
    ("a version in small letters", b"GET /healthz http/2.0\r\nHost: x\r\n\r\n"),
    ("another protocol", b"OPTIONS /healthz RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
    ("HTTP/2.0 and two spaces", b"GET  /healthz HTTP/2.0\r\nHost: x\r\n\r\n"),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    ("rubbish", bytes(range(128, 256)) * 3),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n"),
    ("two Hosts", f"{_GET}Host: y\r\n\r\n".encode()),
    ("bare LF", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
    ("bare LF in a field", f"{_GET}A: b\nC: d\r\n\r\n".encode()),
    ("bare CR", f"{_GET}A: b\rC: d\r\n\r\n".encode()),
    ("NUL in a field", f"{_GET}A: b\0c\r\n\r\n".encode()),
    ("obs-fold", f"{_GET}A: b\r\n c\r\n\r\n".encode()),
    ("space before the first field", b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n"),
    ("space before the colon", f"{_GET}A : b\r\n\r\n".encode()),
    ("field without a name", f"{_GET}: b\r\n\r\n".encode()),
    ("field without a colon", f"{_GET}Abc\r\n\r\n".encode()),
    ("CL and TE", f"{_GET}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()),
    ("TE and CL", f"{_GET}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n".encode()),
    ("two equal CLs", f"{_GET}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello".encode()),
    ("two CLs", f"{_GET}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".encode()),
    ("CL list", f"{_GET}Content-Length: 5, 5\r\n\r\nhello".encode()),
    ("CL with sign", f"{_GET}Content-Length: +5\r\n\r\nhello".encode()),
    ("negative CL", f"{_GET}Content-Length: -5\r\n\r\nhello".encode()),
    ("hexadecimal CL", f"{_GET}Content-Length: 0x5\r\n\r\nhello".encode()),
    ("CL with space", f"{_GET}Content-Length: 1 0\r\n\r\nhello".encode()),
    ("huge CL", f"{_GET}Content-Length: {'9' * 40}\r\n\r\nhello".encode()),
    ("unknown TE", f"{_GET}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".encode()),
    ("chunked not last", f"{_GET}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".encode()),
    (
        "chunked twice",
        f"{_GET}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    ),
    ("TE with HTTP/1.0", b"GET /healthz HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("target with a space", b"GET /download /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("two spaces before the target", b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("two spaces after the target", b"GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a space after the version", b"GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n"),
    ("a tab in the request line", b"GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("two spaces, download", b"GET  /download?token=ct_a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a Host with a space", b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a Host with a path", b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a Host with a user", b"GET /download?token=ct_a HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a Host with a bad port", b"GET /healthz HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    ("a Host with brackets only", b"GET /healthz HTTP/1.1\r\nHost: [a]\r\n\r\n"),
    ("a Host beyond ASCII", b"GET /healthz HTTP/1.0\r\nHost: \xc3\xa4\r\n\r\n"),
    ("an empty TE", f"{_GET}Transfer-Encoding:\r\n\r\n".encode()),
    ("a TE of a comma", f"{_GET}Transfer-Encoding: ,\r\n\r\n".encode()),
    ("an empty CL", f"{_GET}Content-Length: \r\n\r\n".encode()),
]
LONG: list[tuple[str, int, bytes]] = [
    ("line", 414, b"GET /download?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("line, no end", 414, b"GET /download?" + b"a" * 200_000),
    ("line of another method", 414, b"OPTIONS /download?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("field", 431, _GET.encode() + b"A: " + b"a" * 20_000 + b"\r\n\r\n"),
    ("field, no end", 431, _GET.encode() + b"A: " + b"a" * 200_000),
    ("field name", 431, _GET.encode() + b"a" * 20_000 + b": b\r\n\r\n"),
    ("too many fields", 431, _GET.encode() + b"A: b\r\n" * 200 + b"\r\n"),
    ("head", 431, _GET.encode() + (b"A: " + b"a" * 8_000 + b"\r\n") * 5 + b"\r\n"),
    ("head, no end", 431, _GET.encode() + (b"A: " + b"a" * 8_000 + b"\r\n") * 5),
    ("head of a body", 431, _GET.encode() + b"Content-Length: 5\r\n" + b"A: bcdef\r\n" * 5_000),
    ("head of a download", 431, _GET.encode().replace(b"healthz", b"download") + b"Abcdef: g\r\n" * 5_000),
]
"""Heads beyond a limit. The limits are `max_line`, `max_field`, `max_headers` and `max_head`."""
VERSIONS: list[tuple[str, int, bytes]] = [
    ("HTTP/2 preface", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/2.0 by name", 505, b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n"),
    ("HTTP/2.0 by name, download", 505, b"GET /download HTTP/2.0\r\nHost: x\r\n\r\n"),
    ("HTTP/3.0 without Host", 505, b"GET /download HTTP/3.0\r\n\r\n"),
    ("HTTP/0.9 by name", 505, b"GET /healthz HTTP/0.9\r\n\r\n"),
    ("HTTP/1.2", 505, b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n"),
    ("HTTP/9.9, no end", 505, b"GET /healthz HTTP/9.9\r\nHost: x\r\n"),
    ("another version, and too long a line", 414, b"GET /" + b"a" * 20_000 + b" HTTP/2.0\r\nHost: x\r\n\r\n"),
]
"""Well-formed versions that are not spoken here (RFC 9110 section 15.6.6)."""
CODES = {
    400: "bad_request",
    414: "uri_too_long",
    431: "head_too_large",
    505: "http_version_not_supported",
}
REFUSED = [(name, 400, data) for name, data in BAD] + LONG + VERSIONS


@each_row(("status", "data"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@each_row("when", ["first", "later", "behind a body", "behind chunks"])
def test_invalid_requests_are_refused_and_close(plane: Plane, status: int, data: bytes, when: str) -> None:
    """A refusal and the end of the connection: nothing after the error is read as a request."""
    before = {
        "first": b"",
        "later": request("/healthz"),
        "behind a body": request("/healthz", "Content-Length: 5") + b"hello",
        "behind chunks": request("/healthz", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    }[when]
    with plane.connect() as client:
        if when == "later":
            client.send(before)
            assert client.read().status == 200
            before = b""
        client.send(before + data + request("/readyz") * 3)
        if before:
            assert client.read().status == 200
        answer = client.read()
        assert (answer.status, answer.code, answer.keeps) == (status, CODES[status], False)
        client.assert_closed()


@each_row(("status", "data"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_bad_requests_behind_a_download(plane: Plane, large: Published, status: int, data: bytes) -> None:
    with plane.connect() as client:
        client.send(request(plane.link(large)))
        head = client.read_head()
        client.send(data)
        assert client.read_bytes(int(head["Content-Length"])) == LARGE
        assert client.read().status == status
        client.assert_closed()


@pytest.mark.parametrize(
    "host", ["", "x", "x:", "x:80", "a-b.example:8080", "127.0.0.1", "[::1]:80", "a_b", "%41"]
)
def test_every_spelling_of_a_host_is_accepted(plane: Plane, small: Published, host: str) -> None:
    head = f"GET {plane.link(small)} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with plane.connect() as client:
        client.send(head.encode())
        assert client.read().body == b"a small file"


@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked"])
def test_chunks_with_http10_close(plane: Plane, small: Published, field: str) -> None:
    """RFC 9112 section 6.1: the framing counts as faulty, whatever the client says about the connection."""
    head = request(plane.link(small), "Connection: keep-alive", field, version="1.0")
    with plane.connect() as client:
        client.send(head + b"5\r\nhello\r\n0\r\n\r\n" + request("/healthz"))
        answer = client.read()
        assert (answer.status, answer.keeps) == (200, False)
        client.assert_closed()


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: aaaa"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
    ],
)
def test_a_request_to_upgrade_is_answered_without_an_upgrade(
    plane: Plane, small: Published, fields: tuple[str, ...]
) -> None:
    """It is answered like any other request; what follows is answered as well, or the connection closes."""
    with plane.connect() as client:
        client.send(request(plane.link(small), *fields) + request("/healthz"))
        answer = client.read()
        assert answer.body == b"a small file"
        if answer.keeps:
            assert client.read().status == 200
        else:
            client.assert_closed()


def test_connect(plane: Plane) -> None:
    with plane.connect() as client:
        client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n\x16\x03\x01")
        assert client.read().status in (400, 404, 405)
        client.assert_closed()


def test_a_head_in_pieces(plane: Plane, small: Published) -> None:
    with plane.connect() as client:
        for link in (plane.link(small), "/healthz"):
            for byte in request(link):
                client.send(bytes((byte,)))
            assert client.read().status == 200


@pytest.mark.parametrize("cut", [1, 20, -3, -2, -1])
def test_a_plain_head_behind_part_of_another(plane: Plane, small: Published, cut: int) -> None:
    """The shortcut for the commonest head must not be taken in the middle of another one."""
    link = plane.link(small)
    with plane.connect() as client:
        for _ in range(3):
            data = request(link, "X-Field: y") + request(link)
            first = len(request(link, "X-Field: y")) + cut if cut > 0 else cut
            client.send(data[:first])
            time.sleep(0.02)
            client.send(data[first:])
            assert client.read().body == client.read().body == b"a small file"
        client.send(request("/healthz", "X: ")[:-2])
        time.sleep(0.02)
        client.send(request(link))  # the rest of that head, then garbage to it
        assert client.read().status in (200, 400)

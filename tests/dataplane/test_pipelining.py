"""Several requests on one connection: the answers come in order, whatever follows and however it comes."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from bench.testbed.usage import resident_bytes
from tests.support.downloads import LARGE
from tests.support.http_client import request, statuses
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.rows import each_row

pytestmark = pytest.mark.usefixtures("no_leak")


def test_pipelining(plane: Plane, small: Published, large: Published) -> None:
    """A hundred requests of every kind in one write: the answers come in order, with the right bytes."""
    one, other, many = plane.link(small), plane.link(large), plane.link(plane.publish(b"1", b"2"))
    kinds: list[tuple[str, tuple[str, ...], int, bytes | None]] = [
        (one, (), 200, b"a small file"),
        ("/healthz", (), 200, b'{"status": "ok"}'),
        (other, (), 200, LARGE),
        ("/download", (), 401, None),
        (many, (), 200, None),
        (one, ("Range: bytes=2-6",), 206, b"small"),
        ("/nowhere", (), 404, None),
        (other, ("Range: bytes=1000000-3999999",), 206, LARGE[1_000_000:4_000_000]),
        ("/readyz", (), 200, None),
        (one, ("Range: bytes=50-",), 416, None),
    ]
    asked = [kinds[number % len(kinds)] for number in range(100)]
    with plane.connect() as client:
        client.send(b"".join(request(target, *fields) for target, fields, _, _ in asked))
        for _, _, status, body in asked:
            answer = client.read()
            assert answer.status == status
            assert body is None or answer.body == body


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/healthz", "/download"])
def test_pipelining_beyond_every_queue(plane: Plane, target: str) -> None:
    """More requests than aiohttp queues (32) and more bytes than we keep during an answer, in one write."""
    count = 3000
    with plane.connect() as client:
        client.send(request(target) * count)
        assert len({client.read().status for _ in range(count)}) == 1
        assert client.get("/healthz").status == 200


def test_pipelining_in_pieces(plane: Plane, small: Published, large: Published) -> None:
    """Requests cut at any byte, which arrive while others are answered."""
    links = [plane.link(small), plane.link(large), "/healthz", plane.link(small)] * 5
    data = b"".join(request(link) for link in links)
    with plane.connect() as client:
        for start in range(0, len(data), 97):
            client.send(data[start : start + 97])
        for link in links:
            answer = client.read()
            assert answer.status == 200
            assert link == "/healthz" or answer.body in (b"a small file", LARGE)


def test_close_ends_a_pipeline(plane: Plane, small: Published) -> None:
    link = plane.link(small)
    with plane.connect() as client:
        client.send(request(link) + request(link, "Connection: close"))
        assert [client.read().keeps for _ in range(2)] == [True, False]
        client.assert_closed()


@pytest.mark.slow
def test_no_answer_is_made_while_others_are_unread(plane: Plane) -> None:
    """A client that sends requests and never reads cannot fill the worker's memory."""
    file = plane.publish(bytes(60_000))
    pid = plane.workers[0].process.pid
    before = resident_bytes(pid)
    with plane.connect(receive_buffer=4096) as client:
        client.socket.settimeout(0.5)
        data = request(plane.link(file)) * 1000
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += client.socket.send(data[sent : sent + 65536])
        assert resident_bytes(pid) - before < 20_000_000  # the answers would be 60 MB
        client.socket.settimeout(60)
        for _ in range(sent // (len(data) // 1000)):
            assert len(client.read().body) == 60_000


@each_row("pieces", [False, True], ids=["one segment", "in pieces"])
@each_row(
    ("requests", "expected"),
    [
        ("GC G", [206]),
        ("G GC G", [206, 206]),
        ("G0 G", [206]),
        ("HC G", [200]),
        ("H G GC", [200, 206, 206]),
        ("G garbage", [206, 400]),
        ("G G long", [206, 206, 414]),
        ("H garbage", [200, 400]),
        ("H G garbage", [200, 206, 400]),
        ("GC stray", [206]),
        ("G stray", [206, 400]),
        ("G GC", [206, 206]),
    ],
)
def test_what_follows_does_not_spoil_an_answer(
    plane: Plane, small: Published, requests: str, expected: list[int], pieces: bool
) -> None:
    """RFC 9112 section 9.3.2: answers come in order, however the requests are divided into packets."""
    get = f"GET {plane.link(small)} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-4\r\n\r\n"
    texts = {
        "G": get,
        "GC": get.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
        "G0": get.replace("HTTP/1.1", "HTTP/1.0"),
        "H": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "HC": "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "garbage": "GARBAGE\r\n\r\n",
        "stray": "stray body",
        "long": f"GET /download?token={'x' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    sent = [texts[name].encode() for name in requests.split()]
    with plane.connect() as client:
        for piece in sent if pieces else [b"".join(sent)]:
            with contextlib.suppress(OSError):  # it may have closed already, as it should
                client.socket.sendall(piece)
            time.sleep(0.05 if pieces else 0)
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)
        answers = client.read_until_closed()
    assert statuses(answers) == expected

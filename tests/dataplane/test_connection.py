"""The connection: what HTTP/1 requires of a server, and what clients do. Real sockets and a real worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.testbed.usage import resident_bytes
from gateway.dataplane.delivery.client_socket import GAP_BYTES
from gateway.runtime.metrics import CONNECTIONS
from gateway.secrets import token_id
from tests.support.plane import Plane, Published, request, run_plane
from tests.support.rows import each_row
from tests.support.store_server import StoreServer
from tests.support.timing import lasts, punctually
from tests.support.waiting import wait_until

LARGE = os.urandom(5_000_000)


@pytest.fixture(scope="module")
def small(plane: Plane) -> Published:
    return plane.publish(b"a small file")


@pytest.fixture(scope="module")
def large(plane: Plane) -> Published:
    return plane.publish(LARGE)


@pytest.fixture(autouse=True)
def no_leak(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of the shared plane leaves it with the descriptors it had."""
    if "plane" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("plane").no_leak():
        yield


# --- one request, one answer --------------------------------------------------------------------------------


def test_head_has_the_head_of_get(plane: Plane, small: Published) -> None:
    link = plane.link(small)
    with plane.connect() as client:
        got, headed = client.get(link), client.get(link, method="HEAD")
    assert got.body == b"a small file"
    assert headed.body == b""
    assert [line for line in headed.lines if line[0] != "Date"] == [
        line for line in got.lines if line[0] != "Date"
    ]


@each_row(
    ("version", "fields", "keeps", "answered"),
    [
        ("1.1", (), True, None),
        ("1.1", ("Connection: close",), False, "close"),
        ("1.1", ("Connection: Close, TE",), False, "close"),
        ("1.1", ("Connection: keep-alive",), True, None),
        ("1.0", (), False, "close"),
        ("1.0", ("Connection: keep-alive",), True, "keep-alive"),
    ],
)
@each_row("kind", ["small", "large", "health", "refused", "index"])
def test_keep_alive(
    plane: Plane,
    small: Published,
    large: Published,
    kind: str,
    version: str,
    fields: tuple[str, ...],
    keeps: bool,
    answered: str | None,
) -> None:
    target = {
        "small": plane.link(small),
        "large": plane.link(large),
        "health": "/healthz",
        "refused": "/download",
        "index": plane.link(plane.publish(b"1", b"2")),
    }[kind]
    with plane.connect() as client:
        client.send(request(target, *fields, version=version))
        answer = client.read()
        assert answer.get("Connection") == answered
        if keeps:
            assert client.get("/healthz").status == 200
        else:
            client.assert_closed()


def test_http10_needs_no_host(plane: Plane, small: Published) -> None:
    with plane.connect() as client:
        client.send(f"GET {plane.link(small)} HTTP/1.0\r\n\r\n".encode())
        assert client.read().body == b"a small file"
        client.assert_closed()


@pytest.mark.parametrize(
    "target",
    [
        "http://host.example{}",
        "http://host.example:8080{}",
        "https://host.example{}",
        "HTTP://HOST{}",
    ],
)
def test_absolute_form(plane: Plane, small: Published, target: str) -> None:
    assert plane.get(target.format(plane.link(small))).body == b"a small file"


@pytest.mark.parametrize(
    "path",
    ["/%64ownload", "/d%6Fwnloa%64", "/download/", "/download/file-0.bin", "//download", "/./download"],
)
def test_other_spellings_of_the_path(plane: Plane, small: Published, path: str) -> None:
    assert plane.get(f"{path}?token={plane.token(small)}").body == b"a small file"


@pytest.mark.parametrize(
    "target",
    ["/", "/downloads", "/downloadx?token=a", "/download%2Fx", "/HEALTHZ", "/healthz/", "//auth"],
)
def test_every_other_path_is_not_found(plane: Plane, target: str) -> None:
    answer = plane.get(target)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("target", ["/healthz", "//healthz", "/x/../healthz", "/download/../%2E/healthz"])
def test_a_path_is_looked_at_without_dot_segments(plane: Plane, target: str) -> None:
    assert plane.get(target).body == b'{"status": "ok"}'


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health(plane: Plane, path: str, method: str) -> None:
    answer = plane.get(path, method=method)
    assert answer.status == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.body == (b'{"status": "ok"}' if method == "GET" else b"")


@each_row("path", ["/healthz", "/download", "/download/x?token=ct_x"])
@each_row("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "SUBSCRIBE"])
def test_other_methods(plane: Plane, path: str, method: str) -> None:
    answer = plane.get(path, method=method)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["FOO", "get", "G\x01T", "GET\x00", "TOKENTOKENTOKEN", ""])
def test_unknown_methods(plane: Plane, method: str) -> None:
    with plane.connect() as client:
        assert client.get("/healthz", method=method).status in (400, 405)


# --- pipelining ---------------------------------------------------------------------------------------------


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


# --- clients that say they are done -------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_half_closed(plane: Plane, small: Published, large: Published, first: int, count: int) -> None:
    """`shutdown(SHUT_WR)` right after the requests: every answer comes, whole, then the end."""
    kinds = [plane.link(large), "/healthz", plane.link(small)]
    asked = [kinds[(first + number) % 3] for number in range(count)]
    with plane.connect() as client:
        client.send(b"".join(request(target) for target in asked))
        client.end()
        for target in asked:
            assert client.read().status == 200, target
        client.assert_closed()


def test_half_closed_during_a_transfer(plane: Plane, large: Published) -> None:
    with plane.connect() as client:
        client.send(request(plane.link(large)))
        length = int(client.read_head()["Content-Length"])
        first = client.read_bytes(1000)
        client.end()
        assert first + client.read_bytes(length - 1000) == LARGE
        client.assert_closed()


@pytest.mark.parametrize("data", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_end_within_a_head(plane: Plane, data: bytes) -> None:
    with plane.connect() as client:
        client.send(data)
        client.end()
        client.assert_closed()


# --- bodies and expectations --------------------------------------------------------------------------------


@each_row("target", ["download", "/healthz", "/nowhere"])
@each_row(
    ("fields", "body"),
    [
        (("Content-Length: 5",), b"hello"),
        (("Content-Length: 0",), b""),
        (("Content-Length: 900000",), b"x" * 900_000),
        (("Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"5;a=b\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n"),
    ],
)
def test_a_stray_body_is_dropped(
    plane: Plane, small: Published, target: str, fields: tuple[str, ...], body: bytes
) -> None:
    link = plane.link(small) if target == "download" else target
    with plane.connect() as client:
        client.send(request(link, *fields) + body + request(link))
        assert client.read().status == client.read().status == (404 if target == "/nowhere" else 200)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_body_too_large_closes(plane: Plane, small: Published, large: Published, size: str) -> None:
    """10 MiB that nobody needs: the answer arrives, even if the client writes them all before it reads."""
    published = small if size == "small" else large
    with plane.connect() as client:
        client.send(request(plane.link(published), f"Content-Length: {10 << 20}") + bytes(10 << 20))
        answer = client.read()
        assert len(answer.body) == published.file.size
        assert not answer.keeps
        client.assert_closed()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("Content-Length: 100", b"only some"),
        ("Transfer-Encoding: chunked", b"5\r\nhel"),
        ("Transfer-Encoding: chunked", b"zz\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhelloXX"),
    ],
)
def test_a_body_never_finished(plane: Plane, small: Published, field: str, body: bytes) -> None:
    with plane.connect() as client:
        client.send(request(plane.link(small), field) + body)
        answer = client.read()
        assert answer.status in (200, 400)
        assert not answer.keeps
        client.assert_closed()


def test_expect_without_a_body(plane: Plane, small: Published) -> None:
    with plane.connect() as client:
        assert client.get(plane.link(small), "Expect: 100-continue").status == 200
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_expect_with_a_body_gets_the_final_answer(plane: Plane, small: Published, field: str) -> None:
    with plane.connect() as client:
        answer = client.get(plane.link(small), "Expect: 100-continue", field)
        assert answer.body == b"a small file"
        assert not answer.keeps
        client.assert_closed()


# --- time and number ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that waits for requests for less than a second."""
    limits = {"header_timeout": 0.4, "keepalive_timeout": 0.8}
    with run_plane(tmp_path_factory.mktemp("hasty"), **limits) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that waits for a client that takes nothing for a second, and has at most four of them."""
    limits = {"stall_timeout": 1.2, "max_connections": 4}
    with run_plane(tmp_path_factory.mktemp("strict"), **limits) as running:
        yield running


@pytest.mark.timing
def test_a_head_that_never_ends_is_cut_off_in_time(hasty: Plane) -> None:
    with hasty.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\n")
        with lasts(0.2, 1):
            client.assert_closed()


@pytest.mark.timing
def test_a_head_that_trickles_is_cut_off_in_time(hasty: Plane) -> None:
    """A byte now and then does not extend the time for a whole head."""
    with hasty.connect() as client, lasts(most=1.2), contextlib.suppress(OSError):
        for byte in request("/healthz", "A: " + "b" * 1000):
            client.send(bytes((byte,)))
            time.sleep(0.05)


@pytest.mark.timing
def test_a_connection_without_a_request_is_closed(hasty: Plane) -> None:
    with hasty.connect() as client, lasts(0.2, 1):
        client.assert_closed()


@pytest.mark.timing
@pytest.mark.parametrize("target", ["/healthz", "/download", "download"])
def test_an_idle_connection_is_closed_in_time(hasty: Plane, target: str) -> None:
    link = hasty.link(hasty.publish(b"x")) if target == "download" else target

    def wait_for_the_end() -> None:
        with hasty.connect() as client:
            client.get(link)
            time.sleep(0.5)  # more than for a head, less than for the next request
            client.get(link)
            with lasts(0.6, 1.5):
                client.assert_closed()

    punctually(wait_for_the_end)


@pytest.mark.slow
@pytest.mark.timing
def test_a_client_that_never_reads_is_cut_off_in_time(strict: Plane) -> None:
    link = strict.link(strict.publish(bytes(40_000_000)), maximum=1)
    identifier = token_id(link.partition("=")[2])

    def own_entries() -> list[dict[str, Any]]:
        return [entry for entry in strict.entries() if entry.get("token") == identifier]

    with strict.no_leak(), strict.connect(receive_buffer=8192) as client:
        client.send(request(link))
        with lasts(1):
            wait_until(lambda: own_entries() != [], "it was cut")
        got = client.read_until_closed()
        assert len(got) < 30_000_000
    [entry] = own_entries()
    assert entry["whole"] is False
    wait_until(lambda: strict.charged(link) == entry["sent"], "the rest was returned")
    assert entry["sent"] <= len(got) + GAP_BYTES


@pytest.mark.slow
def test_a_slow_reader_is_not_cut(strict: Plane) -> None:
    """It takes 4 s in all, several times the limit, but takes something at least every half second."""
    data = os.urandom(30_000_000)
    link = strict.link(strict.publish(data))

    def read_slowly() -> None:
        with strict.connect(receive_buffer=65536) as client:
            client.send(request(link))
            length = int(client.read_head()["Content-Length"])
            pieces = []
            while length:
                piece = client.read_bytes(min(length, 2_000_000))
                pieces.append(piece)
                length -= len(piece)
                time.sleep(0.25)
            assert b"".join(pieces) == data
            assert client.get("/healthz").status == 200

    punctually(read_slowly)


@pytest.mark.timing
def test_a_client_that_reads_a_byte_a_second_delays_no_other(strict: Plane) -> None:
    link = strict.link(strict.publish(bytes(40_000_000)))
    with strict.no_leak(), strict.connect(receive_buffer=4096) as client:
        client.send(request(link))
        for _ in range(3):
            with contextlib.suppress(ConnectionError):  # it was too slow, and was cut off
                client.socket.recv(1)
            with lasts(most=0.3):
                assert strict.get("/healthz").status == 200
            time.sleep(0.3)


def test_connections_beyond_the_limit_are_refused(strict: Plane) -> None:
    values = strict.workers[0].counters.values
    wait_until(lambda: not values()[CONNECTIONS], "those of other tests have ended")
    kept = [strict.connect() for _ in range(4)]
    try:
        for client in kept:
            assert client.get("/healthz").status == 200
        with strict.connect() as refused:
            answer = refused.read()
            assert (answer.status, answer.code, answer.keeps) == (503, "overloaded", False)
            assert int(answer["Retry-After"]) > 0
            refused.end()
            refused.assert_closed()
        assert kept[0].get("/healthz").status == 200
    finally:
        for client in kept:
            client.socket.close()

    def served() -> bool:
        return strict.get("/healthz").status == 200

    wait_until(served, "there was room again")


# --- clients that vanish ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [b"", request("/healthz")], ids=["alone", "pipelined"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_that_vanishes_in_a_transfer_gets_its_bytes_back(
    plane: Plane, prefix: bytes, leave: str
) -> None:
    link = plane.link(plane.publish(bytes(50_000_000)), maximum=1)
    with plane.no_leak():
        client = plane.connect()
        client.send(prefix + request(link))
        if prefix:
            client.read()
        client.read_head()
        client.read_bytes(100_000)
        if leave == "reset":
            client.reset()
        else:
            client.socket.close()
    wait_until(lambda: 100_000 <= plane.charged(link) < 20_000_000, "the rest was returned")


def test_a_client_that_vanishes_before_the_answer(
    own_store: StoreServer, make_plane: Callable[..., Plane]
) -> None:
    """Clients leave while their claim is under way; those who stay get and pay for their own answers."""
    plane = make_plane()
    store = own_store.process
    assert store is not None
    contents = [os.urandom(100_000) for _ in range(8)]
    links = [plane.link(plane.publish(content), maximum=2) for content in contents]
    for link in links:
        assert plane.get(link).status == 200
    with plane.no_leak():
        store.send_signal(signal.SIGSTOP)
        clients = [plane.connect() for _ in links]
        for client, link in zip(clients, links, strict=True):
            client.send(request(link))
        time.sleep(0.1)
        for client in clients[::2]:
            client.reset()
        time.sleep(0.1)
        store.send_signal(signal.SIGCONT)
        for client, content in list(zip(clients, contents, strict=True))[1::2]:
            assert client.read().body == content
            client.socket.close()
    wait_until(
        lambda: [plane.charged(link) for link in links] == [100_000, 200_000] * 4, "the rest was returned"
    )


def test_a_reset_does_not_overtake_the_answer(plane: Plane) -> None:
    """Bytes that we never read must not turn our closing into a reset, which would lose the refusal."""
    for _ in range(20):
        with plane.connect() as client:
            client.send(b"\x16\x03\x01")
            client.send(b"x" * 100_000)
            time.sleep(0.01)
            assert client.read().status == 400


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]


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


@pytest.mark.parametrize("method", ["FOO", "BREW", "X-Y"])
def test_a_method_that_the_parser_does_not_know_is_refused(plane: Plane, method: str) -> None:
    answers = plane.exchange(f"{method} /download HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert statuses(answers) == [405]
    assert b"\r\nAllow: GET, HEAD\r\n" in answers

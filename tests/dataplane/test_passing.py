"""Requests that a worker passes on, against a web process that does what each test says."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks.proxy import check_hooks
from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import Exchange
from gateway.dataplane.passing import Bounds, Passing, Room
from gateway.dataplane.server import Server
from gateway.errors import Refused
from gateway.http.client_address import TrustedProxies
from gateway.http.passing import MAX_BODY
from gateway.runtime.addresses import MAX_SOCKET_PATH, Address
from gateway.runtime.metrics import Counters
from tests.support.in_loop_server import LIMITS
from tests.support.plane import Client, Plane, request
from tests.support.store_server import StoreServer
from tests.support.timing import punctually
from tests.support.waiting import wait_until
from tests.support.web_stand_in import Taken, WebStandIn, answering

SHORT = {"header_timeout": 2.0, "stall_timeout": 4.0}
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def plane(shared_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("passing")
    running = Plane(folder, shared_store.url, {"cors_origins": ["*"], "trusted_proxies": ["127.0.0.2"]})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def web(plane: Plane) -> Iterator[WebStandIn]:
    with WebStandIn(plane.folder / "data" / "web.sock") as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def hasty(shared_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker with short time-outs."""
    running = Plane(tmp_path_factory.mktemp("hasty"), shared_store.url, SHORT)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def hasty_web(hasty: Plane) -> Iterator[WebStandIn]:
    with WebStandIn(hasty.folder / "data" / "web.sock") as standing_in:
        yield standing_in


def entry_of(plane: Plane, path: str) -> dict[str, Any]:
    """The line that the log has of a path that was asked for once."""

    def lines() -> list[dict[str, Any]]:
        return [each for each in plane.entries() if each.get("path") == path] if plane.log.exists() else []

    wait_until(lambda: bool(lines()), "the request is logged")
    [entry] = lines()
    return entry


def post(path: str, body: bytes, *fields: str) -> bytes:
    return request(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


# What arrives at the web process, and what comes back.


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_request_goes_through_and_is_logged_once(plane: Plane, web: WebStandIn, method: str) -> None:
    with plane.connect() as client:
        target = f"/hooks/{method}/secret?q=%20"
        client.send(request(target, "X-Shop: 1", "Cookie: a=b", method=method))
        answer = client.read()
        assert (answer.status, answer.body, answer.keeps) == (200, b"ok", True)
        assert "Access-Control-Allow-Origin" not in answer
        assert client.get("/healthz").status == 200
    [taken] = web.taken
    first, *fields = taken.head.decode().split("\r\n")
    assert first == f"{method} {target} HTTP/1.1"
    assert fields[:3] == ["Host: localhost", "X-Shop: 1", "Cookie: a=b"]
    assert "X-Forwarded-For: 127.0.0.1" in fields
    assert "X-Forwarded-Proto: http" in fields
    entry = entry_of(plane, f"/hooks/{method}/[secret]")
    assert (entry["method"], entry["client"]) == (method, "127.0.0.1")
    assert (entry["status"], entry["sent"], entry["whole"]) == (200, 2, True)


def take_and_wait(taken: Taken) -> None:
    """Read the request's head, and then until the worker ends the connection."""
    taken.read_head()
    taken.read_end()


BODIES = [b"", b"x", bytes(range(256)) * 40, b"0\r\n\r\n" * 99, b"z" * MAX_BODY]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_a_body_with_a_length_arrives_as_it_is(plane: Plane, web: WebStandIn, body: bytes) -> None:
    with plane.connect() as client:
        client.send(post("/hooks/a", body))
        assert client.read().status == 200
    assert web.taken[0].body == body


@pytest.mark.parametrize(
    ("body", "size"),
    [(body, size) for body in BODIES[1:] for size in (1, 7, 70_000) if len(body) < 20_000 * size],
    ids=lambda each: str(each if isinstance(each, int) else len(each)),
)
def test_a_chunked_body_arrives_with_its_content(
    plane: Plane, web: WebStandIn, body: bytes, size: int
) -> None:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    data = (
        b"".join(b"%X;ext=1\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\nX-Trailer: 1\r\n\r\n"
    )
    with plane.connect() as client:
        client.send(request("/hooks/a", "Transfer-Encoding: chunked", method="POST") + data)
        assert client.read().status == 200
        assert client.get("/healthz").status == 200  # nothing of the body was left over
    assert unchunk(web.taken[0].body) == body
    assert b"X-Trailer" not in web.taken[0].body


def unchunk(data: bytes) -> bytes:
    content = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            return content
        content, data = content + data[: int(size, 16)], data[int(size, 16) + 2 :]


@pytest.mark.parametrize(
    ("answer", "body", "keeps"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5\r\nhello", True),
        (OK + CHUNKED + b"\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", True),
        (OK + b"\r\nhello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b"ETag: x\r\n", True),
        (b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", b"Content-Length: 0\r\n", True),
    ],
)  # fmt: skip
def test_answers_of_every_framing(
    plane: Plane, web: WebStandIn, answer: bytes, body: bytes, keeps: bool
) -> None:
    def in_one_write(taken: Taken) -> None:
        taken.read()
        taken.send(answer)

    web.script = in_one_write
    status = answer[9:12]
    # pipelined: the second answer shows where the first one ended
    found = plane.exchange(request("/my") + request("/healthz", "Connection: close"))
    first, _, second = found.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 " + status)
    assert b"Connection" not in first
    fields = b"".join(line + b"\r\n" for line in first.split(b"\r\n")[1:] if not line.startswith(b"Date: "))
    rest, _, health = second.partition(b"HTTP/1.1 200 OK\r\nContent-Type: application/json")
    assert health
    assert fields + rest == body


def test_head_and_its_length(plane: Plane, web: WebStandIn) -> None:
    web.script = answering(OK + b"Content-Length: 5\r\n\r\n")
    with plane.connect() as client:
        answer = client.get("/my", method="HEAD")
        assert (answer.status, answer["Content-Length"]) == (200, "5")
        assert client.get("/healthz").status == 200


def test_http_1_0_gets_no_chunks(plane: Plane, web: WebStandIn) -> None:
    web.script = answering(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    for fields in ((), ("Connection: keep-alive",)):
        found = plane.exchange(request("/my", *fields, version="1.0"))
        head, _, body = found.partition(b"\r\n\r\n")
        assert body == b"hello"
        assert b"Transfer-Encoding" not in head
        assert b"Connection: close" in head
    assert b"HTTP/1.1" in web.heads[0]


def test_an_early_answer_ends_the_connection(plane: Plane, web: WebStandIn) -> None:
    def refuse(taken: Taken) -> None:
        taken.read_head()
        taken.send(b"HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\nno")
        taken.read_end()

    web.script = refuse
    with plane.connect() as client:
        client.send(request("/hooks/a", "Content-Length: 1000", method="POST") + b"begin")
        answer = client.read()
        assert (answer.status, answer.body, answer.keeps) == (401, b"no", False)
        client.assert_closed()


def test_an_expectation_is_answered_by_the_web_process(hasty: Plane, hasty_web: WebStandIn) -> None:
    told = threading.Event()

    def want(taken: Taken) -> None:
        assert b"\r\nExpect: 100-continue" in taken.read_head()
        assert taken.body == b""
        told.wait(60)
        taken.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(taken.body) < 5:
            taken.body += taken.receive()
        taken.send(OK + b"Content-Length: 0\r\n\r\n")

    hasty_web.script = want

    def expect() -> None:
        told.clear()
        with hasty.connect() as client:
            client.send(request("/hooks/a", "Content-Length: 5", "Expect: 100-continue", method="POST"))
            time.sleep(1.2 * SHORT["header_timeout"])  # the body is not late before it is asked for
            told.set()
            interim = client.read_bytes(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
            assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"hello")
            assert client.read().status == 200
            assert client.get("/healthz").status == 200

    punctually(expect)
    assert hasty_web.taken[-1].body == b"hello"


def test_pipelined_requests_after_a_body(plane: Plane, web: WebStandIn) -> None:
    found = plane.exchange(
        post("/hooks/a", b"first") + post("/hooks/b", b"second") + request("/healthz", "Connection: close")
    )
    assert found.count(b"HTTP/1.1 200 OK") == 3
    assert [each.body for each in web.taken] == [b"first", b"second"]


# Whose address.


@pytest.mark.parametrize(
    ("local", "fields", "client", "scheme"),
    [
        ("127.0.0.1", ("X-Forwarded-For: 203.0.113.1", "X-Real-IP: 203.0.113.1"), "127.0.0.1", "http"),
        ("127.0.0.1", ("Forwarded: for=203.0.113.1", "X-Forwarded-Proto: https"), "127.0.0.1", "http"),
        ("127.0.0.1", ("Connection: X-Forwarded-For", "X-Forwarded-For: 203.0.113.1"), "127.0.0.1", "http"),
        (
            "127.0.0.2",
            ("X-Forwarded-For: 198.51.100.9, 203.0.113.1", "X-Forwarded-Proto: https"),
            "203.0.113.1",
            "https",
        ),
        ("127.0.0.2", ("Forwarded: for=203.0.113.1",), "203.0.113.1", "http"),
        ("127.0.0.2", ("X-Real-IP: 203.0.113.1",), "127.0.0.2", "http"),
    ],
)  # fmt: skip
def test_only_what_the_worker_trusts_is_passed_on(
    plane: Plane, web: WebStandIn, local: str, fields: tuple[str, ...], client: str, scheme: str
) -> None:
    with socket.create_connection(plane.address, timeout=60, source_address=(local, 0)) as link:
        link.sendall(request("/my", *fields, "Connection: close"))
        assert link.recv(99).startswith(OK)
    passed = [line for line in web.heads[0].decode().split("\r\n") if "orwarded" in line or "Real" in line]
    assert passed == [f"X-Forwarded-For: {client}", f"X-Forwarded-Proto: {scheme}"]


@pytest.mark.parametrize(("local", "passed"), [("127.0.0.1", False), ("127.0.0.2", True)])
def test_the_trace_of_a_trusted_proxy_goes_on(
    plane: Plane, web: WebStandIn, local: str, passed: bool
) -> None:
    field = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with socket.create_connection(plane.address, timeout=60, source_address=(local, 0)) as link:
        link.sendall(request("/my", field, "Connection: close"))
        assert link.recv(99).startswith(OK)
    assert (field.encode() in web.heads[0]) is passed


def test_fields_that_name_two_clients_are_refused(plane: Plane, web: WebStandIn) -> None:
    with socket.create_connection(plane.address, timeout=60, source_address=("127.0.0.2", 0)) as link:
        link.sendall(request("/my", "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.2"))
        assert link.recv(99).startswith(b"HTTP/1.1 400 ")
    assert web.taken == []


# What is not passed on.

PRIVATE = [
    "/api/orders",
    "/hooks/../api/orders",
    "/hooks/%2e%2e/api/orders",
    "/my/../api/orders",
    "/my/./../api/orders",
    "//api/orders",
    "/hooks%2f..%2fapi%2forders",
    "/%2e%2e/api/orders",
    "http://127.0.0.1:8083/api/orders",
    "http://127.0.0.1:8083/hooks/../api/orders",
    "/HOOKS/../api",
    "/readyz/../api",
    "/metrics",
    "/dashboard",
    "/hooksx",
    "/nothing",
]


@pytest.mark.parametrize("target", PRIVATE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_passed_on(plane: Plane, web: WebStandIn, target: str, method: str) -> None:
    answer = plane.get(target, "Content-Length: 0", "X-Original-URI: /hooks/a", method=method)
    assert (answer.status, answer.code) == (404, "not_found")
    assert web.taken == []


@pytest.mark.parametrize(
    "data",
    [
        post("/hooks/a", b"x", "Transfer-Encoding: chunked"),
        post("/hooks/a", b"x", "Content-Length: 2"),
        post("/hooks/a", b"x", "Content-Length : 1"),
        request("/hooks/a", "Transfer-Encoding: chunked, identity", method="POST") + b"0\r\n\r\n",
        request("/hooks/a", "Transfer-Encoding: xchunked", method="POST") + b"0\r\n\r\n",
        request("/hooks/a", "Transfer-Encoding: \x0bchunked", method="POST") + b"0\r\n\r\n",
        request("/hooks/a", "Transfer-Encoding : chunked", method="POST") + b"0\r\n\r\n",
        request("/hooks/a", "Content-Length: +1", method="POST") + b"x",
        request("/hooks/a", "Content-Length: 0x1", method="POST") + b"x",
        request("/hooks/a", "X: a\rTransfer-Encoding: chunked", method="POST") + b"0\r\n\r\n",
        request("/hooks/a", "X: a\nContent-Length: 4", method="POST") + b"0\r\n\r\n",
        b"POST /hooks/a HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"GET /hooks/a\x0bHTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:b@@c /hooks/a HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_smuggling_shapes_are_refused(plane: Plane, web: WebStandIn, data: bytes) -> None:
    found = plane.exchange(data + request("/api/orders"))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1
    assert web.taken == []


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhelloXX0\r\n\r\n",
        b"zz\r\n",
        b"5\nhello\n0\n\n",
        b"-1\r\n",
        b"5\r\nhello\r\n0\r\nX\n\n" + b"x" * 9000,
    ],
)
def test_a_body_in_bad_chunks_ends_the_request_there_too(
    plane: Plane, web: WebStandIn, chunks: bytes
) -> None:
    ended = threading.Event()

    def take(taken: Taken) -> None:
        try:
            take_and_wait(taken)
        finally:
            ended.set()

    web.script = take
    found = plane.exchange(request("/hooks/a", "Transfer-Encoding: chunked", method="POST") + chunks)
    assert found.startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: not web.taken or ended.is_set(), "the request ends at the web process")


# Bodies that are too long or too slow, and clients that leave.


@pytest.mark.parametrize("expects", [(), ("Expect: 100-continue",)])
def test_a_length_above_the_limit_is_refused_at_once(
    plane: Plane, web: WebStandIn, expects: tuple[str, ...]
) -> None:
    path = f"/hooks/long-{len(expects)}"
    with plane.connect() as client:
        client.send(request(path, f"Content-Length: {MAX_BODY + 1}", *expects, method="POST"))
        answer = client.read()
        assert (answer.status, answer.code, answer.keeps) == (413, "too_large", False)
    assert web.taken == []
    assert entry_of(plane, path)["code"] == "too_large"


def test_chunks_above_the_limit_are_refused_without_the_rest(plane: Plane, web: WebStandIn) -> None:
    cut = threading.Event()

    def take(taken: Taken) -> None:
        taken.read_head()
        taken.read_end()
        cut.set()

    web.script = take
    with plane.connect() as client:
        client.send(request("/hooks/a", "Transfer-Encoding: chunked", method="POST"))
        piece = b"%X\r\n%b\r\n" % (65536, bytes(65536))
        for _ in range(MAX_BODY // 65536):
            client.send(piece)
        client.send(b"1\r\nx\r\n")
        answer = client.read()
        assert (answer.status, answer.code, answer.keeps) == (413, "too_large", False)
    assert cut.wait(60)


@pytest.mark.parametrize("begun", [b"", b"he"])
def test_a_body_that_does_not_go_on_is_408(hasty: Plane, hasty_web: WebStandIn, begun: bytes) -> None:
    cut = threading.Event()

    def take(taken: Taken) -> None:
        taken.read_head()
        taken.read_end()
        cut.set()

    hasty_web.script = take
    numbers = count()

    def be_slow() -> str:
        path = f"/hooks/slow-{len(begun)}-{next(numbers)}"
        with hasty.connect() as client:
            client.send(request(path, "Content-Length: 5", method="POST") + begun)
            answer = client.read()
            assert (answer.status, answer.code, answer.keeps) == (408, "request_timeout", False)
        return path

    path = punctually(be_slow)
    assert cut.wait(60)
    assert entry_of(hasty, path)["status"] == 408


@pytest.mark.slow
def test_a_body_that_drips_ends_at_last(hasty: Plane, hasty_web: WebStandIn) -> None:
    hasty_web.script = take_and_wait

    def drip() -> None:
        with hasty.connect() as client:
            client.send(request("/hooks/a", "Content-Length: 500", method="POST"))
            client.socket.settimeout(0.2)
            answer = b""
            for _ in range(100):
                client.send(b"x")
                try:
                    answer = client.socket.recv(999)
                    break
                except TimeoutError:
                    pass
        assert answer.startswith(b"HTTP/1.1 408 ")

    punctually(drip)


@pytest.mark.parametrize("how", ["close", "reset", "end"])
def test_when_the_client_leaves_within_its_body_the_request_ends_there(
    plane: Plane, web: WebStandIn, how: str
) -> None:
    got, cut = threading.Event(), threading.Event()

    def take(taken: Taken) -> None:
        taken.read_head()
        got.set()
        taken.read_end()
        cut.set()

    web.script = take
    client = plane.connect()
    client.send(request("/hooks/a", "Content-Length: 500", method="POST") + b"x")
    assert got.wait(60)
    if how == "end":
        client.end()
        assert client.read().status == 400
        client.assert_closed()
    elif how == "reset":
        client.reset()
    client.socket.close()
    assert cut.wait(60)


def test_when_the_client_leaves_within_the_answer_the_request_ends_there(
    plane: Plane, web: WebStandIn
) -> None:
    cut = threading.Event()

    def stream(taken: Taken) -> None:
        taken.read()
        taken.send(OK + b"Content-Length: 1000000000\r\n\r\n")
        try:
            while True:
                taken.send(bytes(65536))
        except OSError:
            cut.set()

    web.script = stream
    with plane.connect() as client:
        client.send(request("/my"))
        client.read_head()
        client.reset()
    assert cut.wait(60)


@pytest.mark.slow
def test_a_client_that_takes_nothing_holds_little_and_is_broken_off(
    hasty: Plane, hasty_web: WebStandIn
) -> None:
    sent, cut = [0], threading.Event()

    def stream(taken: Taken) -> None:
        taken.read()
        taken.send(OK + b"Content-Length: 1000000000\r\n\r\n")
        try:
            while True:
                taken.send(bytes(65536))
                sent[0] += 65536
        except OSError:
            cut.set()

    hasty_web.script = stream
    with hasty.connect(receive_buffer=4096) as client:
        client.send(request("/my"))
        assert cut.wait(60)  # after stall_timeout
    assert sent[0] < 20_000_000  # what two kernels' buffers hold, and little more


def test_a_client_that_has_sent_all_may_end_its_side(plane: Plane, web: WebStandIn) -> None:
    with plane.connect() as client:
        client.send(post("/hooks/a", b"hello"))
        client.end()
        assert client.read().status == 200
        client.assert_closed()


# A web process that does not do its part.


@pytest.mark.parametrize("path", ["/hooks/nobody", "/my/nobody"])
def test_without_the_web_process_it_is_503(plane: Plane, path: str) -> None:
    with plane.connect() as client:
        client.send(post(path, b"hello"))
        answer = client.read()
        assert (answer.status, answer.code) == (503, "web_unavailable")
        assert int(answer["Retry-After"]) > 0
    assert entry_of(plane, path)["code"] == "web_unavailable"
    assert "does not reach" in check_hooks("http://{}:{}".format(*plane.address)).text
    page = plane.get("/my", "Accept: text/html")
    assert (page.status, page["Content-Type"]) == (503, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"nonsense\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n"]
)
def test_an_answer_that_never_was_one_is_503(plane: Plane, web: WebStandIn, answer: bytes) -> None:
    web.script = answering(answer)
    with plane.connect() as client:
        client.send(post("/hooks/a", b"hello"))
        refused = client.read()
        assert (refused.status, refused.code, refused.keeps) == (503, "web_unavailable", True)
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\n\r\nhel",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_cut_off_breaks_the_connection(
    plane: Plane, web: WebStandIn, answer: bytes
) -> None:
    begun = threading.Event()

    def in_two_parts(taken: Taken) -> None:
        taken.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        taken.send(head + b"\r\n\r\n")
        assert begun.wait(60)  # else it would be 503, where worker and client have nothing of it yet
        taken.send(body)

    web.script = in_two_parts
    path = f"/my/cut-{len(answer)}"
    with plane.connect() as client:
        client.send(request(path))
        received = client.socket.recv(1)
        begun.set()
        received += client.read_until_closed()
        assert received.startswith(OK)
        assert not received.endswith(b"0\r\n\r\n")
    entry = entry_of(plane, path)
    assert (entry["status"], entry["whole"]) == (200, False)


def test_what_waits_for_the_web_process_is_answered_when_it_accepts(plane: Plane) -> None:
    path = plane.folder / "data" / "web.sock"
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(str(path))
        waiting.listen(8)  # nobody accepts: the process is being started again
        with plane.connect() as client:
            client.send(post("/hooks/a", b"hello"))
            waiting.settimeout(60)
            link, _ = waiting.accept()
            with link:
                taken = Taken(link)
                assert taken.read() == b"hello"
                taken.send(OK + b"Content-Length: 0\r\n\r\n")
                assert client.read().status == 200
    path.unlink()


# In the test's own event loop: what takes long, and what needs small bounds.


Passed = tuple[Callable[[], Client], list[Exchange], Room]


@asynccontextmanager
async def passing(
    path: Path, **options: Any
) -> AsyncIterator[tuple[Callable[[], Client], list[Exchange], Room]]:
    """A server that passes requests on to a unix socket. options: of Passing, and bounds of its room."""
    counters, ended = Counters(), list[Exchange]()
    room = Room(options.pop("bounds", None))
    endings = Endings(counters)
    to_web = Passing(Address(path=str(path)), endings, TrustedProxies(()), LIMITS, room, **options)
    server = Server(print, None, ended.append, print, counters, LIMITS, pass_on=to_web.begin)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    server.start()
    listener = await loop.create_server(server, "127.0.0.1", 0)
    address = listener.sockets[0].getsockname()
    try:
        yield lambda: Client(address), ended, room
    finally:
        listener.close()
        server.stop()


async def emptied(room: Room) -> None:
    """Wait until nothing is counted any more."""
    async with asyncio.timeout(60):
        while not room.is_empty:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("begins", [False, True])
async def test_a_web_process_that_hangs_is_503_or_breaks_off(tmp_path: Path, begins: bool) -> None:
    def hang(taken: Taken) -> None:
        taken.read()
        if begins:
            taken.send(OK + b"Content-Length: 5\r\n\r\nhel")
        taken.read_end()

    def ask(connect: Callable[[], Client]) -> bytes:
        with connect() as client:
            client.send(post("/hooks/a", b"hello"))
            if begins:
                return client.read_until_closed()
            answer = client.read()
            assert answer["Retry-After"]
            return json.dumps([answer.status, answer.code, answer.keeps]).encode()

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = hang
        async with passing(web.path, answer_seconds=0.3) as (connect, ended, room):
            found = await asyncio.to_thread(ask, connect)
            assert found.endswith(b"\r\nhel" if begins else b'[503, "web_unavailable", true]')
            await emptied(room)
            assert [each.status for each in ended] == [200 if begins else 503]


@pytest.mark.parametrize("bounds", [Bounds(requests=3), Bounds(requests_each=3)])
async def test_more_at_once_than_there_is_room_for_are_503(tmp_path: Path, bounds: Bounds) -> None:
    released = threading.Event()

    def wait(taken: Taken) -> None:
        taken.read()
        released.wait(60)
        taken.send(OK + b"Content-Length: 0\r\n\r\n")

    def ask(connect: Callable[[], Client], web: WebStandIn) -> None:
        clients = [connect() for _ in range(3)]
        for each in clients:
            each.send(request("/my"))
        wait_until(lambda: len(web.heads) == 3 and all(web.heads), "all wait for an answer")
        with connect() as client:
            answer = client.get("/my")
            assert (answer.status, answer.code) == (503, "overloaded")
            assert answer["Retry-After"]
        released.set()
        for each in clients:
            assert each.read().status == 200
            each.socket.close()
        with connect() as client:
            assert client.get("/my").status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = wait
        async with passing(web.path, bounds=bounds) as (connect, _, room):
            await asyncio.to_thread(ask, connect, web)
            await emptied(room)


async def test_the_bodies_that_are_held_are_bounded(tmp_path: Path) -> None:
    def ask(connect: Callable[[], Client], web: WebStandIn) -> None:
        with connect() as first, connect() as second:
            first.send(request("/hooks/a", "Content-Length: 1000", method="POST") + bytes(600))
            wait_until(lambda: bool(web.taken and web.taken[0].head), "the first body is held")
            second.send(request("/hooks/a", "Content-Length: 500", method="POST") + bytes(500))
            assert second.read().code == "overloaded"
            first.send(bytes(400))
            assert first.read().status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        async with passing(web.path, bounds=Bounds(held=1000)) as (connect, _, room):
            await asyncio.to_thread(ask, connect, web)
            await emptied(room)


def test_a_client_cannot_use_the_room_of_others() -> None:
    room = Room(Bounds(requests=5, requests_each=2, held=100, held_each=40))
    for _ in range(2):
        room.enter("a")
    with pytest.raises(Refused):
        room.enter("a")
    room.enter("b")
    room.hold("a", 40)
    with pytest.raises(Refused):
        room.hold("a", 1)
    room.hold("b", 40)
    room.enter("")
    with pytest.raises(Refused):
        room.hold("", 20)  # 101 of all
    for group, held in (("a", 41), ("a", 0), ("b", 40), ("", 20)):
        room.leave(group, held)
    assert room.is_empty


async def test_a_web_process_that_takes_nothing_holds_back_the_client(tmp_path: Path) -> None:
    released = threading.Event()

    def stop(taken: Taken) -> None:
        taken.read_head()
        released.wait(60)
        while len(taken.body) < MAX_BODY:
            taken.body += taken.receive()
        taken.send(OK + b"Content-Length: 0\r\n\r\n")

    def ask(connect: Callable[[], Client]) -> None:
        with connect() as client:
            sending = threading.Thread(target=client.send, args=(post("/hooks/a", b"x" * MAX_BODY),))
            sending.start()
            sending.join(0.5)
            released.set()
            sending.join(10)
            assert client.read().status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = stop
        async with passing(web.path) as (connect, _, room):
            await asyncio.to_thread(ask, connect)
            await emptied(room)
        assert web.taken[0].body == b"x" * MAX_BODY


async def test_a_data_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    path = folder / "web.sock"
    assert len(str(path)) > MAX_SOCKET_PATH

    def ask(connect: Callable[[], Client]) -> None:
        with connect() as client:
            assert client.get("/my").status == 200

    with WebStandIn(tmp_path / "short.sock") as web:
        path.symlink_to(web.path)
        async with passing(path) as (connect, _, _room):
            await asyncio.to_thread(ask, connect)

"""Bodies that are too long or too slow, and clients that leave or take nothing."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from gateway.http.passing import MAX_BODY
from tests.support.http_client import request
from tests.support.passing import OK, SHORT, entry_of, post, take_and_wait
from tests.support.plane import Plane
from tests.support.timing import punctually
from tests.support.web_stand_in import Taken, WebStandIn


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

"""What is not passed on: private paths, and requests that have two readings."""

from __future__ import annotations

import threading

import pytest

from tests.support.http_client import request
from tests.support.passing import post, take_and_wait
from tests.support.plane import Plane
from tests.support.waiting import wait_until
from tests.support.web_stand_in import Taken, WebStandIn

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

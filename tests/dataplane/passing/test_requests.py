"""Requests that a worker passes on: what arrives at the web process, what comes back, and whose address."""

from __future__ import annotations

import socket

import pytest

from gateway.http.passing import MAX_BODY
from tests.support.http_client import request
from tests.support.passing import OK, entry_of, post
from tests.support.plane import Plane
from tests.support.web_stand_in import Taken, WebStandIn, answering

CHUNKED = b"Transfer-Encoding: chunked\r\n"


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

"""What ends before a request of it was read is in the log, with the client's address: real connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificate
from tests.support.http_client import CLIENT_SECONDS
from tests.support.plane import Plane, run_plane
from tests.support.timing import punctually
from tests.support.waiting import wait_until

CLIENT = "127.0.0.2"
MOST = 8
OPTIONS: Any = {"max_connections": MOST, "max_line": 2000, "max_field": 2000}
HASTY: Any = {"header_timeout": 0.8}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with run_plane(tmp_path_factory.mktemp("plain"), **OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = make_certificate(folder)
    with run_plane(folder, tls_cert=certificate, tls_key=key, **OPTIONS) as running:
        running.client_context = ssl.create_default_context(cafile=str(certificate))
        yield running


def connect(plane: Plane) -> socket.socket:
    return socket.create_connection(plane.address, CLIENT_SECONDS, source_address=(CLIENT, 0))


def unread(plane: Plane) -> list[dict[str, Any]]:
    return [line for line in plane.entries() if "method" not in line]


def check_lines(plane: Plane, before: int, count: int, status: int, code: str) -> None:
    wait_until(lambda: len(unread(plane)) >= before + count, "it is logged")
    for line in unread(plane)[before:]:
        assert line.keys() <= {"time", "client", "status", "sent", "seconds", "code"}
        assert (line["client"], line["status"], line["code"]) == (CLIENT, status, code)


TOKEN = "ct_" + "k" * 43


@pytest.mark.parametrize(
    "head",
    [
        f"GET /download?token={TOKEN} HTTP/1.1\r\nHost: x\r\nno field {TOKEN}\r\n\r\n",
        f"GET /download?token={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {TOKEN}\r\n\r\n",
        f"GET /download?token={TOKEN}\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_head_that_cannot_be_read(plain: Plane, head: str) -> None:
    before = len(unread(plain))
    with connect(plain) as client:
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    check_lines(plain, before, 1, 400, "bad_request")
    assert TOKEN not in plain.log.read_text()


@pytest.mark.parametrize(
    "head", [f"GET /{'x' * 5000} HTTP/1.1\r\nHost: x\r\n\r\n", f"GET / HTTP/1.1\r\nX: {'x' * 5000}\r\n\r\n"]
)
def test_a_head_that_is_too_large(plain: Plane, head: str) -> None:
    before = len(unread(plain))
    with connect(plain) as client:
        client.sendall(head.encode())
        answer = client.recv(1000)
    status = int(answer.split()[1])
    assert status in (400, 414, 431)
    wait_until(lambda: len(unread(plain)) > before, "it is logged")
    [line] = unread(plain)[before:]
    assert (line["client"], line["status"]) == (CLIENT, status)
    assert line["code"] in answer.decode()


def test_a_head_that_comes_too_late(tmp_path: Path) -> None:
    with run_plane(tmp_path, **HASTY) as hasty:

        def be_late() -> None:
            before = len(unread(hasty))
            with connect(hasty) as client, connect(hasty) as silent:
                client.sendall(f"GET /download?token={TOKEN} HTTP/1.1\r\nHos".encode())
                assert client.recv(1000) == b""
                assert silent.recv(1000) == b""
            check_lines(hasty, before, 1, 408, "head_timeout")  # the silent one was not refused anything

        punctually(be_late)
        assert TOKEN not in hasty.log.read_text()


def test_connections_beyond_the_limit(plain: Plane) -> None:
    before = len(unread(plain))
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(plain)) for _ in range(MOST + 3)]
        assert all(client.recv(1000).startswith(b"HTTP/1.1 503 ") for client in clients[MOST:])
    check_lines(plain, before, 3, 503, "overloaded")


def test_a_head_that_cannot_be_read_over_tls(secure: Plane) -> None:
    before = len(unread(secure))
    context = secure.client_context
    assert context is not None
    with context.wrap_socket(connect(secure), server_hostname="localhost") as client:
        client.sendall(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: any(line["code"] == "bad_request" for line in unread(secure)[before:]), "it is logged")


def test_a_handshake_that_fails(secure: Plane) -> None:
    before = len(unread(secure))
    with connect(secure) as client:
        client.sendall(f"GET /download?token={TOKEN} HTTP/1.1\r\n\r\n".encode())
        with suppress(ConnectionError):
            client.recv(1000)
    check_lines(secure, before, 1, 0, "tls_failed")
    assert TOKEN not in secure.log.read_text()


def test_a_handshake_that_comes_too_late(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with run_plane(tmp_path, tls_cert=certificate, tls_key=key, **HASTY) as hasty:
        with connect(hasty) as client:
            assert client.recv(1000) == b""
        check_lines(hasty, 0, 1, 0, "tls_timeout")


def test_handshakes_beyond_the_limit(secure: Plane) -> None:
    before = len(unread(secure))
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(connect(secure))
        with connect(secure) as surplus:
            assert surplus.recv(1000) == b""
        check_lines(secure, before, 1, 0, "tls_overloaded")

"""An ordinary client that checks a server's responses, so that a server with wrong ones has no figures."""

from __future__ import annotations

import socket
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from bench.errors import WrongResponse
from bench.peers.base import Server
from bench.testbed.certificate import unverified_tls

SECONDS = 20.0
BLOCK = 1 << 20


def fetch(server: Server, request: bytes, limit: int) -> tuple[HTTPResponse, bytes]:
    """Send one request; returns the response, and at most `limit` bytes of its body. Raises WrongResponse."""
    try:
        with (
            socket.create_connection((server.host, server.port), SECONDS) as plain,
            unverified_tls().wrap_socket(plain) if server.tls else plain as connection,
        ):
            connection.sendall(request)
            response = HTTPResponse(connection, method=request.partition(b" ")[0].decode())
            response.begin()
            return response, response.read(limit)
    except (OSError, HTTPException) as error:
        raise WrongResponse(
            f"{server.peer.name} does not answer as HTTP: {type(error).__name__}: {error}"
        ) from None


def expect_whole(server: Server, request: bytes, path: Path) -> None:
    """Send one request, which must give status 200 and every byte of the file. Raises WrongResponse."""
    try:
        with (
            socket.create_connection((server.host, server.port), SECONDS) as connection,
            path.open("rb") as file,
        ):
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            if response.status != 200:
                raise WrongResponse(f"{server.peer.name} answered {response.status}, not 200")
            block = None
            while block != b"":
                block = file.read(BLOCK)
                if response.read(BLOCK) != block:
                    raise WrongResponse(f"{server.peer.name} sent other bytes than the file's")
    except (OSError, HTTPException) as error:
        raise WrongResponse(
            f"{server.peer.name} broke off a response: {type(error).__name__}: {error}"
        ) from None


def expect(
    server: Server, request: bytes, status: int, path: Path | None = None, span: tuple[int, int] | None = None
) -> None:
    """Send one request, which must give this status and, as body, the file's bytes (of the span, if given).

    Compared are the length and the first MiB. Raises WrongResponse.
    """
    start, stop = span or (0, path.stat().st_size if path else 0)
    length = min(stop - start, BLOCK)
    response, body = fetch(server, request, length if path else 1 << 16)
    if response.status != status:
        raise WrongResponse(f"{server.peer.name} answered {response.status}, not {status}")
    if path is None:
        return
    content_length = response.getheader("Content-Length")
    if content_length != str(stop - start):
        raise WrongResponse(f"{server.peer.name} sent Content-Length {content_length}, not {stop - start}")
    with path.open("rb") as file:
        file.seek(start)
        if file.read(length) != body:
            raise WrongResponse(f"{server.peer.name} sent other bytes than the file's")

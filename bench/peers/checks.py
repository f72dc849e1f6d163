"""An ordinary client that checks what a server answers, so that a broken server can never win."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import WrongAnswers

if TYPE_CHECKING:
    from bench.peers.base import Server

SECONDS = 20.0
PIECE = 1 << 20


def ask(server: Server, request: bytes, limit: int) -> tuple[HTTPResponse, bytes]:
    """Send one request and read its answer; at most `limit` bytes of the body. Raises WrongAnswers."""
    try:
        with socket.create_connection((server.host, server.port), SECONDS) as plain:
            link = _trusting().wrap_socket(plain) if server.tls else plain
            link.sendall(request)
            answer = HTTPResponse(link, method=request.partition(b" ")[0].decode())
            answer.begin()
            return answer, answer.read(limit)
    except (OSError, HTTPException) as error:
        raise WrongAnswers(
            f"{server.peer.name} does not answer as HTTP: {type(error).__name__}: {error}"
        ) from None


def expect_whole(server: Server, request: bytes, path: Path) -> None:
    """Ask once; status 200, and every byte the file's. Raises WrongAnswers."""
    try:
        with socket.create_connection((server.host, server.port), SECONDS) as link, path.open("rb") as file:
            link.sendall(request)
            answer = HTTPResponse(link)
            answer.begin()
            if answer.status != 200:
                raise WrongAnswers(f"{server.peer.name} answered {answer.status}, not 200")
            piece = None
            while piece != b"":
                piece = file.read(PIECE)
                if answer.read(PIECE) != piece:
                    raise WrongAnswers(f"{server.peer.name} sent other bytes than the file's")
    except (OSError, HTTPException) as error:
        raise WrongAnswers(
            f"{server.peer.name} broke off an answer: {type(error).__name__}: {error}"
        ) from None


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def expect(
    server: Server, request: bytes, status: int, path: Path | None = None, span: tuple[int, int] | None = None
) -> None:
    """Ask once; the status must be this one and the body the file's bytes (all, or from-to of the span).

    Of a large file the first MiB is compared, and the length. Raises WrongAnswers.
    """
    start, stop = span or (0, path.stat().st_size if path else 0)
    length = min(stop - start, 1 << 20)
    answer, body = ask(server, request, length if path else 1 << 16)
    if answer.status != status:
        raise WrongAnswers(f"{server.peer.name} answered {answer.status}, not {status}")
    if path is None:
        return
    told = answer.getheader("Content-Length")
    if told != str(stop - start):
        raise WrongAnswers(f"{server.peer.name} sent Content-Length {told}, not {stop - start}")
    with path.open("rb") as file:
        file.seek(start)
        if file.read(length) != body:
            raise WrongAnswers(f"{server.peer.name} sent other bytes than the file's")

"""A client that sends any bytes and holds the answers to RFC 9112: lengths, line ends, no field twice."""

from __future__ import annotations

import json
import re
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CLIENT_SECONDS = 60
"""No answer in this time is a hang."""


_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")


_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([ -~\t]*)")


_LISTS = ("vary", "www-authenticate")
"""Fields that may stand on several lines; any other stands once."""


@dataclass
class Response:
    """One answer, as it came."""

    status: int
    lines: list[tuple[str, str]]
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        [value] = [value for known, value in self.lines if known.lower() == name.lower()]
        return value

    def get(self, name: str) -> str | None:
        return next((value for known, value in self.lines if known.lower() == name.lower()), None)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    @property
    def keeps(self) -> bool:
        return (self.get("Connection") or "").lower() != "close"

    @property
    def code(self) -> str:
        """The code of a refusal."""
        assert self["Content-Type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["code"])


class Client:
    """One connection."""

    def __init__(
        self, address: tuple[str, int] | str, receive_buffer: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        on_unix = isinstance(address, str)
        self.socket = socket.socket(socket.AF_UNIX if on_unix else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(CLIENT_SECONDS)
        self.socket.connect(address)
        if not on_unix:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        self.send(request(target, *fields, method=method))
        return self.read(method)

    def read_head(self) -> Response:
        """The next answer's head; asserts that it follows the grammar of RFC 9112."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            assert data, f"the connection ended within a head: {self.buffer!r}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *rest = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(first)
        assert status, first
        lines = []
        for line in rest:
            match = _FIELD.fullmatch(line)
            assert match, line
            lines.append((match[1].decode(), match[2].decode()))
        names = [name.lower() for name, _ in lines]
        assert [name for name in names if names.count(name) > 1 and name not in _LISTS] == []
        assert "transfer-encoding" not in names
        assert "date" in names
        return Response(int(status[1]), lines)

    def read(self, method: str = "GET") -> Response:
        """The next answer, whole."""
        response = self.read_head()
        if response.status in (204, 304):
            return response
        length = int(response["Content-Length"])
        if method != "HEAD":
            response.body = self.read_bytes(length)
        return response

    def read_bytes(self, length: int) -> bytes:
        pieces = [self.buffer[:length]]
        self.buffer = self.buffer[length:]
        left = length - len(pieces[0])
        while left:
            data = self.socket.recv(min(left, 1 << 20))
            assert data, f"the connection ended {left} bytes early"
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def read_until_closed(self) -> bytes:
        """What comes until the connection ends, in whatever way."""
        pieces = [self.buffer]
        self.buffer = b""
        try:
            while data := self.socket.recv(1 << 20):
                pieces.append(data)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def assert_closed(self) -> None:
        assert self.read_until_closed() == b""

    def end(self) -> None:
        """Close the sending side only."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection as a crashed client does: with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def request(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """One request without a body. Characters beyond ASCII are sent as UTF-8."""
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def statuses(answers: bytes) -> list[int]:
    """Those of several answers that came one after the other."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]

"""One keep-alive HTTP connection for loads. It sends whole requests given as bytes, and counts the responses.

A response needs a Content-Length (or a status without a body); any other counts as a fault.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Protocol, cast

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
MAX_HEAD = 64 << 10
BODILESS = frozenset((204, 304))


@dataclass(frozen=True)
class Endpoint:
    """Where the requests go. tls: how to speak TLS, if at all. source: the client's own address."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    source: str | None = None


class ConnectionOwner(Protocol):
    """What a connection reports to."""

    def on_idle(self, connection: LoadConnection) -> None:
        """The connection can take a request."""

    def on_bytes(self, count: int) -> None:
        """So many bytes have arrived."""

    def on_response(self, status: int, due: float) -> None:
        """A whole response has arrived, for the request that was due at this time."""

    def on_fault(self, reason: str, due: float | None) -> None:
        """A request got no whole response."""

    def on_lost(self, connection: LoadConnection) -> None:
        """The connection is closed."""


class LoadConnection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0  # bytes of the body that have not arrived yet
        self._status = 0
        self._due: float | None = None
        self._bodiless = False
        self._closes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports inherit from nothing
        self._owner.on_idle(self)

    def send(self, request: bytes, due: float) -> None:
        """Send a request. due: the time from which its latency counts."""
        assert self._transport is not None
        self._due = due
        self._bodiless = request.startswith(b"HEAD ")
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._owner.on_bytes(len(data))
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                if not self._left:
                    self._finish()
                continue
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > MAX_HEAD:
                    self._fail("unreadable")
                return
            data = self._read_head(end)

    def _read_head(self, end: int) -> bytes:
        """Read the head, which ends at `end`; returns the bytes after it."""
        head, rest = self._head[: end + 2], self._head[end + 4 :]
        self._head = b""
        length = LENGTH.search(head)
        try:
            self._status = int(head[9:12])
        except ValueError:
            self._fail("unreadable")
            return b""
        self._closes = CLOSES.search(head) is not None
        if self._bodiless or self._status in BODILESS:
            self._left = 0
        elif length is None:
            self._fail("unreadable")
            return b""
        else:
            self._left = int(length[1])
        if not self._left:
            self._finish()
        return rest

    def _finish(self) -> None:
        due, self._due = self._due, None
        if due is not None:
            self._owner.on_response(self._status, due)
        if self._closes:
            self.close()
        else:
            self._owner.on_idle(self)

    def _fail(self, reason: str) -> None:
        self._owner.on_fault(reason, self._due)
        self._due = None
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._due is not None:
            self._owner.on_fault("broken", self._due)
            self._due = None
        self._owner.on_lost(self)

    @property
    def due(self) -> float | None:
        """The time at which the request under way was due; None while the connection is idle."""
        return self._due

    def forget_request(self) -> None:
        """Count the request under way neither as a response nor as a fault."""
        self._due = None

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

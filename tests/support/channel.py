"""A connection that only keeps the bytes written to it, for tests of answers and of how exchanges end."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.exchange import Exchange


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data


class FakeServer:
    """What the connections of a worker share."""

    def __init__(self, cors_origins: tuple[str, ...] = ()) -> None:
        self.draining = False
        self.date_field = b"Date: now\r\n"
        self.plain_tail = b"Date: now\r\n\r\n"
        self.cors_origins = frozenset(cors_origins)
        self.leads_to_portal = True
        self.scheduler: Any = None  # answers that leave in one write need no turn

    def count(self, index: int, count: int = 1, /) -> None:
        """Count nothing."""


class FakeChannel:
    """One connection. ended: the exchanges that have ended. was_reset: whether the connection was broken."""

    def __init__(self, cors_origins: tuple[str, ...] = ()) -> None:
        self.wire = FakeTransport()
        self.transport: asyncio.Transport | None = self.wire
        self.peer: Any = ("127.0.0.1", 50_000)
        self.sender: Any = None
        self.client_socket: ClientSocket | None = None
        self.throttled = False
        self.server = FakeServer(cors_origins)
        self.ended: list[Exchange] = []
        self.was_reset = False

    def open_client_socket(self) -> ClientSocket:
        raise AssertionError("no answer of these tests goes past the transport")

    def reset(self) -> None:
        self.was_reset = True

    def finish(self, exchange: Exchange) -> None:
        self.ended.append(exchange)

    @property
    def status(self) -> int | None:
        """The status of the answer that was written; None without one."""
        return int(self.wire.written.split(b" ", 2)[1]) if self.wire.written else None

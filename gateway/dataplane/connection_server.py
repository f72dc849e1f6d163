"""What a client's connection needs of its server, which makes it: so connection.py need not import it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from gateway.dataplane.exchange import Exchange, ServerState
from gateway.dataplane.request_reader import RequestReader
from gateway.dataplane.throttling import Throttle
from gateway.dataplane.timeouts import Limits


class ConnectionServer(ServerState, Protocol):
    """The part of the server that a connection needs, in addition to its exchanges' part: see server.py."""

    limits: Limits
    reader: RequestReader
    connections: dict[Any, asyncio.Transport]
    throttle: Throttle

    def begin(self, exchange: Exchange, /) -> None:
        """Begin to answer a request. Whatever happens, it is answered, and the exchange ended."""

    def passes_on(self, exchange: Exchange, /) -> bool:
        """Whether a request is passed on to the web process, with its body."""

    def begin_any(self, exchange: Exchange, /) -> None:
        """The same for a request that may ask for something else than a download or an authorisation."""

    def record(self, exchange: Exchange, /) -> None:
        """Count and log an exchange that has ended."""

    def record_unread(self, peer: Any, status: int, code: str, /) -> None:
        """Count and log what ended before a request was read: a refusal, or a head that came too late."""

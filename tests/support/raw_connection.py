"""A client's connection, byte by byte, that keeps what came also where a reset ended it.

An `asyncio.StreamReader` forgets what it has not handed out yet when its connection is reset.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

PATIENCE_SECONDS = 30
"""How long a busy machine may take for an answer, or for an end."""


class RawConnection(asyncio.Protocol):
    """One connection. received: all that came. It is closed as soon as the server has ended its side."""

    def __init__(self) -> None:
        self.received = b""
        self._transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()

    @classmethod
    async def open(cls, port: int, **options: Any) -> Self:
        """Connect to a port of this machine. options: of `loop.create_connection`."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, "127.0.0.1", port, **options)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived.set()
        self._ended.set()

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended it."""
        return self._ended.is_set()

    def send(self, data: bytes) -> None:
        """Send bytes; after the end they go nowhere."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def until_answered(self) -> None:
        """Wait until some bytes have come, or the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._arrived.wait()

    async def until_ended(self) -> bytes:
        """Wait until the server has ended it, in whatever way. Returns all that came."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._ended.wait()
        return self.received

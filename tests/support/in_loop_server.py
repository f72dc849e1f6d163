"""A data plane server in the test's own event loop that answers every download in one given way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.server import Server
from gateway.dataplane.timeouts import Limits
from gateway.errors import StorageError
from gateway.runtime.deferred import step
from gateway.runtime.metrics import Counters
from tests.support.http_client import Client

LIMITS = Limits(
    header_timeout=30,
    keepalive_timeout=30,
    stall_timeout=30,
    max_connections=10,
    max_line=8190,
    max_field=8190,
    max_headers=100,
    max_head=32768,
)
Deliver = Callable[[Exchange], Awaitable[None]]


@asynccontextmanager
async def serving(
    deliver: Deliver, secure: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, path: str = ""
) -> AsyncIterator[tuple[Callable[[], Client], list[Exchange]]]:
    """A server that answers each download by `deliver`. Yields how to connect, and the ended exchanges."""
    ended: list[Exchange] = []

    async def answer(exchange: Exchange) -> None:
        try:
            await deliver(exchange)
        except ClientGone:
            pass
        except StorageError:
            exchange.abort()
        finally:
            exchange.end()

    counters = Counters()
    server = Server(lambda exchange: step(answer(exchange)), answer, ended.append, print, counters, LIMITS)
    loop = asyncio.get_running_loop()
    server.start()
    if path:
        listener = await loop.create_unix_server(server, path)
    else:
        listener = await loop.create_server(server, "127.0.0.1", 0, ssl=secure[0] if secure else None)
    address = path or listener.sockets[0].getsockname()
    try:
        yield lambda: Client(address, 0, secure[1] if secure else None), ended
    finally:
        listener.close()
        server.stop()
        await asyncio.sleep(0.05)
        counters.close()

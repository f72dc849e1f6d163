"""A server in the test's event loop whose only file is an object, and the forms in which storages have it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.dataplane.delivery.relay import Relay
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.server import Server
from gateway.dataplane.timeouts import Limits
from gateway.errors import STORAGE_FAILED, StorageError
from gateway.http.plans import Representation, plan_answer, plan_range
from gateway.manifest import ManifestFile
from gateway.runtime.deferred import step
from gateway.runtime.metrics import Counters
from tests.support.http_client import Client, request
from tests.support.object_source import Arriving, Lying, Make, Source
from tests.support.waiting import until

CONTENT = os.urandom(5_000_000)


@dataclass
class Bench:
    """A server in this event loop, whose only file is an object."""

    source: Source
    content: bytes
    server: Server
    counters: Counters
    address: tuple[str, int] | str
    ended: list[Exchange]
    failed: list[Exception]  # none of these may happen
    context: ssl.SSLContext | None = None

    def connect(self, receive_buffer: int = 0) -> Client:
        return Client(self.address, receive_buffer, self.context)

    async def get(self, *fields: str) -> tuple[int, bytes]:
        def act() -> tuple[int, bytes]:
            with self.connect() as client:
                answer = client.get("/download", *fields)
                return answer.status, answer.body

        return await asyncio.to_thread(act)

    async def begin(self, amount: int, receive_buffer: int = 65536) -> tuple[Client, bytes]:
        """A client that has read so much, and then stops reading."""

        def act() -> tuple[Client, bytes]:
            client = self.connect(receive_buffer)
            client.send(request("/download"))
            assert client.read_head().status == 200
            return client, client.read_bytes(amount)

        return await asyncio.to_thread(act)


LIMITS = Limits(
    header_timeout=30,
    keepalive_timeout=30,
    stall_timeout=30,
    max_connections=1000,
    max_line=8190,
    max_field=8190,
    max_headers=100,
    max_head=32768,
)


@asynccontextmanager
async def serving(
    content: bytes,
    make: Make,
    *,
    secure: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    path: str = "",
    limits: Limits = LIMITS,
) -> AsyncIterator[Bench]:
    source = Source(len(content), make)
    counters = Counters()
    file = ManifestFile("f.bin", len(content), "application/x", "0" * 64, "0" * 8, "main", "k", 10**18)
    shown = Representation(file)

    async def answer(exchange: Exchange) -> None:
        try:
            if exchange.token:
                plan = plan_range(exchange.range, shown)
            else:
                plan = plan_answer(exchange.method, exchange.headers, shown)
            await Relay(exchange, (source,)).run(plan)
        except ClientGone:
            pass
        except StorageError:
            if exchange.begun:
                exchange.abort()
            else:
                exchange.refuse(STORAGE_FAILED)
        except Exception as error:
            failed.append(error)
            raise
        finally:
            exchange.end()

    ended: list[Exchange] = []
    failed: list[Exception] = []
    server = Server(lambda exchange: step(answer(exchange)), answer, ended.append, print, counters, limits)
    loop = asyncio.get_running_loop()
    server.start()
    tls = secure[0] if secure else None
    if path:
        listener = await loop.create_unix_server(server, path)
    else:
        listener = await loop.create_server(server, "127.0.0.1", 0, ssl=tls)
    address = path or listener.sockets[0].getsockname()
    bench = Bench(source, content, server, counters, address, ended, failed, secure[1] if secure else None)
    opened = (Lying.open, Arriving.open)
    try:
        yield bench
        await until(lambda: (Lying.open, Arriving.open) == opened)
        assert failed == []
    finally:
        listener.close()
        server.stop()
        await asyncio.sleep(0.05)
        counters.close()


def arriving(content: bytes, splices: bool) -> Make:
    return lambda start, stop: Arriving(stop - start, splices).feed(content[start:stop])


def lying(path: Path, part: int, shift: int = 1000) -> Callable[[int, int], Lying]:
    """Parts of a file; each ends at the next multiple of `part` bytes, or before."""
    return lambda start, stop: Lying(path, shift + start, min(stop, start - start % part + part) - start)

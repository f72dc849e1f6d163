"""The bounds of the health listener. What it answers is in tests/supervisor/test_supervisor.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Totals
from gateway.supervisor import monitoring
from gateway.supervisor.monitoring import MAX_CONNECTIONS, Health, HealthServer
from tests.support.raw_connection import RawConnection

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def check() -> Health:
        return Health("ok", [], None)

    listener = Listener("127.0.0.1:0", "admin_listen")
    server = HealthServer(listener, check, Totals())
    await server.start()
    yield listener.address.port
    server.stop()
    listener.close()


async def ask(port: int) -> bytes:
    client = await RawConnection.open(port)
    client.send(ASK)
    return await client.until_ended()


async def until_served(port: int) -> None:
    """Wait until a request is answered: others may have to end first, and a busy machine may be late."""
    async with asyncio.timeout(60):
        while not (await ask(port)).startswith(b"HTTP/1.1 200 "):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_connections_beyond_the_limit_are_refused_until_others_end(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    reader, beyond = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    beyond.close()
    reader, writer = silent.pop()
    writer.write(ASK)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 "), "the others are served"
    writer.close()
    for _, each in silent:
        each.close()
        await each.wait_closed()
    await until_served(port)


async def test_silent_connections_are_closed_and_make_room(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "HEAD_SECONDS", 0.1)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    async with asyncio.timeout(60):
        for reader, writer in silent:
            with contextlib.suppress(ConnectionError):
                assert not await reader.read()
            writer.close()
    await until_served(port)

"""Sending from an object storage: clients that go away or take nothing, and storages that fail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StorageError
from tests.support.http_client import Client, request
from tests.support.object_source import Arriving, Lying, Make
from tests.support.relay_bench import CONTENT, LIMITS, Bench, arriving, lying, serving
from tests.support.waiting import until

STALL_SECONDS = 1.0


@pytest.mark.parametrize("leave", [Client.reset, lambda client: client.socket.close()])
async def test_a_client_goes_away(way: dict[str, Any], make: Make, leave: Callable[[Client], None]) -> None:
    """While it takes nothing. The relay ends at once, and counts what the client may have received."""
    async with serving(CONTENT, make, **way) as bench:
        client, got = await bench.begin(50_000)
        await asyncio.sleep(0.05)
        leave(client)
        await until(lambda: bool(bench.ended))
        assert len(got) <= bench.ended[0].sent <= len(CONTENT)
        assert not bench.ended[0].whole


@pytest.mark.parametrize("splices", [True, False])
async def test_a_client_goes_away_while_the_storage_is_silent(way: dict[str, Any], splices: bool) -> None:
    streams: list[Arriving] = []

    def make(start: int, stop: int) -> Arriving:
        streams.append(Arriving(stop - start, splices).feed(CONTENT[:100_000]))
        return streams[-1]

    hasty = replace(LIMITS, stall_timeout=STALL_SECONDS)
    async with serving(CONTENT, make, **way, limits=hasty) as bench:
        client, got = await bench.begin(100_000)
        assert got == CONTENT[:100_000]
        await asyncio.sleep(1.5 * STALL_SECONDS)  # the client's stall time-out does not run
        assert not bench.ended
        client.reset()
        if way:  # the end of its stream alone may mean that it will only ask nothing more
            streams[0].feed(CONTENT[100_000:])
        await until(lambda: bool(bench.ended))
        assert 100_000 <= bench.ended[0].sent < len(CONTENT)


async def test_a_client_goes_away_before_the_storage_answers(way: dict[str, Any], make: Make) -> None:
    async with serving(CONTENT, make, **way) as bench:
        bench.source.gate = asyncio.Event()
        client = await asyncio.to_thread(bench.connect)
        client.send(request("/download"))
        await until(lambda: bool(bench.source.fetched))
        client.socket.close()
        bench.source.gate.set()
        await until(lambda: bool(bench.ended))
        assert bench.ended[0].sent in range(len(CONTENT))


async def test_a_reset_before_the_storage_answers(make: Make) -> None:
    async with serving(CONTENT, make) as bench:
        bench.source.gate = asyncio.Event()
        client = await asyncio.to_thread(bench.connect)
        client.send(request("/download"))
        await until(lambda: bool(bench.source.fetched))
        client.reset()
        await until(lambda: bool(bench.ended))
        assert bench.source.cancelled == 1
        assert bench.ended[0].sent == 0


@pytest.mark.parametrize("is_cut", [True, False])
async def test_a_client_is_lost_in_the_turn_in_which_the_storage_answers(
    way: dict[str, Any], stored: Path, is_cut: bool
) -> None:
    """Then the delivery is not waiting for anything, and finds out by itself."""
    async with serving(CONTENT, lying(stored, 1_000_000), **way) as bench:
        server, fetch = bench.server, bench.source.fetch

        async def fetch_while_the_client_is_lost(start: int, stop: int) -> Arriving | Lying:
            part = await fetch(start, stop)
            if start < 3_000_000:
                return part
            [connection] = server.connections
            assert connection.sender is not None
            assert connection.transport is not None
            if is_cut:
                connection.sender.cut(0)
            connection.transport.abort()
            while connection.transport is not None:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            return part

        bench.source.fetch = fetch_while_the_client_is_lost  # type: ignore[method-assign]

        def act() -> None:
            with bench.connect() as client, suppress(OSError):
                client.send(request("/download"))
                while client.socket.recv(1 << 20):
                    pass

        await asyncio.to_thread(act)
        await until(lambda: bool(bench.ended))
        assert bench.ended[0].sent <= 3_000_000


@pytest.mark.parametrize("splices", [True, False])
async def test_a_client_stalls(way: dict[str, Any], splices: bool) -> None:
    hasty = replace(LIMITS, stall_timeout=STALL_SECONDS)
    async with serving(CONTENT * 4, arriving(CONTENT * 4, splices), **way, limits=hasty) as bench:
        client, got = await bench.begin(50_000)
        await until(lambda: bool(bench.ended), 30)
        assert len(got) <= bench.ended[0].sent < len(CONTENT) * 4
        client.socket.close()


async def test_missing(way: dict[str, Any], make: Make) -> None:
    async with serving(CONTENT, make, **way) as bench:
        bench.source.fault = StorageError("missing")

        def act() -> list[int]:
            with bench.connect() as client:
                return [client.get("/download", *fields).status for fields in ((), ("Range: bytes=0-5",), ())]

        assert await asyncio.to_thread(act) == [502, 502, 502]
        assert [exchange.sent for exchange in bench.ended] == [0, 0, 0]


@pytest.mark.parametrize("splices", [True, False])
async def test_a_stream_that_fails_breaks_the_connection(way: dict[str, Any], splices: bool) -> None:
    streams: list[Arriving] = []

    def make(start: int, stop: int) -> Arriving:
        streams.append(Arriving(stop - start, splices).feed(CONTENT[:100_000]))
        return streams[-1]

    async with serving(CONTENT, make, **way) as bench:
        client, got = await bench.begin(100_000)
        streams[0].fail("changed")
        rest = await asyncio.to_thread(client.read_until_closed)
        assert got + rest == CONTENT[:100_000]
        await until(lambda: bool(bench.ended))
        assert bench.ended[0].sent == 100_000
        client.socket.close()


async def test_a_later_part_that_fails_breaks_the_connection(way: dict[str, Any], stored: Path) -> None:
    files = lying(stored, 1_000_000)

    def make(start: int, stop: int) -> Lying | Arriving:
        if start >= 3_000_000:
            raise StorageError("missing")
        return files(start, stop)

    async with serving(CONTENT, make, **way) as bench:
        got = await asyncio.to_thread(download_until_closed, bench)
        assert got == CONTENT[: len(got)]
        await until(lambda: bool(bench.ended))
        assert len(got) <= bench.ended[0].sent <= 3_000_000


async def test_a_truncated_file_breaks_the_connection(way: dict[str, Any], stored: Path) -> None:
    os.truncate(stored, 2_500_000)
    async with serving(CONTENT, lying(stored, 1_000_000), **way) as bench:
        got = await asyncio.to_thread(download_until_closed, bench)
        assert got == CONTENT[: len(got)]
        assert len(got) < 2_500_000


def download_until_closed(bench: Bench) -> bytes:
    """What a client gets of the body before the connection ends."""
    with bench.connect() as client:
        client.send(request("/download"))
        client.read_head()
        return client.read_until_closed()

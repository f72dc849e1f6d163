"""Sending from an object storage over real sockets: what arrives, and what is held meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.dataplane.delivery import pipe
from gateway.dataplane.delivery.pipe import PAUSE_SECONDS, SLOW_UNREAD_BYTES
from gateway.runtime.metrics import BYTES_COPIED, BYTES_SPLICED
from tests.support.http_client import request
from tests.support.object_source import Arriving, Lying, Make
from tests.support.relay_bench import CONTENT, arriving, lying, serving
from tests.support.waiting import until

# --- what arrives -------------------------------------------------------------------------------------------


async def test_whole_and_ranges(way: dict[str, Any], make: Make) -> None:
    async with serving(CONTENT, make, **way) as bench:
        assert await bench.get() == (200, CONTENT)
        for start, stop in ((0, 1), (0, 16_384), (5, 16_390), (699_990, 700_010), (4_999_000, 5_000_000)):
            assert await bench.get(f"Range: bytes={start}-{stop - 1}") == (206, CONTENT[start:stop])
        status, body = await bench.get("Range: bytes=0-99,200000-1700000,4000000-4000009")
        assert status == 206
        assert CONTENT[:100] in body
        assert CONTENT[200_000:1_700_001] in body
        assert CONTENT[4_000_000:4_000_010] in body
        assert [exchange.sent for exchange in bench.ended][:3] == [5_000_000, 1, 16_384]


async def test_keep_alive_and_pipelining(way: dict[str, Any], make: Make) -> None:
    async with serving(CONTENT, make, **way) as bench:

        def act() -> list[bytes]:
            with bench.connect() as client:
                client.send(
                    request("/download", "Range: bytes=1000000-2999999")
                    + request("/download", "Range: bytes=7-8")
                    + request("/download")
                )
                return [client.read().body for _ in range(3)]

        assert await asyncio.to_thread(act) == [CONTENT[1_000_000:3_000_000], CONTENT[7:9], CONTENT]


@pytest.mark.parametrize("splices", [True, False])
async def test_a_paced_reader(way: dict[str, Any], splices: bool) -> None:
    """It reads much, then pauses, again and again: windows grow and shrink, and nothing is lost."""
    async with serving(CONTENT, arriving(CONTENT, splices), **way) as bench:
        client, got = await bench.begin(1)
        while len(got) < len(CONTENT):
            got += await asyncio.to_thread(client.read_bytes, min(800_000, len(CONTENT) - len(got)))
            await asyncio.sleep(0.12)
        assert got == CONTENT
        client.socket.close()
        await until(lambda: bool(bench.ended))
        assert bench.ended[0].sent == len(CONTENT)


@pytest.mark.parametrize("splices", [True, False])
async def test_bytes_are_counted_as_spliced_or_copied(splices: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "PAUSE_SECONDS", 60.0)  # a busy machine makes no client slow
    async with serving(CONTENT, arriving(CONTENT, splices)) as bench:
        await bench.get()
        await until(lambda: bool(bench.ended))
        values = bench.counters.values()
        assert values[BYTES_SPLICED] + values[BYTES_COPIED] == len(CONTENT)
        if splices:  # only the beginning, in which any client may turn out to be slow
            assert values[BYTES_COPIED] < 1_000_000
        else:
            assert values[BYTES_SPLICED] == 0


# --- what is held -------------------------------------------------------------------------------------------


async def test_one_part_is_fetched_ahead(stored: Path) -> None:
    os.truncate(stored, 40_001_000)
    files = lying(stored, 500_000)
    held = []

    def make(start: int, stop: int) -> Lying | Arriving:
        part = files(start, stop)
        held.append(Lying.open)
        return part

    async with serving(bytes(40_000_000), make) as bench:
        client, _ = await bench.begin(10)
        await until(lambda: Lying.open == 2)
        await asyncio.sleep(0.1)
        client.socket.close()
        assert max(held) == 2
        assert len(held) < 80


async def test_a_part_that_is_there_at_once_is_not_fetched(stored: Path) -> None:
    os.truncate(stored, 1000 + len(CONTENT))
    files = lying(stored, 500_000)
    async with serving(CONTENT, files) as bench:
        bench.source.at_once = files
        assert (await bench.get())[1] == CONTENT
        assert len(bench.source.fetched) == 1


async def test_a_part_that_is_there_at_once_is_closed_when_its_client_goes_away(stored: Path) -> None:
    os.truncate(stored, 40_001_000)
    files = lying(stored, 500_000)
    async with serving(bytes(40_000_000), files) as bench:
        bench.source.at_once = files
        client, _ = await bench.begin(10)
        await until(lambda: Lying.open == 2)
        client.socket.close()  # and what is open is counted when the bench ends


@pytest.mark.parametrize("splices", [True, False])
async def test_a_slow_client_leaves_the_rest_to_the_storage(splices: bool) -> None:
    streams: list[Arriving] = []

    def make(start: int, stop: int) -> Arriving:
        streams.append(Arriving(stop - start, splices).feed(CONTENT))
        return streams[-1]

    async with serving(CONTENT, make) as bench:
        client, _ = await bench.begin(10)
        await asyncio.sleep(0.2)
        assert len(CONTENT) - streams[0].left < 1_000_000  # two socket buffers, and a window
        client.socket.close()


@pytest.mark.alone  # a busy machine makes the client slow from the start
@pytest.mark.parametrize("splices", [True, False])
async def test_a_storage_has_a_limit_while_a_client_is_slow(splices: bool) -> None:
    """What is sent is right before, during and after that time."""
    streams: list[Arriving] = []

    def make(start: int, stop: int) -> Arriving:
        streams.append(Arriving(stop - start, splices).feed(CONTENT[start:stop]))
        return streams[-1]

    async with serving(CONTENT, make) as bench:
        client, begun = await bench.begin(10_000)
        await asyncio.sleep(2 * PAUSE_SECONDS)
        assert streams[0].limits == [], "the client is not known to be slow yet"
        with client:
            rest = await asyncio.to_thread(client.read_bytes, len(CONTENT) - 10_000)
    assert begun + rest == CONTENT
    assert streams[0].limits[:2] == [SLOW_UNREAD_BYTES, 0]


async def test_two_downloads_share_the_buffer_and_the_loop() -> None:
    other = os.urandom(len(CONTENT))
    sources = iter([CONTENT, other] * 3)

    def make(start: int, stop: int) -> Arriving:
        return Arriving(stop - start, False).feed(next(sources))

    async with serving(CONTENT, make) as bench:
        bodies = [body for _, body in await asyncio.gather(*(bench.get() for _ in range(6)))]
        assert sorted(bodies) == sorted([CONTENT, other] * 3)


async def test_no_descriptor_is_left(way: dict[str, Any], make: Make) -> None:
    async with serving(CONTENT, make, **way) as bench:
        await bench.get()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await bench.get()
            client, _ = await bench.begin(10)
            client.socket.shutdown(socket.SHUT_RDWR)
            client.socket.close()
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)

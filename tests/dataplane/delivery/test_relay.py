"""Sending from an object storage over real sockets, and every way in which a client or a storage fails."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.dataplane.delivery import pipe
from gateway.dataplane.delivery.pipe import PAUSE_SECONDS, SLOW_UNREAD_BYTES
from gateway.dataplane.delivery.relay import Relay
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.server import Server
from gateway.dataplane.timeouts import Limits
from gateway.errors import STORAGE_FAILED, StorageError
from gateway.http.plans import Representation, plan_answer, plan_range
from gateway.manifest import ManifestFile
from gateway.runtime.deferred import step
from gateway.runtime.metrics import BYTES_COPIED, BYTES_SPLICED, Counters
from tests.support.object_source import Arriving, Lying, Make, Source
from tests.support.plane import Client, request
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


STALL_SECONDS = 1.0


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


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "stored"
    path.write_bytes(bytes(1000) + CONTENT)
    return path


@pytest.fixture(params=["spliced", "copied", "files", "mixed"])
def make(request: pytest.FixtureRequest, stored: Path) -> Make:
    """In which form the storage hands out the bytes."""
    if request.param == "files":
        return lying(stored, 1_000_000)
    if request.param == "mixed":
        files, streams = lying(stored, 700_000), arriving(CONTENT, True)
        return lambda start, stop: (
            files(start, stop)
            if start // 700_000 % 2
            else streams(start, min(stop, start - start % 700_000 + 700_000))
        )
    return arriving(CONTENT, request.param == "spliced")


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


# --- clients that go away -----------------------------------------------------------------------------------


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


# --- storages that fail -------------------------------------------------------------------------------------


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

        def act() -> bytes:
            with bench.connect() as client:
                client.send(request("/download"))
                client.read_head()
                return client.read_until_closed()

        got = await asyncio.to_thread(act)
        assert got == CONTENT[: len(got)]
        await until(lambda: bool(bench.ended))
        assert len(got) <= bench.ended[0].sent <= 3_000_000


async def test_a_truncated_file_breaks_the_connection(way: dict[str, Any], stored: Path) -> None:
    os.truncate(stored, 2_500_000)
    async with serving(CONTENT, lying(stored, 1_000_000), **way) as bench:

        def act() -> bytes:
            with bench.connect() as client:
                client.send(request("/download"))
                client.read_head()
                return client.read_until_closed()

        got = await asyncio.to_thread(act)
        assert got == CONTENT[: len(got)]
        assert len(got) < 2_500_000


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

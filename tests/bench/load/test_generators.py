"""Our own generators, against small servers that misbehave on purpose."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.load.client import Endpoint
from bench.load.cold_reads import cold_spans
from bench.load.downloads import download_and_discard
from bench.load.loops import ClosedLoop, OpenLoop
from bench.load.tally import Tally
from tests.support.ports import reserve_port

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[Endpoint]:
    """A server that calls `respond(writer)` for each request of a connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await respond(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(data: bytes) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return respond


RATE, STALL, LATE = 200, 0.5, 0.1


async def test_a_stall_delays_every_request_that_was_due_meanwhile() -> None:
    loop = asyncio.get_running_loop()
    stalled: list[float] = []

    async def respond(writer: asyncio.StreamWriter) -> None:
        now = loop.time()
        if not stalled:
            stalled.append(now)
        await asyncio.sleep(max(0.0, stalled[0] + STALL - now))
        writer.write(RESPONSE)

    async with serving(respond) as endpoint:
        tally = await OpenLoop(endpoint, [REQUEST], 1, RATE).run(1.0)
    assert tally.responses == RATE
    late = sum(latency > LATE for latency in tally.latencies)
    # a closed loop would have sent one request during the stall, and seen one late response
    assert late >= RATE * (STALL - LATE) * 0.8


async def test_a_server_that_never_answers_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.loops.DRAIN_SECONDS", 0.1)

    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(silence) as endpoint:
        tally = await OpenLoop(endpoint, [REQUEST], 2, 50).run(0.4)
    assert tally.responses == 0
    assert tally.faults["unanswered"] == 20
    assert len(tally.latencies) == 20


async def run_until(condition: Callable[[Tally], bool], endpoint: Endpoint, connections: int) -> Tally:
    """Run a closed loop: once, but on a busy machine until it has had time for what is waited for."""
    async with asyncio.timeout(60):
        while not condition(tally := await ClosedLoop(endpoint, [REQUEST], connections).run(0.2)):
            pass
    return tally


async def test_a_closed_loop_sends_again_at_once() -> None:
    async with serving(always(RESPONSE)) as endpoint:
        tally = await run_until(lambda tally: tally.responses > 4, endpoint, 4)
    assert set(tally.statuses) == {200}
    assert not tally.faults
    assert len(tally.latencies) == tally.responses


async def test_the_requests_are_sent_in_turn() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
                writer.write(RESPONSE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    requests = [b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3)]
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    await OpenLoop(endpoint, requests, 1, 100).run(0.05)
    server.close()
    assert seen[:5] == [b"/0", b"/1", b"/2", b"/0", b"/1"]


@pytest.mark.parametrize(
    ("answer", "status", "fault"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length:0\r\n\r\n", 403, None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 200, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, "unreadable"),
        (b"nonsense here\r\n\r\n", None, "unreadable"),
    ],
)
async def test_each_response_is_counted_by_its_status_or_fault(
    answer: bytes, status: int | None, fault: str | None
) -> None:
    async with serving(always(answer)) as endpoint:
        tally = await OpenLoop(endpoint, [REQUEST], 1, 50).run(0.1)
    assert set(tally.statuses) == ({status} if status else set())
    assert set(tally.faults) == ({fault} if fault else set())


async def test_a_response_may_come_in_any_pieces() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in RESPONSE:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)

    async with serving(drip) as endpoint:
        tally = await OpenLoop(endpoint, [REQUEST], 1, 50).run(0.1)
    assert tally.statuses == {200: 5}


async def test_a_server_that_closes_the_connection_is_a_fault_and_is_tried_again() -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.write(RESPONSE[:-2])
        writer.close()

    async with serving(hang_up) as endpoint:
        tally = await run_until(lambda tally: tally.faults["broken"] > 1, endpoint, 1)
    assert tally.responses == 0


async def test_a_missing_server_is_an_error_at_once() -> None:
    with reserve_port() as port, pytest.raises(OSError, match=r"."):
        await ClosedLoop(Endpoint("127.0.0.1", port), [REQUEST], 2).run(0.1)


def test_drained_bytes_are_counted_to_the_last() -> None:
    body = bytes(300_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    served = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        nonlocal served
        with listener.accept()[0] as client:
            while client.recv(4096):
                client.sendall(answer)
                served += 1
                if served == 3:
                    return

    server = threading.Thread(target=serve)
    server.start()
    tally = download_and_discard(listener.getsockname(), [REQUEST], 1, 5)
    server.join()
    listener.close()
    assert tally.statuses == {200: 3}
    assert tally.bytes == 3 * len(answer)
    assert tally.faults == {"broken": 1}  # the server closed the connection, which is counted


def test_cold_spans_cover_the_file_once() -> None:
    spans = cold_spans(10 << 20, 1 << 20)
    assert sorted(spans) == [(start << 20, (start + 1) << 20) for start in range(10)]
    assert spans != sorted(spans)

"""Streams of a bucket: the bytes of a span, however they come and are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from gateway.runtime.metrics import UPSTREAM_BYTES, UPSTREAM_REQUESTS, UPSTREAM_RETRIES
from gateway.storage import retries
from gateway.storage.s3.storage import S3Storage
from tests.support.bucket_faults import GOOD, Fault
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import CONTENT, SIZE, Counted, Make, read, spliced
from tests.support.streams import rest
from tests.support.timing import punctually_async
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("quick")

Reading = Callable[[Any], Awaitable[bytes]]


@pytest.mark.parametrize(
    ("start", "stop"), [(0, SIZE), (0, 1), (SIZE - 1, SIZE), (5, 500_005), (1, SIZE), (0, SIZE - 1)]
)
async def test_a_span_arrives(
    upstream: Upstream, make: Make, counted: Counted, start: int, stop: int
) -> None:
    file = upstream.put("dir/ä +%.bin", CONTENT)
    assert await read(make(), file, start, stop) == CONTENT[start:stop]
    (asked,) = upstream.requests
    assert asked.range == ("" if (start, stop) == (0, SIZE) else f"bytes={start}-{stop - 1}")
    assert asked.fields["if-match"] == file.etag
    assert asked.fields["accept-encoding"] == "identity"
    assert asked.target == "/shop/dir/%C3%A4%20%2B%25.bin"
    assert counted.held[0] == 0
    assert (counted[UPSTREAM_REQUESTS], counted[UPSTREAM_RETRIES]) == (1, 0)
    assert counted[UPSTREAM_BYTES] == stop - start


async def test_bytes_go_through_a_pipe(plain: Upstream, counted: Counted) -> None:
    storage = S3Storage(plain.bucket(), counted.add)
    file = plain.put("a", CONTENT)
    plain.faults += [Fault(reset_after=70_000), Fault(short_after=300_000), GOOD]
    stream = await storage.lookup(file).fetch(3, SIZE)
    assert stream.can_splice
    assert await spliced(stream) == CONTENT[3:SIZE]
    with pytest.raises(BlockingIOError):
        stream.splice(0, 1)
    stream.close()
    assert counted.held[0] == 0
    storage.close()


async def test_over_tls_nothing_is_spliced(secure: Upstream, counted: Counted) -> None:
    storage = S3Storage(secure.bucket(), counted.add)
    stream = await storage.lookup(secure.put("a", CONTENT)).fetch(0, SIZE)
    assert not stream.can_splice
    stream.close()
    storage.close()


@pytest.mark.parametrize("most", [1, 1000, 16384, 16385])
async def test_pieces_may_be_small(upstream: Upstream, make: Make, most: int) -> None:
    stop = min(most * 50, 100_000)
    stream = await make().lookup(upstream.put("a", CONTENT)).fetch(0, stop)
    assert await rest(stream, most) == CONTENT[:stop]
    stream.close()


async def test_after_wait_readable_something_can_be_read(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults.append(Fault(rate=100_000))
    stream = await make().lookup(file).fetch(0, 30_000)
    buffer = memoryview(bytearray(16))
    for _ in range(3):
        await stream.wait_readable()
        await stream.wait_readable()
    for _ in range(20):
        await stream.wait_readable()
        assert stream.recv_into(buffer) == 16
    stream.close()


async def test_what_trickles_in_is_no_stall_while_more_is_gathered(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)

    async def gather() -> None:
        before = counted[UPSTREAM_RETRIES]
        upstream.faults.append(Fault(rate=10_000, pieces=50))
        stream = await make(read_timeout=1.5).lookup(file).fetch(0, 20_000)
        buffer = memoryview(bytearray(20_000))
        got = 0
        while stream.left:
            await stream.wait_readable(SIZE)
            with suppress(BlockingIOError):  # over TLS: a part of a record
                got += stream.recv_into(buffer[got:])
        assert buffer == CONTENT[:20_000]
        stream.close()
        assert counted[UPSTREAM_RETRIES] == before

    await punctually_async(gather)


async def test_gathering_ends_with_the_span_and_a_connection_is_used_again(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    storage = make()
    buffer = memoryview(bytearray(SIZE))
    for start in range(0, 60_000, 10_000):
        stream = await storage.lookup(file).fetch(start, start + 10_001)
        got = 0
        while stream.left:
            await stream.wait_readable(SIZE)
            with suppress(BlockingIOError):
                got += stream.recv_into(buffer[got:])
        assert buffer[:got] == CONTENT[start : start + 10_001]
        stream.close()
        assert counted.held == (0, 1)
    assert counted[UPSTREAM_RETRIES] == 0


async def test_a_storage_that_breaks_off_while_more_is_gathered_is_noticed(
    upstream: Upstream, make: Make
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(short_after=300_000), GOOD]
    stream = await make().lookup(file).fetch(0, SIZE)
    buffer = memoryview(bytearray(SIZE))
    got = 0
    while stream.left:
        await stream.wait_readable(SIZE)
        with suppress(BlockingIOError):
            got += stream.recv_into(buffer[got:])
    assert buffer == CONTENT[:SIZE]
    stream.close()


async def test_a_stream_closed_early_closes_its_connection(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", Pattern(20_000_000))
    stream = await make().lookup(file).fetch(0, file.size)
    assert counted.held == (1, 0)
    stream.close()
    assert counted.held == (0, 0)
    with pytest.raises(BlockingIOError):
        stream.recv_into(memoryview(bytearray(1)))


@pytest.mark.parametrize("fault", [Fault(stall_after=10), Fault(before_head="stall"), Fault(status=503)])
async def test_a_stream_may_be_cancelled_while_it_waits(
    upstream: Upstream, make: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 60.0)
    monkeypatch.setattr(retries, "LAST_BACKOFF", 60.0)
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(short_after=100_000), fault]
    stream = await make().lookup(file).fetch(0, SIZE)
    reading = asyncio.create_task(rest(stream))
    await until(lambda: len(upstream.requests) == 2)
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stream.close()
    assert counted.held[0] == 0


async def test_an_answer_that_says_close_is_not_used_again(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults.append(Fault(closes=True))
    assert await read(make(), file) == CONTENT[0:SIZE]
    assert counted.held == (0, 0)


async def test_interim_answers_are_passed_over(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", b"0123456789")
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: {file.etag}\r\n\r\n0123456789"
    upstream.faults.append(Fault(garbage=interim + answer.encode()))
    assert await read(make(), file) == b"0123456789"


@pytest.mark.parametrize("pieces", [2, 3, 7, 1000])
async def test_a_head_may_come_in_pieces(upstream: Upstream, make: Make, pieces: int) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults.append(Fault(pieces=pieces, fields={"X-Long": "x" * 9000} if pieces == 3 else {}))
    assert await read(make(), file, 7, 100) == CONTENT[7:100]

"""Streams: however the storage fails, the bytes that arrive are right, or there is an error."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_BYTES, UPSTREAM_REQUESTS, UPSTREAM_RETRIES, UPSTREAM_THROTTLES
from gateway.storage import retries
from gateway.storage.retries import FIRST_TRIES, TRIES
from gateway.storage.s3.storage import S3Storage
from gateway.storage.s3.stream import SLOW_BYTES, TOO_MUCH_UNREAD
from tests.support.faulty_bucket import GOOD, Fault, Pattern, Upstream
from tests.support.s3_storage import Counted, Make, read, spliced
from tests.support.streams import rest
from tests.support.timing import punctually_async
from tests.support.waiting import until

SIZE = 1_000_000
LIMIT = 8 * 1024
CONTENT = Pattern(SIZE)

Reading = Callable[[Any], Awaitable[bytes]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(retries, "LAST_BACKOFF", 0.004)


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


BREAKS = {
    "reset": Fault(reset_after=1000),
    "reset at once": Fault(reset_after=0),
    "reset before the head": Fault(before_head="reset"),
    "short": Fault(short_after=1000),
    "nothing but a head": Fault(short_after=0),
    "end before the head": Fault(before_head="close"),
    "stall": Fault(stall_after=1000),
    "stall at once": Fault(stall_after=0),
    "stall before the head": Fault(before_head="stall"),
    "slow down": Fault(status=503, code="SlowDown"),
    "too many": Fault(status=429, code="TooManyRequests", retry_after="0"),
    "too many, last words": Fault(status=429, closes=True),
    "in chunks": Fault(status=503, code="SlowDown", chunked=True),
    "inner error": Fault(status=500, code="InternalError"),
    "bad gateway": Fault(status=502),
    "gateway timeout": Fault(status=504),
    "a reset error": Fault(status=503, reset_after=10),
}


def is_stall(name: str) -> bool:
    """Whether the storage falls silent. Where that counts soon, a busy machine may make more requests."""
    return "stall" in name


def silence(name: str) -> float:
    """How long the storage may be silent: short only where it will be."""
    return 0.4 if is_stall(name) else 30.0


@pytest.mark.parametrize("name", BREAKS)
async def test_what_breaks_off_at_the_beginning_is_asked_for_again(
    upstream: Upstream, make: Make, counted: Counted, name: str
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults.append(BREAKS[name])
    assert await read(make(read_timeout=silence(name)), file, 10) == CONTENT[10:SIZE]
    assert counted[UPSTREAM_RETRIES] == 1 or (is_stall(name) and counted[UPSTREAM_RETRIES])
    assert counted[UPSTREAM_THROTTLES] == (BREAKS[name].status in {429, 503})
    assert counted.held[0] == 0


@pytest.mark.parametrize("name", BREAKS)
async def test_what_breaks_off_later_is_asked_for_from_where_it_was(
    upstream: Upstream, make: Make, name: str
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(reset_after=400_000), BREAKS[name], BREAKS[name]]
    assert await read(make(read_timeout=silence(name)), file) == CONTENT[0:SIZE]
    fault = BREAKS[name]
    brought = (
        0
        if fault.status or fault.before_head
        else sum(each or 0 for each in (fault.reset_after, fault.short_after, fault.stall_after))
    )
    asked = [each.range for each in upstream.requests]
    if is_stall(name):
        starts = [int(each.removeprefix("bytes=").partition("-")[0]) for each in asked[1:]]
        assert starts == sorted(starts)
        assert len(starts) >= 3
        return
    assert asked == [
        "",
        f"bytes=400000-{SIZE - 1}",
        f"bytes={400_000 + brought}-{SIZE - 1}",
        f"bytes={400_000 + 2 * brought}-{SIZE - 1}",
    ]


@pytest.mark.slow
async def test_a_long_row_of_faults(upstream: Upstream, make: Make, counted: Counted) -> None:
    file = upstream.put("a", CONTENT)
    for number in range(40):
        upstream.faults += [Fault(reset_after=20_000 + number), Fault(status=503, code="SlowDown")]
    assert await read(make(), file) == CONTENT[0:SIZE]
    assert counted[UPSTREAM_RETRIES] == 80


WRONG = {
    "missing": (Fault(status=404, code="NoSuchKey"), "is missing"),
    "another etag": (Fault(fields={"ETag": '"other"'}), "has changed"),
    "no etag": (Fault(fields={"ETag": None}), "comes without its ETag"),
    "refused by its etag": (Fault(status=412, code="PreconditionFailed"), "has changed"),
    "no such range": (Fault(status=416), "has changed"),
    "another size": (Fault(fields={"Content-Range": f"bytes 400000-999999/{SIZE + 1}"}), "has changed"),
    "another range": (Fault(fields={"Content-Range": f"bytes 399999-999998/{SIZE}"}), "comes with bytes"),
    "another length": (Fault(fields={"Content-Length": "599999"}), "comes with 599999 bytes"),
    "whole": (Fault(ignore_range=True), "comes whole"),
    "chunks": (Fault(chunked=True), "in chunks"),
    "no range": (Fault(fields={"Content-Range": None}), "no range"),
    "no content": (Fault(status=204, fields={"Content-Length": None}), "answers 204"),
    "garbage": (Fault(garbage=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no status line"),
    "an endless head": (Fault(garbage=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9999), "a head of more than"),
    "interim answers only": (Fault(garbage=b"HTTP/1.1 100 Continue\r\n\r\n" * 9), "interim"),
    "redirect": (Fault(status=307, code="TemporaryRedirect"), "set `region`"),
    "forbidden": (Fault(status=403, code="AccessDenied"), "is refused"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_an_error_that_no_retry_repairs_is_raised_at_once(
    upstream: Upstream, make: Make, counted: Counted, name: str
) -> None:
    fault, message = WRONG[name]
    file = upstream.put("a", CONTENT)
    upstream.always = fault
    with pytest.raises(StorageError, match=f"^storage s3: the object 'a' .*{message}"):
        await make().lookup(file).fetch(400_000, SIZE)
    assert len(upstream.requests) == 1
    assert counted.held[0] == 0


@pytest.mark.parametrize("name", WRONG)
async def test_such_an_error_later_ends_the_stream(upstream: Upstream, make: Make, name: str) -> None:
    fault, message = WRONG[name]
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(reset_after=400_000), fault]
    stream = await make().lookup(file).fetch(0, SIZE)
    with pytest.raises(StorageError, match=message):
        await rest(stream)
    stream.close()
    assert len(upstream.requests) == 2
    assert stream.left == SIZE - 400_000


async def test_an_object_replaced_midway_is_never_mixed_in(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults += [
        Fault(reset_after=400_000),
        Fault(then=lambda: upstream.put("a", Pattern(SIZE, seed=1), '"new"')),
    ]
    stream = await make().lookup(file).fetch(0, SIZE)
    with pytest.raises(StorageError, match="has changed since it was published"):
        await rest(stream)
    stream.close()


async def test_before_the_first_byte_it_is_given_up_soon(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", CONTENT)
    upstream.always = Fault(status=503, code="SlowDown")
    with pytest.raises(StorageError, match=f"after {FIRST_TRIES} tries: the storage answers 503 SlowDown"):
        await read(make(), file)
    assert len(upstream.requests) == FIRST_TRIES
    assert upstream.connections == 1
    assert counted.held == (0, 1)


async def test_before_the_first_byte_there_are_few_tries(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    upstream.always = Fault(status=503, code="SlowDown", retry_after="30")
    with pytest.raises(StorageError, match="read: the storage answers 503"):
        await read(make(), file)
    assert len(upstream.requests) == 1


async def test_later_it_is_given_up_after_tries_without_a_byte(upstream: Upstream, make: Make) -> None:
    file = upstream.put("a", CONTENT)
    upstream.faults += [Fault(reset_after=10), *[Fault(short_after=0)] * 5, Fault(short_after=1)]
    upstream.always = Fault(before_head="close")
    stream = await make().lookup(file).fetch(0, SIZE)
    with pytest.raises(StorageError, match=f"after {TRIES} tries: the storage closed"):
        await rest(stream)
    stream.close()
    assert stream.left == SIZE - 11
    assert len(upstream.requests) == 7 + TRIES


async def test_a_storage_may_take_its_time(upstream: Upstream, make: Make, counted: Counted) -> None:
    """Longer than it may be silent."""
    file = upstream.put("a", CONTENT)

    async def take_two_seconds() -> None:
        before = counted[UPSTREAM_RETRIES]
        upstream.faults.append(Fault(rate=10_000, pieces=50))
        assert await read(make(read_timeout=1.5), file, 0, 20_000) == CONTENT[:20_000]
        assert counted[UPSTREAM_RETRIES] == before

    await punctually_async(take_two_seconds)


async def test_a_client_may_take_its_time(upstream: Upstream, make: Make, counted: Counted) -> None:
    file = upstream.put("a", CONTENT)
    storage = make(read_timeout=0.3)

    async def pause() -> None:
        before = counted[UPSTREAM_RETRIES]
        stream = await storage.lookup(file).fetch(0, SIZE)
        buffer = memoryview(bytearray(1000))
        await stream.wait_readable()
        got = stream.recv_into(buffer)
        await asyncio.sleep(0.6)
        assert await rest(stream) == CONTENT[got:SIZE]
        stream.close()
        assert counted[UPSTREAM_RETRIES] == before

    await punctually_async(pause)


async def test_what_the_storage_closed_meanwhile_is_asked_for_again(
    upstream: Upstream, make: Make, counted: Counted
) -> None:
    file = upstream.put("a", Pattern(20_000_000))
    stream = await make().lookup(file).fetch(0, file.size)
    buffer = memoryview(bytearray(100_000))
    await stream.wait_readable()
    got = stream.recv_into(buffer)
    await asyncio.to_thread(upstream.cut)
    await asyncio.sleep(0.05)
    assert await rest(stream) == Pattern(20_000_000)[got : file.size]
    stream.close()
    assert counted[UPSTREAM_RETRIES] == 1


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


@pytest.mark.slow
async def test_what_arrived_before_a_reset_is_taken_without_waiting(upstream: Upstream, make: Make) -> None:
    """Head, bytes and reset may all be there before anybody looks: every byte is asked for once only."""
    file = upstream.put("a", CONTENT)
    storage = make(read_timeout=600.0)
    for _ in range(20):
        upstream.requests.clear()
        upstream.faults += [Fault(reset_after=1000)] * 5
        async with asyncio.timeout(60):
            assert await read(storage, file) == CONTENT[0:SIZE]
        starts = [asked.range.partition("-")[0] for asked in upstream.requests[1:]]
        assert starts == [f"bytes={count * 1000}" for count in range(1, 6)]


# --- slow clients -------------------------------------------------------------------------------------------


def buffer_of(stream: Any) -> int:
    """The size of its socket's receive buffer, as the kernel counts."""
    assert stream._source is not None
    return int(stream._source._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))


def grows(stream: Any) -> bool:
    """Whether the kernel may make it larger (SO_BUF_LOCK)."""
    return not stream._source._socket.getsockopt(socket.SOL_SOCKET, 72)


async def take(stream: Any, amount: int) -> bytes:
    """The next bytes, as a slow client's."""
    got = b""
    while len(got) < amount:
        buffer = bytearray(min(16384, amount - len(got)))
        try:
            size = stream.recv_into(memoryview(buffer))
        except BlockingIOError:
            await stream.wait_readable()
            continue
        got += buffer[:size]
    return got


async def test_a_slow_client_has_little_ahead(certificate: tuple[Path, Path], counted: Counted) -> None:
    """Over plain TCP and TLS; the pool gets its connection back as it was."""
    for secure in (None, certificate):
        with Upstream(secure, segment=1448) as far:
            storage = S3Storage(far.bucket(), counted.add)
            file = far.put("a", CONTENT)
            stream: Any = await storage.lookup(file).fetch(0, SIZE)
            usual = buffer_of(stream)
            stream.limit_unread(LIMIT)
            assert buffer_of(stream) == 2 * LIMIT
            assert not grows(stream)
            got = await take(stream, 300_000)
            await asyncio.sleep(0.05)
            assert stream._source.unread() <= 2 * LIMIT
            stream.limit_unread(0)
            assert (buffer_of(stream), grows(stream)) == (usual, True)
            stream.limit_unread(LIMIT)
            assert got + await rest(stream) == CONTENT[:SIZE]
            assert counted.held == (0, 1)
            again = await storage.lookup(file).fetch(0, SIZE)
            assert grows(again)
            assert buffer_of(again) >= usual
            again.close()
            storage.close()
            assert far.connections == 1


async def test_a_segment_of_the_storage_has_room(plain: Upstream, counted: Counted) -> None:
    """Else one on the same machine, whose segments are of 64 KiB, would send nothing but probes."""
    storage = S3Storage(plain.bucket(), counted.add)
    stream: Any = await storage.lookup(plain.put("a", CONTENT)).fetch(0, SIZE)
    stream.limit_unread(LIMIT)
    segment = stream._source._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    assert buffer_of(stream) == 2 * segment > 2 * LIMIT
    assert await rest(stream) == CONTENT[:SIZE]
    storage.close()


@pytest.mark.parametrize("name", ["reset", "short", "stall"])
async def test_the_limit_holds_for_the_next_connection(counted: Counted, name: str) -> None:
    with Upstream(segment=1448) as far:
        storage = S3Storage(far.bucket(read_timeout=silence(name)), counted.add)
        far.faults.append(BREAKS[name])
        stream = await storage.lookup(far.put("a", CONTENT)).fetch(0, SIZE)
        stream.limit_unread(LIMIT)
        assert await take(stream, 200_000) == CONTENT[:200_000]
        assert buffer_of(stream) == 2 * LIMIT
        stream.close()
        storage.close()
        assert len(far.requests) == 2 or (is_stall(name) and len(far.requests) > 2)


async def test_what_a_quick_client_had_fetched_is_thrown_away(plain: Upstream, counted: Counted) -> None:
    """Once it is sure that the client is slow now; the rest is asked for again."""
    content = Pattern(64_000_000)
    storage = S3Storage(plain.bucket(), counted.add)
    file = plain.put("a", content)
    stream: Any = await storage.lookup(file).fetch(0, len(content))
    stream._source._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * TOO_MUCH_UNREAD)
    if buffer_of(stream) < 4 * TOO_MUCH_UNREAD:
        pytest.skip("net.core.rmem_max is too small for large buffers")
    first = await take(stream, 16384)
    await until(lambda: stream._source.unread() > TOO_MUCH_UNREAD)
    stream.limit_unread(LIMIT)
    second = await take(stream, SLOW_BYTES)
    assert len(plain.requests) == 1, "it may be a jam only"
    third = await take(stream, 100_000)
    assert first + second + third == content[: 16384 + SLOW_BYTES + 100_000]
    assert [asked.range for asked in plain.requests][1:] == [f"bytes={16384 + SLOW_BYTES}-63999999"]
    assert counted[UPSTREAM_RETRIES] == 0
    stream.close()
    storage.close()

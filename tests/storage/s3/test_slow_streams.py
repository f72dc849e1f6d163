"""Streams of slow clients have little ahead, and take as long as they like, as slow storages do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime.metrics import UPSTREAM_RETRIES
from gateway.storage.s3.storage import S3Storage
from gateway.storage.s3.stream import SLOW_BYTES, TOO_MUCH_UNREAD
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import BREAKS, CONTENT, SIZE, Counted, Make, is_stall, read, silence
from tests.support.streams import rest
from tests.support.timing import punctually_async
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("quick")


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


LIMIT = 8 * 1024


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

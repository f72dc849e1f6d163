"""Streams of a storage that breaks off or answers wrongly: what arrives is right, or there is an error."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_RETRIES, UPSTREAM_THROTTLES
from gateway.storage.retries import FIRST_TRIES, TRIES
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.faulty_bucket import Upstream
from tests.support.s3_storage import BREAKS, CONTENT, SIZE, Counted, Make, is_stall, read, silence
from tests.support.streams import rest

pytestmark = pytest.mark.usefixtures("quick")


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

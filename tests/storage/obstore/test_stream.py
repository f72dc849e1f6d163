"""Streams through obstore: complete after every fault, of one version only, no faster than the client."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.runtime.metrics import (
    UPSTREAM_BYTES,
    UPSTREAM_REQUESTS,
    UPSTREAM_RETRIES,
    UPSTREAM_THROTTLES,
    Counters,
)
from gateway.storage.obstore.object import CHUNK_BYTES
from gateway.storage.obstore.storage import CloudStorage
from gateway.storage.retries import FIRST_TRIES, TRIES
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.clouds import Make
from tests.support.google import Google
from tests.support.streams import rest
from tests.support.timing import punctually_async
from tests.support.waiting import until

SIZE = 3_000_000
CONTENT = Pattern(SIZE)

pytestmark = pytest.mark.usefixtures("quick")


async def read(storage: CloudStorage, file: ManifestFile, start: int = 0, stop: int | None = None) -> bytes:
    stream = await storage.lookup(file).fetch(start, file.size if stop is None else stop)
    try:
        return await rest(stream)
    finally:
        stream.close()


@pytest.mark.parametrize(("start", "stop"), [(0, SIZE), (0, 1), (SIZE - 1, SIZE), (5, 500_005), (1, SIZE)])
async def test_a_span_arrives(google: Google, make: Make, counters: Counters, start: int, stop: int) -> None:
    file = google.put("dir/ä +%.bin", CONTENT, version="17")
    assert await read(make(google.table()), file, start, stop) == CONTENT[start:stop]
    [asked] = google.requests
    assert asked.range == f"bytes={start}-{stop - 1}"
    assert asked.fields["if-match"] == file.etag
    assert asked.fields["accept-encoding"] == "gzip"  # else Google unpacks what was stored packed
    assert asked.target.endswith("?generation=17")
    values = counters.values()
    assert (values[UPSTREAM_REQUESTS], values[UPSTREAM_RETRIES]) == (1, 0)
    assert values[UPSTREAM_BYTES] == stop - start


@pytest.mark.parametrize("most", [1, 1000, 65_537])
async def test_pieces_may_be_small(google: Google, make: Make, most: int) -> None:
    stop = min(most * 50, 400_000)
    stream = await make(google.table()).lookup(google.put("a", CONTENT)).fetch(0, stop)
    assert not stream.can_splice
    with pytest.raises(BlockingIOError):
        stream.recv_into(memoryview(bytearray(1)))
    assert await rest(stream, most) == CONTENT[:stop]
    stream.close()


async def test_after_a_fault_the_rest_is_asked_for_from_the_first_missing_byte(
    google: Google, make: Make, counters: Counters
) -> None:
    file = google.put("a", CONTENT)
    google.faults += [
        Fault(status=503, code="SlowDown"),
        Fault(before_head="reset"),
        Fault(reset_after=700_000),
        Fault(status=429),
        Fault(status=500),
        Fault(short_after=900_000),
        Fault(before_head="close"),
        Fault(stall_after=300_000),
        Fault(before_head="stall"),
    ]
    assert await read(make(google.table(read_timeout=0.3)), file, 7) == CONTENT[7:SIZE]
    assert len(google.requests) >= 10  # more where this process was silent for so long, too
    assert all(asked.fields["if-match"] == file.etag for asked in google.requests)
    starts = [int(asked.range.removeprefix("bytes=").partition("-")[0]) for asked in google.requests]
    assert starts == sorted(starts)
    assert starts[-1] > 7
    values = counters.values()
    assert (values[UPSTREAM_THROTTLES], values[UPSTREAM_RETRIES]) == (2, len(google.requests) - 1)
    assert values[UPSTREAM_BYTES] == SIZE - 7


async def test_twenty_resets_and_five_throttles(google: Google, make: Make) -> None:
    content = Pattern(24_000_000)
    file = google.put("a", content)
    google.faults += ([Fault(reset_after=1_000_000)] * 4 + [Fault(status=503)]) * 5
    assert await read(make(google.table()), file) == content[: len(content)]
    assert len(google.requests) == 26


@pytest.mark.slow
async def test_a_client_may_pause_longer_than_read_timeout(
    google: Google, make: Make, counters: Counters
) -> None:
    content = Pattern(40_000_000)
    file = google.put("a", content)

    async def pause() -> None:
        before = counters.values()[UPSTREAM_REQUESTS]
        stream = await make(google.table(read_timeout=0.5)).lookup(file).fetch(0, len(content))
        buffer = memoryview(bytearray(CHUNK_BYTES))
        await stream.wait_readable()
        taken = stream.recv_into(buffer)
        await asyncio.sleep(1.5)
        assert await rest(stream) == content[taken : len(content)]
        stream.close()
        assert counters.values()[UPSTREAM_REQUESTS] == before + 1

    await punctually_async(pause)


async def test_what_nobody_takes_is_not_read(google: Google, make: Make) -> None:
    content = Pattern(200_000_000)
    stream = await make(google.table()).lookup(google.put("a", content)).fetch(0, len(content))
    await stream.wait_readable()
    before = -1
    while before != google.sent:  # until the kernels' buffers are full
        before = google.sent
        await asyncio.sleep(0.2)
    assert google.sent < 40_000_000
    stream.close()
    await until(lambda: google.open == 0)


async def test_a_connection_lost_while_the_client_pauses_is_no_fault(google: Google, make: Make) -> None:
    content = Pattern(40_000_000)
    stream = await make(google.table()).lookup(google.put("a", content)).fetch(0, len(content))
    await stream.wait_readable()
    google.cut()
    assert await rest(stream) == content[: len(content)]
    stream.close()


async def test_a_replaced_object_is_never_mixed_in(google: Google, make: Make) -> None:
    content = Pattern(40_000_000)
    file = google.put("a", content)
    stream = await make(google.table()).lookup(file).fetch(0, len(content))
    await stream.wait_readable()
    google.put("a", Pattern(40_000_000, seed=1), etag='"other"')
    google.cut()
    with pytest.raises(StorageError, match="has changed since it was published"):
        await rest(stream)
    stream.close()


async def test_a_replaced_generation_is_missing(google: Google, make: Make) -> None:
    file = google.put("a", CONTENT, version="17")
    google.put("a", CONTENT, version="18")
    with pytest.raises(StorageError, match="is not there in the version that was published"):
        await read(make(google.table()), file)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(status=404), "is missing"),
        (Fault(status=412), "has changed"),
        (Fault(status=416), "has changed"),
        (Fault(status=403, code="AccessDenied"), "is refused (403 AccessDenied)"),
        (Fault(status=401), "without valid credentials (401"),
        (Fault(status=400, code="InvalidArgument"), "the storage answers 400 InvalidArgument"),
        (Fault(ignore_range=True), "comes whole although a range was asked for"),
        (Fault(fields={"ETag": '"other"'}), 'ETag "other"'),
        (Fault(fields={"ETag": None}), "comes without an ETag, which this type of storage needs"),
        (Fault(fields={"Content-Range": None}), "cannot be used (NoContentRange)"),
        (Fault(fields={"Last-Modified": "yesterday"}), "cannot be used (Header InvalidLastModified)"),
        (Fault(fields={"Content-Range": "bytes 0-99/100"}), "has changed since it was published: 100 bytes"),
        (
            Fault(fields={"Content-Range": f"bytes 0-98/{SIZE}", "Content-Length": "99"}),
            "cannot be used (UnexpectedRange)",
        ),
    ],
)
async def test_what_cannot_be_right_is_not_asked_for_again(
    google: Google, make: Make, fault: Fault, text: str
) -> None:
    file = google.put("a", CONTENT)
    google.faults.append(fault)
    with pytest.raises(StorageError) as caught:
        await read(make(google.table()), file, 0, 100)
    assert text in str(caught.value)
    assert str(caught.value).startswith("storage cloud: the object 'a' ")
    assert "\n" not in str(caught.value)
    assert len(google.requests) == 1


async def test_the_first_byte_is_waited_for_in_a_few_tries(google: Google, make: Make) -> None:
    file = google.put("a", CONTENT)
    google.always = Fault(status=503)
    with pytest.raises(StorageError, match="the storage answers 503 Failed"):
        await read(make(google.table()), file)
    assert len(google.requests) == FIRST_TRIES


async def test_the_rest_is_waited_for_in_more(google: Google, make: Make) -> None:
    file = google.put("a", CONTENT)
    google.faults.append(Fault(reset_after=500_000))
    google.always = Fault(before_head="reset")
    with pytest.raises(StorageError, match="cannot be read"):
        await read(make(google.table()), file)
    assert len(google.requests) == TRIES + 1


async def test_nobody_waits_any_more(google: Google, make: Make) -> None:
    file = google.put("a", CONTENT)
    google.faults.append(Fault(stall_after=0))
    stream = await make(google.table()).lookup(file).fetch(0, SIZE)
    waiting = asyncio.ensure_future(stream.wait_readable())
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    stream.close()
    await until(lambda: google.open == 0)

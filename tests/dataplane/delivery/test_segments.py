"""A plan whose segments come from two files, sent by each delivery over TCP, TLS and a unix socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.delivery.relay import Relay
from gateway.dataplane.delivery.sender import Sender
from gateway.dataplane.delivery.transfer import Transfer
from gateway.dataplane.exchange import Exchange
from gateway.http.plans import Plan, Segment
from gateway.http.ranges import Span
from gateway.manifest import ManifestFile
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from tests.support.http_client import Client, request
from tests.support.in_loop_server import serving
from tests.support.object_source import Arriving, Lying, Source
from tests.support.waiting import wait_until

FIRST, SECOND = os.urandom(2_000_000), os.urandom(3_000_000)
CONTENTS = (FIRST, SECOND)
SEGMENTS = (
    Segment(b"[first]", 0, Span(0, 1_500_000)),
    Segment(b"[small, of the second]", 1, Span(5, 105)),
    Segment(b"", 1, Span(0, 3_000_000)),
    Segment(b"[back]", 0, Span(1_400_000, 2_000_000)),
    Segment(b"[small, of the first]", 0, Span(7, 8)),
)
BODY = b"".join(prefix + CONTENTS[file][slice(*span)] for prefix, file, span in SEGMENTS) + b"[end]"
AMOUNT = sum(span.stop - span.start for _, _, span in SEGMENTS)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
PLAN = Plan(200, HEAD, SEGMENTS, b"[end]", AMOUNT)


def write(folder: Path) -> list[ManifestFile]:
    files = []
    for name, content in zip(("first", "second"), CONTENTS, strict=True):
        path = folder / name
        path.write_bytes(content)
        modified = path.stat().st_mtime_ns
        files.append(
            ManifestFile(name, len(content), "application/x", "0" * 64, "0" * 8, "main", name, modified)
        )
    return files


def get_twice(connect: Callable[[], Client]) -> list[bytes]:
    with connect() as client:
        return [client.get("/download").body for _ in range(2)]


async def until_ended(ended: list[Exchange]) -> None:
    """Wait until both answers are known to have arrived, which is after the client has read them."""
    whole = [AMOUNT, AMOUNT]
    await asyncio.to_thread(wait_until, lambda: [exchange.sent for exchange in ended] == whole, "both ended")


async def test_a_transfer_sends_segments_of_two_files(way: dict[str, Any], tmp_path: Path) -> None:
    storage = LocalStorage("main", tmp_path, DescriptorCache(10))
    files = write(tmp_path)
    with ExitStack() as stack:
        blobs = tuple(stack.enter_context(storage.open(file)) for file in files)
        async with serving(lambda exchange: Transfer(exchange, blobs).run(PLAN), **way) as (connect, ended):
            assert await asyncio.to_thread(get_twice, connect) == [BODY, BODY]
            await until_ended(ended)
    storage.close()


async def test_a_transfer_stops_at_a_second_file_that_has_changed(tmp_path: Path) -> None:
    """The first file is sent; then the connection breaks, so that the client notices."""
    storage = LocalStorage("main", tmp_path, DescriptorCache(10))
    files = write(tmp_path)
    with ExitStack() as stack:
        blobs = tuple(stack.enter_context(storage.open(file)) for file in files)
        (tmp_path / "second").write_bytes(bytes(10))

        def get(connect: Callable[[], Client]) -> bytes:
            with connect() as client:
                client.send(request("/download"))
                client.read_head()
                return client.read_until_closed()

        async with serving(lambda exchange: Transfer(exchange, blobs).run(PLAN)) as (connect, ended):
            got = await asyncio.to_thread(get, connect)
            assert BODY.startswith(got)
            assert len(got) < len(BODY)
            assert ended[0].sent <= 1_500_000
    storage.close()


def arriving(content: bytes, _: Path) -> Callable[[int, int], Arriving]:
    return lambda start, stop: Arriving(stop - start, True).feed(content[start:stop])


def copied(content: bytes, _: Path) -> Callable[[int, int], Arriving]:
    return lambda start, stop: Arriving(stop - start, False).feed(content[start:stop])


def lying(content: bytes, path: Path) -> Callable[[int, int], Lying]:
    path.write_bytes(content)
    return lambda start, stop: Lying(path, start, min(stop, start - start % 700_000 + 700_000) - start)


@pytest.mark.parametrize(
    ("first", "second"), [(arriving, arriving), (copied, lying), (lying, lying), (lying, arriving)]
)
async def test_a_relay_sends_segments_of_two_objects(
    way: dict[str, Any], tmp_path: Path, first: Any, second: Any
) -> None:
    blobs = (
        Source(len(FIRST), first(FIRST, tmp_path / "first")),
        Source(len(SECOND), second(SECOND, tmp_path / "second")),
    )
    async with serving(lambda exchange: Relay(exchange, blobs).run(PLAN), **way) as (connect, ended):
        assert await asyncio.to_thread(get_twice, connect) == [BODY, BODY]
        await until_ended(ended)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8), st.integers(0, 300))
def test_what_is_framing_among_the_last_bytes(pieces: list[tuple[int, int]], amount: int) -> None:
    """pieces: lengths of framing, and of the bytes of a file after it."""
    sender = Sender.__new__(Sender)
    sender._framing, sender.sent = [], 0
    written = b""
    for framing, data in pieces:
        sender._count_framing(bytes(framing))
        sender.sent += data
        written += b"f" * framing + b"d" * data
    assert sender._content_of_last(amount) == written[max(0, len(written) - amount) :].count(b"d")


async def test_the_first_segment_may_be_of_any_file(tmp_path: Path) -> None:
    """Also in an answer that is small enough for one write."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"
    plan = Plan(200, head, (Segment(b"", 1, Span(1000, 1100)),), b"", 100)
    objects = (Source(len(FIRST), arriving(FIRST, tmp_path)), Source(len(SECOND), arriving(SECOND, tmp_path)))
    storage = LocalStorage("main", tmp_path, DescriptorCache(10))
    with ExitStack() as stack:
        files = tuple(stack.enter_context(storage.open(file)) for file in write(tmp_path))
        async with serving(lambda exchange: Transfer(exchange, files).run(plan)) as (connect, _):
            assert await asyncio.to_thread(get_twice, connect) == [SECOND[1000:1100]] * 2
    async with serving(lambda exchange: Relay(exchange, objects).run(plan)) as (connect, _):
        assert await asyncio.to_thread(get_twice, connect) == [SECOND[1000:1100]] * 2
    storage.close()

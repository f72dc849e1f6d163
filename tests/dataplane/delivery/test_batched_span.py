"""Spans that are sent at the end of a turn: which ones, and what is left to a Transfer."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.dataplane.delivery.batched_span import MAX_SPAN_BYTES, BatchedSpan, batch_span, send_in_batch
from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.delivery.transfer import Transfer
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.http.plans import Plan, Representation, Segment
from gateway.http.ranges import Span
from gateway.storage.interface import FileBlob
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from tests.support.certificates import make_certificate
from tests.support.http_client import Client, request
from tests.support.in_loop_server import serving
from tests.support.local_files import entry
from tests.support.waiting import until

CONTENT = os.urandom(1_000_000)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[tuple[FileBlob, Representation]]:
    """A file in memory, opened, and how HTTP shows it."""
    (tmp_path / "file").write_bytes(CONTENT)
    storage = LocalStorage("main", tmp_path, DescriptorCache(10))
    file = entry(tmp_path, "file")
    with storage.open(file) as blob:
        yield blob, Representation(file)
    storage.close()


def ask(connect: Callable[[], Client], count: int = 1) -> list[bytes]:
    with connect() as client:
        client.send(request("/download") * count)
        return [client.read().body for _ in range(count)]


async def test_a_span_is_sent_and_the_connection_serves_the_next(
    stored: tuple[FileBlob, Representation],
) -> None:
    blob, representation = stored
    results: list[bool] = []

    async def deliver(exchange: Exchange) -> None:
        batched = send_in_batch(exchange, blob, representation.part(Span(1000, 101_000)))
        assert batched is not None
        assert not batched.done, "it leaves at the end of the turn"
        results.append(await batched)

    async with serving(deliver) as (connect, ended):
        assert await asyncio.to_thread(ask, connect, 3) == [CONTENT[1000:101_000]] * 3
    assert results == [True] * 3
    assert [exchange.sent for exchange in ended] == [100_000] * 3


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(0, SMALL_BYTES)], id="small"),
        pytest.param([(0, MAX_SPAN_BYTES + 1)], id="large"),
        pytest.param([(0, 50_000), (100_000, 150_000)], id="several"),
    ],
)
async def test_spans_that_do_not_fit_a_batch_are_not_sent(
    stored: tuple[FileBlob, Representation], spans: list[tuple[int, int]]
) -> None:
    blob, representation = stored
    wanted = tuple(Span(*span) for span in spans)
    plan = representation.part(wanted[0]) if len(wanted) == 1 else representation.parts(wanted)

    async def deliver(exchange: Exchange) -> None:
        assert send_in_batch(exchange, blob, plan) is None
        assert not exchange.begun
        exchange.respond(204, b"HTTP/1.1 204 No Content\r\n")

    async with serving(deliver) as (connect, ended):
        assert await asyncio.to_thread(ask, connect) == [b""]
    assert ended[0].status == 204


async def test_no_span_is_batched_with_tls(stored: tuple[FileBlob, Representation], tmp_path: Path) -> None:
    blob, representation = stored
    certificate, key = make_certificate(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(certificate, key)

    async def deliver(exchange: Exchange) -> None:
        assert send_in_batch(exchange, blob, representation.part(Span(0, 100_000))) is None
        exchange.respond(204, b"HTTP/1.1 204 No Content\r\n")

    secure = (ours, ssl.create_default_context(cafile=str(certificate)))
    async with serving(deliver, secure=secure) as (connect, ended):
        await asyncio.to_thread(ask, connect)
    assert ended[0].status == 204


async def test_a_transfer_goes_on_with_what_the_kernel_does_not_take(
    stored: tuple[FileBlob, Representation],
) -> None:
    """A client that does not read yet, and a hundred spans: most leave in part or not at all."""
    blob, representation = stored
    results: list[bool] = []

    async def deliver(exchange: Exchange) -> None:
        span = Span(10, 250_010)
        head = exchange.begin(206, representation.part_head(span))
        batched: BatchedSpan = batch_span(exchange, blob, head, span)
        results.append(await batched)
        if not results[-1]:
            await Transfer(exchange, (blob,)).run(batched.plan())

    def ask_and_wait(connect: Callable[[], Client]) -> list[bytes]:
        with connect() as client:
            client.send(request("/download") * 100)
            return [client.read().body for _ in range(100)]

    async with serving(deliver) as (connect, ended):
        bodies = await asyncio.to_thread(ask_and_wait, connect)
    assert bodies == [CONTENT[10:250_010]] * 100
    assert {exchange.sent for exchange in ended} == {250_000}
    assert len(results) == 100


async def test_a_client_that_has_gone_is_reported(stored: tuple[FileBlob, Representation]) -> None:
    blob, representation = stored
    errors: list[Any] = []

    async def deliver(exchange: Exchange) -> None:
        connection = exchange.connection
        batched = send_in_batch(exchange, blob, representation.part(Span(0, 100_000)))
        assert batched is not None
        assert connection.transport is not None
        connection.transport = None  # as after `connection_lost`, earlier in the same turn
        try:
            await batched
        except ClientGone as error:
            errors.append(error)
            raise

    async with serving(deliver) as (connect, ended):
        client = await asyncio.to_thread(connect)
        client.send(request("/download"))
        await until(lambda: bool(ended))
        client.socket.close()
    assert len(errors) == 1
    assert ended[0].sent == 0


def test_the_plan_for_the_rest_has_no_head() -> None:
    batched = BatchedSpan()
    batched.span = Span(5, 100)
    assert batched.plan() == Plan(206, b"", (Segment(b"", 0, Span(5, 100)),), b"", 95)

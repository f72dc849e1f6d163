"""Sends a plan's pieces over one connection: small spans copied, large ones by sendfile.

send_at_once   what is small and in memory, in one write with its head
send_soon      one span of middling size, past the transport, with the other answers of this turn
Transfer       everything else, and what the kernel did not take of those

The rules:

- Nothing is sent past the transport until the transport's own buffer is empty: the head goes first.
- One call of sendfile in one turn of the event loop, and much less of all transfers together while small
  requests are about: see send_scheduler.py.
- Before each call: is the span in memory (else a thread reads it in, so that a cold disk never stops the
  loop), and is the file still the one that was opened (else the connection is broken)?
- `sent` counts the bytes of the file that the kernel took; when the connection breaks, what it had not sent
  yet is taken off again, so that a settle refunds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from gateway.dataplane.delivery.sender import DISK_BYTES, Sender
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import StorageError
from gateway.http.plans import Plan
from gateway.http.ranges import Span
from gateway.runtime.deferred import Deferred, in_thread
from gateway.storage.interface import FileBlob

SMALL_BYTES: Final = 16 * 1024
"""Up to here copying into one write with the head is cheaper than two system calls."""
SOON_BYTES: Final = 256 * 1024
"""Up to here one call sends a span whole, if its client has kept up."""
COPY_BYTES: Final = 256 * 1024
"""One read and write where sendfile cannot go (TLS)."""

T = TypeVar("T")


def send_at_once(exchange: Exchange, blob: FileBlob, plan: Plan) -> bool:
    """Send head and body in one write, when they are small and in memory; else False, and nothing is sent.

    Most requests end here. Raises ClientGone, or StorageError when the file changed while it was read.
    """
    body = b""
    if plan.pieces:
        if plan.amount > SMALL_BYTES or len(plan.pieces) > 1:
            return False
        read = blob.read_now(*plan.pieces[0][1])
        if read is None:
            return False
        body = read
    exchange.respond(plan.status, plan.head, body)
    exchange.sent = plan.amount
    return True


class Departure(Deferred[bool]):
    """A head and its span, sent when this turn of the event loop ends; an outcome: whether all of it left.

    Answers made in one turn leave together: the first wakes the client, and the others find it awake. 5 µs a
    request. What the kernel did not take of the span is a Transfer's; `exchange.sent` says how much that is.
    """

    def __init__(self, exchange: Exchange, blob: FileBlob, head: bytes, span: Span) -> None:
        self.exchange = exchange
        self.blob = blob
        self._span = span
        self._head = head
        exchange.begun = True
        if not _departing:
            asyncio.get_running_loop().call_soon(_leave_all)
        _departing.append(self)

    def leave(self) -> None:
        """Send what the kernel takes."""
        exchange, head = self.exchange, self._head
        connection = exchange.connection
        if connection.transport is None:
            self.set_exception(ClientGone())
            return
        start, stop = self._span
        try:  # an OSError: the kernel takes no more now, or the connection broke, which the Transfer will see
            outlet = connection.client_socket or connection.open_client_socket()
            taken = outlet.send_head(head)
            if taken == len(head):
                head = b""
                exchange.sent = outlet.send_file(self.blob.fd, start, stop)
            else:
                head = head[taken:]
        except OSError:
            pass
        if head:
            connection.transport.write(head)
        self.set_result(exchange.sent == stop - start)

    def plan(self) -> Plan:
        """For the Transfer that goes on."""
        return Plan(206, b"", ((b"", self._span),), b"", self._span.stop - self._span.start)


_departing: Final[list[Departure]] = []
"""Those of this turn; a process has one event loop."""


def _leave_all() -> None:
    leaving = _departing.copy()
    _departing.clear()
    for departure in leaving:
        departure.leave()


def may_leave_soon(exchange: Exchange, blob: FileBlob, span: Span) -> bool:
    """Whether a Departure can send this span: of middling size, in memory, and past an idle transport."""
    start, stop = span
    transport = exchange.connection.transport
    return (
        SMALL_BYTES < stop - start <= SOON_BYTES
        and transport is not None
        and not transport.get_write_buffer_size()
        and transport.get_extra_info("sslcontext") is None
        and blob.is_in_memory(start, stop)
    )


def send_soon(exchange: Exchange, blob: FileBlob, plan: Plan) -> Deferred[bool]:
    """Send one span past the transport and without a Transfer, if that can be.

    An outcome with whether all of it was sent; else a Transfer goes on where this ended. It may fail with
    ClientGone. With a `Departure`, random spans of 64 KiB cost 43 µs of CPU each instead of 88.
    """
    if len(plan.pieces) != 1 or not may_leave_soon(exchange, blob, plan.pieces[0][1]):
        return _LATER
    return Departure(exchange, blob, exchange.begin(plan.status, plan.head), plan.pieces[0][1])


_LATER: Final[Deferred[bool]] = Deferred()
_LATER.set_result(False)


class Transfer(Sender):
    """One plan on its way to one client, from a file; `send_soon` may have sent its beginning."""

    def __init__(self, exchange: Exchange, blob: FileBlob) -> None:
        super().__init__(exchange)
        self.sent = exchange.sent
        self._blob = blob

    async def run(self, plan: Plan) -> None:
        """Send head and pieces. Raises ClientGone, or StorageError when the blob fails.

        After a StorageError the head may have gone: see `exchange.begun`. `exchange.sent` is right in every
        case.
        """
        self._begin()
        exchange = self._exchange
        try:
            if len(plan.pieces) == 1 and plan.amount <= SMALL_BYTES:
                body = await self._read(plan.pieces[0][1])
                exchange.respond(plan.status, plan.head, body)
                self.sent = plan.amount
                return
            pieces, before = plan.pieces, b""
            if exchange.begun:
                self._socket = (
                    self._connection.client_socket
                )  # which knows what of that the client has not got
                span = pieces[0][1]
                pieces = ((b"", Span(span.start + self.sent, span.stop)),)
            else:
                start, stop = pieces[0][1]
                await self._load(start, min(start + DISK_BYTES, stop))  # while a fault can still be told
                before = exchange.begin(plan.status, plan.head)
            for framing, span in pieces:
                await self._piece(before + framing, span)
                before = b""
            self._write(plan.closing)
            await self._drained()
        except StorageError:
            self._uncount_unsent()
            raise
        finally:
            self._end()

    async def _piece(self, before: bytes, span: Span) -> None:
        if span.stop - span.start <= SMALL_BYTES:
            self._write(before + await self._read(span))
            self.sent += span.stop - span.start
            await self._drained()
        elif self._is_plain():
            await self._send_prefix(before)
            await self._send_file(self._blob.fd, span.start, span.stop)
            self._in_memory_to = 0  # the next span may lie before this one
        else:
            self._write(before)
            await self._copy(span)

    async def _copy(self, span: Span) -> None:
        """Read and write through the transport, for TLS. The outlet is only asked what the client took."""
        self._socket = self._connection.open_client_socket()
        at = span.start
        while at < span.stop:
            end = min(at + COPY_BYTES, span.stop)
            self._write(await self._read(Span(at, end)))
            self.sent += end - at
            at = end
            await self._next_turn()
            await self._drained()

    async def _load(self, start: int, stop: int) -> int:
        """The same, from a file that has not changed."""
        if self.sent and not self._blob.unchanged():  # before the first byte, looking it up was the check
            raise StorageError("a file changed while it was sent")
        return await super()._load(start, stop)

    def _is_in_memory(self, start: int, stop: int, *, follows: bool) -> bool:
        return self._blob.is_in_memory(start, stop, follows=follows)

    async def _read_into_memory(self, start: int, stop: int) -> None:
        await self._in_thread(self._blob.read_into_memory, start, stop)

    async def _read(self, span: Span) -> bytes:
        data = self._blob.read_now(span.start, span.stop)
        if data is None:
            data = await self._in_thread(self._blob.pread, span.start, span.stop)
            if not self._blob.unchanged():
                raise StorageError("a file changed while it was read")
        return data

    async def _in_thread(self, function: Callable[[int, int], T], start: int, stop: int) -> T:
        self._stop_watching()
        self._waits_for_source = True
        try:
            result = await in_thread(function, start, stop)
        finally:
            self._waits_for_source = False
        if self._connection.transport is None:
            raise ClientGone
        return result

"""A span of middling size, sent past the transport at the end of a turn, with all others of the same turn.

The answers that are made in one turn of the event loop are sent directly one after the other. The first one
wakes the client, which is then awake for the others (this saves 5 µs a request). Random spans of 64 KiB cost
43 µs of CPU each; with a Transfer it was 88 µs. A Transfer goes on with what the kernel does not take.
"""

from __future__ import annotations

from typing import Final

from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.http.plans import Plan, Segment
from gateway.http.ranges import Span
from gateway.runtime.deferred import Deferred
from gateway.storage.interface import FileBlob

MAX_SPAN_BYTES: Final = 256 * 1024
"""Up to here one system call sends a whole span, if its client has taken what came before."""


class BatchedSpan(Deferred[bool]):
    """A head and a span that are sent when this turn ends. The result: whether all of the span was sent.

    `exchange.sent` says how much of it was. Fails with ClientGone. Made by `batch_span`.
    """

    # Set by `batch_span`: a constructor would be one more call for every request.
    exchange: Exchange
    blob: FileBlob
    head: bytes
    span: Span

    def send(self) -> None:
        """Send what the kernel takes now, and set the result. The scheduler calls this."""
        exchange, head = self.exchange, self.head
        connection = exchange.connection
        if connection.transport is None:
            self.set_exception(ClientGone())
            return
        start, stop = self.span
        try:
            client_socket = connection.client_socket or connection.open_client_socket()
            moved = client_socket.send_head(head)
            head = head[moved:]
            if not head:
                exchange.sent = client_socket.send_file(self.blob.fd, start, stop)
        except OSError:  # the kernel takes no more now, or the connection broke, which the Transfer will see
            pass
        if head:
            connection.transport.write(head)
        self.set_result(exchange.sent == stop - start)

    def plan(self) -> Plan:
        """The plan for the Transfer that goes on. It finds in `exchange.sent` where to begin."""
        start, stop = self.span
        return Plan(206, b"", (Segment(b"", 0, self.span),), b"", stop - start)


def fits_batch(exchange: Exchange, blob: FileBlob, span: Span) -> bool:
    """Whether a BatchedSpan can send this span: of middling size, in memory, and past an idle transport."""
    start, stop = span
    transport = exchange.connection.transport
    return (
        SMALL_BYTES < stop - start <= MAX_SPAN_BYTES
        and transport is not None
        and not transport.get_write_buffer_size()
        and transport.get_extra_info("sslcontext") is None
        and blob.is_in_memory(start, stop)
    )


def batch_span(exchange: Exchange, blob: FileBlob, head: bytes, span: Span) -> BatchedSpan:
    """Have a head and a span sent when this turn ends. `fits_batch` must be true of the span."""
    batched = BatchedSpan()
    batched.exchange = exchange
    batched.blob = blob
    batched.head = head
    batched.span = span
    exchange.begun = True
    exchange.connection.server.scheduler.send_at_turn_end(batched)
    return batched


def send_in_batch(exchange: Exchange, blob: FileBlob, plan: Plan) -> BatchedSpan | None:
    """Have the plan sent as a BatchedSpan, if that can be done; else None, and nothing is sent.

    When the result is False, a Transfer has to go on.
    """
    if len(plan.segments) != 1 or not fits_batch(exchange, blob, plan.segments[0].span):
        return None
    return batch_span(exchange, blob, exchange.begin(plan.status, plan.head), plan.segments[0].span)

"""Sends a plan's segments from files over one connection: small spans copied, large ones by sendfile.

send_at_once     a body that is small and in memory, in one write with its head
BatchedSpan      one span of middling size, past the transport, with the others of its turn (batched_span.py)
Transfer         everything else, and what the kernel did not take of a BatchedSpan

The rules:

- Nothing is sent past the transport until the transport's own buffer is empty: the head goes first.
- A transfer makes one call of sendfile in one turn of the event loop. While there are small requests, all
  transfers together send much less in a turn: see send_scheduler.py.
- Before each call, the span has to be in memory: else a thread reads it, so that a cold disk never stops the
  loop. And the file has to be the one that was opened: else the connection is broken.
- `sent` counts the bytes of files that the kernel has taken. When the connection breaks, what the kernel has
  not sent yet is subtracted, so that a settle refunds it. So a transfer ends only when the kernel has sent
  everything.
- A transfer may be cut (`Sender.cut`): then it ends early, because another request gets the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.delivery.sender import DISK_BYTES, CutOff, Sender
from gateway.dataplane.exchange import Exchange
from gateway.errors import StorageError
from gateway.http.plans import Plan, Segment
from gateway.http.ranges import Span
from gateway.runtime.deferred import in_thread
from gateway.storage.interface import FileBlob

GATHER_BYTES: Final = 64 * 1024
"""Small spans are gathered up to here: 256 parts of 2 KiB leave in nine writes."""
COPY_BYTES: Final = 256 * 1024
"""One read and one write where sendfile is impossible (TLS)."""

T = TypeVar("T")


def send_at_once(exchange: Exchange, blob: FileBlob, plan: Plan) -> bool:
    """Send head and body in one write, if they are small and in memory; else return False and send nothing.

    Most requests end here. Raises ClientGone, or StorageError when the file changed while it was read.
    """
    body = b""
    if plan.segments:
        if plan.amount > SMALL_BYTES or len(plan.segments) > 1:
            return False
        read = blob.read_now(*plan.segments[0].span)
        if read is None:
            return False
        body = read
    exchange.respond(plan.status, plan.head, body)
    exchange.sent = plan.amount
    return True


class Transfer(Sender):
    """One plan on its way to one client, from files. A BatchedSpan may have sent the beginning."""

    def __init__(self, exchange: Exchange, blobs: Sequence[FileBlob]) -> None:
        super().__init__(exchange)
        self.sent = exchange.sent
        self._blobs = blobs
        self._blob = blobs[0]  # of the segment that is being sent

    async def run(self, plan: Plan) -> None:
        """Send the head and the segments. Raises ClientGone, or StorageError when a blob fails.

        After a StorageError the head may have been sent: see `exchange.begun`. `exchange.sent` is right in
        every case.
        """
        self._begin()
        exchange = self._exchange
        try:
            segments, head = plan.segments, b""
            self._blob = self._blobs[segments[0].file]
            if len(segments) == 1 and plan.amount <= self._most_at_once:
                body = await self._read(segments[0].span)
                await self._all_allowed(plan.amount)
                self._check_room(plan.amount)
                exchange.respond(plan.status, plan.head, body)
                self.sent = plan.amount
                return
            start, stop = segments[0].span
            if exchange.begun:
                self._socket = self._connection.client_socket  # it knows how much the client has acknowledged
                segments = (segments[0]._replace(span=Span(start + self.sent, stop)),)
            else:
                await self._load(start, min(start + DISK_BYTES, stop))  # while an error can still be answered
                head = exchange.begin(plan.status, plan.head)
            await self._send_segments(head, segments, plan.closing)
            await self._until_delivered()
        except CutOff:
            await self._end_cut_off()
        except StorageError:
            self._uncount_unsent()
            raise
        finally:
            self._end()

    async def _send_segments(self, head: bytes, segments: Sequence[Segment], closing: bytes) -> None:
        """Send all that there is. Small spans that follow each other leave together."""
        gathered: list[tuple[bytes, bytes]] = []  # framing, and the bytes of a small span
        held, most = 0, self._most_at_once
        gather = GATHER_BYTES if not self._pacers else most
        for prefix, file, span in segments:
            self._blob = self._blobs[file]
            if span.stop - span.start > most:
                if gathered:
                    await self._send_small(gathered)
                    gathered, held = [], 0
                await self._send_span(head + prefix, span)
            else:
                gathered.append((head + prefix, await self._read(span)))
                held += len(prefix) + span.stop - span.start
                if held >= gather:
                    await self._send_small(gathered)
                    gathered, held = [], 0
            head = b""
        if gathered or closing:
            await self._send_small([*gathered, (closing, b"")])

    async def _send_span(self, prefix: bytes, span: Span) -> None:
        self._count_framing(prefix)
        if self._is_plain():
            await self._send_prefix(prefix)
            await self._send_file(self._blob.fd, span.start, span.stop)
            self._in_memory_to = 0  # the next span may lie before this one, or in another file
        else:
            self._write(prefix)
            await self._copy(span)

    async def _copy(self, span: Span) -> None:
        """Read, and write through the transport, for TLS. The socket only tells what the client has taken."""
        self._socket = self._connection.open_client_socket()
        start = span.start
        while start < span.stop:
            end = min(start + COPY_BYTES, span.stop)
            if self._pacers:
                end = start + await self._allowed(end - start)
            data = await self._read(Span(start, end))
            data = data[: self._room()]
            self._write(data)
            self.sent += len(data)
            start += len(data)
            await self._next_turn()
            await self._drained()

    async def _load(self, start: int, stop: int) -> int:
        """Do the same as Sender, after checking that the file has not changed."""
        if self.sent and not self._blob.unchanged():  # before the first byte, the look-up was the check
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
        self._check_connected()
        return result

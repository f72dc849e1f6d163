"""The client's side of a delivery: when the client takes more, what it has taken, whether it is connected.

A delivery sends one plan to one client, in part through the transport (heads, framing, TLS) and in part past
it, by a duplicate of its socket. The connection calls `resume`, `connection_lost` and `progress` on it.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Sequence
from itertools import chain
from time import monotonic
from typing import Final

from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.delivery.paced import Paced
from gateway.dataplane.delivery.send_scheduler import MOST_BYTES
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import LIMIT_REACHED, Refused, StorageError
from gateway.runtime.deferred import Deferred

DISK_BYTES: Final = 1024 * 1024
"""How much is read from a disk at once before any of it is sent: the client waits for all of it."""
FIRST_LOOK_SECONDS: Final = 0.001
"""After the last byte, the kernel's queue is looked at again after this time, then after twice as long, …"""
LAST_LOOK_SECONDS: Final = 0.25
"""… and at last each time after so long."""

CUT_OFF_SECONDS: Final = 5.0
"""A client whose body ends early may take nothing for so long, and then its connection is broken."""


class CutOff(Exception):
    """The delivery has sent all that it may: see `Sender.cut`."""


class Sender(Paced):
    """What every delivery shares. `sent`: bytes of files that the kernel has taken for this client."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._connection = exchange.connection
        self._loop = asyncio.get_running_loop()
        self._waiting = None  # what the delivery awaits from its client
        self._socket: ClientSocket | None = None
        self._is_watching = False  # the event loop tells when the socket is writable
        self._is_broken_off = False
        self._quota = self._next_quota = DISK_BYTES  # bytes that may leave in this turn, and in the next one
        self._in_memory_to = 0  # up to here the file was in memory a moment ago
        self._waits_for_source = False  # for the bytes, and not for the client
        self._most: int | None = None  # bytes that may be sent in all, once this delivery was cut
        self._framing: list[tuple[int, int]] = []  # each piece: `sent` when it was written, and its length
        self.sent = 0

    def _begin(self) -> None:
        """From now on the connection calls this delivery."""
        self._connection.sender = self
        self._connection.server.scheduler.sender_begins()

    def _end(self) -> None:
        self._stop_watching()
        self._connection.server.scheduler.sender_ends()
        self._exchange.sent = self.sent

    async def _end_cut_off(self) -> None:
        """End a body early: what was sent before arrives, and then the connection closes.

        Raises Refused when nothing was sent, not even the head.
        """
        if not self._exchange.begun:
            raise Refused(LIMIT_REACHED)
        self._exchange.keep_alive = False
        await self._until_delivered(CUT_OFF_SECONDS)

    async def _until_delivered(self, patience: float = math.inf) -> None:
        """Wait until everything has left this machine.

        Only then does the transfer end, because what the kernel still holds when the client breaks off was
        not received, and is returned. Nothing announces that the kernel's queue is empty. The time-out for a
        client that takes nothing runs on; after `patience` seconds in which it takes nothing, the connection
        is broken, and this raises ClientGone.
        """
        self._check_connected()
        self._stop_watching()
        self._exchange.handed_over = monotonic()
        pause = FIRST_LOOK_SECONDS
        before, since = 0, self._loop.time()
        while self._socket is not None and (unsent := self._socket.unsent()):
            now = self._loop.time()
            if unsent != before:
                before, since = unsent, now
            elif now - since >= patience or self._socket.has_ended():
                raise self._client_gone()
            self._waiting = waiting = Deferred[None]()
            self._loop.call_later(pause, waiting.set_result, None)
            await self._wait()
            pause = min(2 * pause, LAST_LOOK_SECONDS)

    # Waiting for the client.

    def _check_connected(self) -> None:
        """Raise ClientGone if the client was lost between two waits, when nothing tells the delivery."""
        if self._connection.transport is None:
            raise ClientGone

    def _is_plain(self) -> bool:
        """Whether bytes may go past the transport, which they may not with TLS."""
        transport = self._connection.transport
        return transport is not None and transport.get_extra_info("sslcontext") is None

    def _write(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None:
            raise ClientGone
        if data:
            transport.write(data)

    async def _next_turn(self) -> None:
        """Wait for the next turn of the event loop: only then does a TLS transport know what it has kept."""
        self._waiting = waiting = Deferred[None]()
        self._loop.call_soon(waiting.set_result, None)
        await self._wait()

    async def _drained(self) -> None:
        """Wait until the transport's buffer is empty, so that what follows may go past it."""
        transport = self._connection.transport
        while transport is not None and transport.get_write_buffer_size():
            # `resume_writing` now means empty. TLS transports pause at the limit, others above it.
            transport.set_write_buffer_limits(high=0 if self._is_plain() else 1, low=0)
            self._waiting = Deferred()
            await self._wait()
            transport = self._connection.transport
        if transport is None:
            raise ClientGone

    async def _writable(self) -> None:
        """Wait until the kernel takes more; other connections have their turn meanwhile."""
        self._check_connected()
        self._waiting = Deferred()
        if not self._is_watching and self._socket is not None:
            self._loop.add_writer(self._socket.fd, self._on_writable)
            self._is_watching = True
        await self._wait()

    def _on_writable(self) -> None:
        if self._waiting is None or self._is_queued:
            self._stop_watching()
        else:
            self.resume()

    def _stop_watching(self) -> None:
        if self._is_watching and self._socket is not None:
            self._loop.remove_writer(self._socket.fd)
            self._is_watching = False

    async def _wait_for_turn(self) -> None:
        """Wait until this delivery may send in a turn that all deliveries share: see send_scheduler.py."""
        scheduler = self._connection.server.scheduler
        if not scheduler.may_send:
            self._is_queued = True
            self._waiting = scheduler.wait_for_turn()
            await self._wait()
            self._is_queued = False

    async def _send_small(self, pieces: Sequence[tuple[bytes, bytes]]) -> None:
        """Send small spans in one write, through the transport. pieces: framing, and bytes of a file."""
        await self._all_allowed(sum(len(data) for _, data in pieces))
        self._check_room(sum(len(data) for _, data in pieces))
        self._socket = self._connection.open_client_socket()  # it tells what has left this machine
        self._write(b"".join(chain.from_iterable(pieces)))
        for framing, data in pieces:
            self._count_framing(framing)
            self.sent += len(data)
        await self._drained()

    def _count_framing(self, framing: bytes) -> None:
        """Note that the next bytes that are written are no bytes of a file."""
        self._framing.append((self.sent, len(framing)))

    # Past the transport, once it is empty.

    async def _send_prefix(self, prefix: bytes) -> None:
        """Send what comes before a span, to leave in one packet with the beginning of the span."""
        await self._drained()
        client_socket = self._socket = self._connection.open_client_socket()
        while prefix:
            try:
                prefix = prefix[client_socket.send_head(prefix) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise self._client_gone() from error

    async def _send_file(self, source: int, start: int, stop: int) -> None:
        """Send a span of a file from the page cache to the socket, by one system call in each turn.

        source: the descriptor of the file.
        """
        client_socket = self._socket
        assert client_socket is not None
        scheduler = self._connection.server.scheduler
        await self._wait_for_turn()
        while start < stop:
            if self._quota <= 0:
                await self._writable()
                await self._wait_for_turn()
                self._quota = min(self._next_quota, scheduler.quota)
                self._next_quota = min(2 * self._next_quota, MOST_BYTES)
            end = await self._load(start, min(start + self._quota, stop))
            allowed = 0
            if self._pacers:
                allowed = await self._allowed(end - start)
                end = start + allowed
            if self._most is not None:
                end = min(end, start + self._room())
            try:
                moved = client_socket.send_file(source, start, end)
            except BlockingIOError:
                moved = 0
            except OSError as error:
                raise self._client_gone() from error
            else:
                if not moved:
                    raise StorageError("a file was truncated while it was sent")
            self._give_back(allowed - moved)
            start += moved
            self.sent += moved
            scheduler.count_sent(moved)
            if start < end:  # the kernel is full; what lies far ahead may be out of memory when it has room
                self._quota, self._next_quota = 0, DISK_BYTES
                self._in_memory_to = min(self._in_memory_to, start + DISK_BYTES)
            else:
                self._quota -= moved

    def _room(self) -> int:
        """How many bytes of files may still be sent. Raises CutOff when none may."""
        if self._most is None:
            return sys.maxsize
        if self.sent >= self._most:
            raise CutOff
        return self._most - self.sent

    def _check_room(self, amount: int) -> None:
        """Raise CutOff unless so many bytes of files may still be sent."""
        if amount and amount > self._room():
            raise CutOff

    async def _load(self, start: int, stop: int) -> int:
        """Bring the beginning of this span of the file into memory, so that no system call waits for a disk.

        Returns where that beginning ends: between `start` and `stop`.
        """
        if start < self._in_memory_to < stop:
            return self._in_memory_to
        if stop > self._in_memory_to:
            if not self._is_in_memory(start, stop, follows=start == self._in_memory_to):
                stop = min(start + DISK_BYTES, stop)
                await self._read_into_memory(start, stop)
            self._in_memory_to = stop
        return stop

    def _is_in_memory(self, start: int, stop: int, *, follows: bool) -> bool:
        """Whether sending this span of the file would probably not wait for a disk: see page_cache.py."""
        raise NotImplementedError

    async def _read_into_memory(self, start: int, stop: int) -> None:
        """Read this span of the file from the disk into the page cache."""
        raise NotImplementedError

    def _client_gone(self) -> ClientGone:
        """The error to raise when the client cannot be written to; the connection is broken."""
        self.break_off()
        return ClientGone()

    # What the connection calls.

    def resume(self) -> None:
        """Go on: the transport's buffer is empty again, or the kernel takes more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)

    def connection_lost(self) -> None:
        """End with ClientGone. What the kernel still holds was not sent."""
        self._uncount_unsent()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_exception(ClientGone())

    def _uncount_unsent(self) -> None:
        """Break the connection, and count what has not left this machine as not sent.

        What has left and was not acknowledged stays counted. The client may have received it, and a client
        that never acknowledges its last window must not get these bytes without being charged.
        """
        if self._socket is not None and not self._is_broken_off:
            self._is_broken_off = True
            self.sent -= self._content_of_last(self._socket.break_connection())

    def _content_of_last(self, amount: int) -> int:
        """How many of the last `amount` bytes that were written are bytes of files. The others are framing.

        Of many small parts, framing is the most. Were it counted as content, a client that breaks off would
        get back what it has received.
        """
        content, end = 0, self.sent
        for start, length in reversed(self._framing):
            content += min(amount, end - start)
            amount -= end - start + length
            if amount <= 0:
                return content
            end = start
        return content + min(amount, end)

    def has_lost_client(self) -> bool:
        """Whether the connection has ended. Once the kernel has all bytes, that is looked at now and then."""
        return self._socket is not None and self._socket.has_ended()

    def break_off(self) -> None:
        """Break the connection. What has not left this machine was not sent."""
        self._uncount_unsent()
        self._exchange.abort()

    def cut(self, most: int) -> int:
        """Send no more than `most` bytes of files in all, because another request gets the rest.

        Returns how many will be sent at most: more than `most` if they are on their way already. What was
        sent still reaches the client; then the connection closes.
        """
        most = max(most, self.sent + self._in_flight())
        self._most = most if self._most is None else min(most, self._most)
        # It may wait for a client that takes nothing. It must not end within this call, whose result matters.
        self._loop.call_soon(self._resume_unless_queued)
        return self._most

    def _resume_unless_queued(self) -> None:
        if not self._is_queued:
            self.resume()

    def _in_flight(self) -> int:
        """How many bytes of files have been read for the client, and are not counted as sent yet."""
        return 0

    def left_machine(self) -> int:
        """Bytes of files that have left this machine: about what `sent` would be if the client left now.

        With TLS this is less exact: what the transport holds is counted together with its framing.
        """
        transport = self._connection.transport
        buffered = 0 if transport is None else transport.get_write_buffer_size()
        unsent = 0 if self._socket is None else self._socket.unsent()
        return self.sent - self._content_of_last(buffered + unsent)

    def progress(self) -> int | None:
        """A number that grows by the bytes that the client acknowledges.

        None while the client is not awaited: the source is, or the client has all that its rate allows.
        """
        if self._waits_for_source:
            return None
        transport = self._connection.transport
        unread = 0 if transport is None else transport.get_write_buffer_size()
        if self._socket is not None:
            unread += self._socket.unacknowledged()
        return None if self._is_paced and not unread else self.sent - unread

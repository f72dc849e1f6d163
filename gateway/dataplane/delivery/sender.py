"""The client's side of a delivery: when it takes more, what it has taken, and that it went away.

A delivery sends one plan to one client, in part through the transport (heads, framing, TLS) and in part past
it, by a duplicate of its socket. The connection tells it what happens there: `resume`, `lose`, `progress`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.delivery.send_scheduler import MOST_BYTES
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import StorageError
from gateway.runtime.deferred import Deferred

COLD_BYTES: Final = 1024 * 1024
"""What is read from a disk before it is sent: its client waits for all of it."""


class Sender:
    """What every delivery shares. `sent`: bytes of the file that the kernel took for this client."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._connection = exchange.connection
        self._loop = asyncio.get_running_loop()
        self._waiting: Deferred[None] | None = None
        self._outlet: ClientSocket | None = None
        self._watching = False
        self._in_line = False
        self._is_cut = False
        self._quota = self._burst = COLD_BYTES  # what may leave in this turn, and in the next one
        self._warm_to = 0  # up to here the file was in memory a moment ago
        self._at_source = False  # waits for the bytes, not for the client
        self.sent = 0

    def _begin(self) -> None:
        """From now on the connection tells this delivery what happens there."""
        self._connection.sender = self
        self._connection.server.turns.begin()

    def _end(self) -> None:
        self._unwatch()
        self._connection.server.turns.end()
        self._exchange.sent = self.sent

    async def _wait(self) -> None:
        """Until `_waiting`, just made, is set. A delivery that runs as a task waits in its own way."""
        assert self._waiting is not None
        await self._waiting

    # Waiting for the client.

    def _is_plain(self) -> bool:
        transport = self._connection.transport
        return transport is not None and transport.get_extra_info("sslcontext") is None

    def _write(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None:
            raise ClientGone
        if data:
            transport.write(data)

    async def _turn(self) -> None:
        """Give everyone else a turn; only then does a TLS transport know what it could not pass on."""
        self._waiting = waiting = Deferred[None]()
        self._loop.call_soon(waiting.set_result, None)
        await self._wait()

    async def _drained(self) -> None:
        """Until the transport's buffer is empty, so that what follows may go past it."""
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
        """Until the kernel takes more; other connections have their turn meanwhile."""
        self._waiting = Deferred()
        if not self._watching and self._outlet is not None:
            self._loop.add_writer(self._outlet.fd, self._on_writable)
            self._watching = True
        await self._wait()

    def _on_writable(self) -> None:
        if self._waiting is None or self._in_line:
            self._unwatch()
        else:
            self.resume()

    async def _its_turn(self) -> None:
        """Until this delivery may send in a turn of the event loop, which all share (send_scheduler.py)."""
        turns = self._connection.server.turns
        if not turns.open:
            self._in_line = True
            self._waiting = turns.stand()
            await self._wait()
            self._in_line = False

    def _unwatch(self) -> None:
        if self._watching and self._outlet is not None:
            self._loop.remove_writer(self._outlet.fd)
            self._watching = False

    # Past the transport, once it is empty.

    async def _send_before(self, before: bytes) -> None:
        """Send what comes before a span, to leave in one packet with its beginning."""
        await self._drained()
        outlet = self._outlet = self._connection.open_outlet()
        while before:
            try:
                before = before[outlet.send_head(before) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise self._broken() from error

    async def _send_file(self, source: int, start: int, stop: int) -> None:
        """Send a span of a file, from the page cache to the socket: one call in each turn."""
        outlet = self._outlet
        assert outlet is not None
        turns = self._connection.server.turns
        await self._its_turn()
        while start < stop:
            if self._quota <= 0:
                await self._writable()
                await self._its_turn()
                self._quota = min(self._burst, turns.most)
                self._burst = min(2 * self._burst, MOST_BYTES)
            end = await self._ready(start, min(start + self._quota, stop))
            try:
                moved = outlet.send_file(source, start, end)
            except BlockingIOError:
                moved = 0
            except OSError as error:
                raise self._broken() from error
            else:
                if not moved:
                    raise StorageError("a file was truncated while it was sent")
            start += moved
            self.sent += moved
            turns.sent(moved)
            if start < end:  # the kernel is full; what lies far ahead may be out of memory by then
                self._quota, self._burst = 0, COLD_BYTES
                self._warm_to = min(self._warm_to, start + COLD_BYTES)
            else:
                self._quota -= moved

    async def _ready(self, start: int, stop: int) -> int:
        """Until some of this span of the file can be sent without waiting for a disk; where that ends."""
        if start < self._warm_to < stop:
            return self._warm_to
        if stop > self._warm_to:
            if not self._is_resident(start, stop, follows=start == self._warm_to):
                stop = min(start + COLD_BYTES, stop)
                await self._warm(start, stop)
            self._warm_to = stop
        return stop

    def _is_resident(self, start: int, stop: int, *, follows: bool) -> bool:
        """Whether sending this span of the file would probably not wait for a disk: see page_cache.py."""
        raise NotImplementedError

    async def _warm(self, start: int, stop: int) -> None:
        """Read this span of the file into memory."""
        raise NotImplementedError

    def _broken(self) -> ClientGone:
        """The client cannot be written to: count what it has not got, and give up."""
        self.break_off()
        return ClientGone()

    # What the connection tells and asks.

    def resume(self) -> None:
        """Go on: the transport's buffer is empty again, or the kernel takes more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)

    def lose(self) -> None:
        """The connection is lost: what the kernel still holds was not taken."""
        self._take_back()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_exception(ClientGone())

    def _take_back(self) -> None:
        """Break the connection, and count what has not left this machine as not sent.

        What was sent and not acknowledged stays counted: the client may have it, and one that never
        acknowledges its last window must not get that for nothing.
        """
        if self._outlet is not None and not self._is_cut:
            self._is_cut = True
            self.sent -= min(self.sent, self._outlet.cut())

    def break_off(self) -> None:
        """Break the connection: see `lose` for what is counted."""
        self._take_back()
        self._exchange.abort()

    def left_machine(self) -> int:
        """Bytes of the file that have left this machine: about what `sent` would be if the client left now.

        For TLS about: what the transport holds is counted with its framing.
        """
        transport = self._connection.transport
        buffered = 0 if transport is None else transport.get_write_buffer_size()
        return self.sent - buffered - (0 if self._outlet is None else self._outlet.unsent())

    def progress(self) -> int | None:
        """A mark that changes whenever the client takes a byte; None while the source is waited for."""
        if self._at_source:
            return None
        transport = self._connection.transport
        buffered = 0 if transport is None else transport.get_write_buffer_size()
        return self.sent - self._unacknowledged() - buffered

    def _unacknowledged(self) -> int:
        return 0 if self._outlet is None else self._outlet.unacknowledged()

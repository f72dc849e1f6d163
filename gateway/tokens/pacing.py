"""Bytes are sent no faster than a rate: that of one connection, or that of a token, for all its connections.

A *pacer* hands out bytes piece by piece. A piece is what leaves in PIECE_SECONDS at the rate. Each has its
moment, one after the other without a gap; before its moment nothing of it is handed out, and what was not
used in its time is not kept. The rules:

- The moments of a token's pieces are kept by the store, so that all workers, on all machines, share one rate:
  one short command for each piece, as long as somebody waits for bytes. Without the store a worker goes on as
  fast as it went before.
- Deliveries that wait get equal shares, in turn, but at least SHARE_BYTES.
- Nobody looks whether the time has come: one timer a pacer is set, as long as somebody waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.runtime.deferred import Deferred
from gateway.store.commands import Command
from gateway.store.key_names import rate_key
from gateway.store.scripts import TAKE_RATE
from gateway.store.topology import Topology

PIECE_SECONDS: Final = 0.2
"""At ten seconds this is 2 % of what was sent, and five commands a second for each token and worker."""
AT_ONCE_SECONDS: Final = 1.0
"""No more than so much leaves in one write, however it is asked for."""
SHARE_BYTES: Final = 16 * 1024
"""Less for each of many deliveries would cost more system calls than it is worth."""


class Ticket(Deferred[int]):
    """What a delivery waits for: so many bytes that it may send now, at least one and at most `wanted`."""

    wanted = 0


class Pacer:
    """Hands out bytes at one rate, in bytes a second. most: bytes that may leave at once.

    Without a topology the moments of the pieces are kept here, for one connection.
    """

    def __init__(self, rate: int, topology: Topology | None = None, identifier: str = "") -> None:
        self.most: Final = max(1, math.floor(rate * AT_ONCE_SECONDS))
        self.users = 0
        self._piece = max(1, math.floor(rate * PIECE_SECONDS))
        self._share = self._least = min(SHARE_BYTES, self._piece)
        self._seconds = self._piece / rate
        self._topology = topology
        self._key = rate_key(identifier)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Ticket] = deque()
        self._left = 0
        self._free_at = 0.0  # the moment of the next piece, if it is kept here
        self._last_at = 0.0  # when the last piece came
        self._interval = self._seconds  # between the last two
        self._is_awaited = False  # a piece is on its way
        self._is_serving = False

    def ask(self, wanted: int) -> Ticket:
        """Ask for bytes: at least one. The ticket may be set at once. One that is set is not served."""
        ticket = Ticket()
        ticket.wanted = wanted
        self._queue.append(ticket)
        if not self._is_serving:
            self._serve()
        return ticket

    def give_back(self, amount: int) -> None:
        """Return bytes that were not sent."""
        self._left = min(self._left + amount, self._piece + self._least)
        if self._queue and not self._is_serving:
            self._serve()

    def _serve(self) -> None:
        self._is_serving = True  # a ticket that is set asks for the next one at once
        try:
            while self._queue and self._left > 0:
                ticket = self._queue[0]
                granted = min(ticket.wanted, self._share)
                if not ticket.done and granted > self._left:
                    break  # it is the first to get a share of the next piece
                self._queue.popleft()
                if not ticket.done:
                    self._left -= granted
                    ticket.set_result(granted)
        finally:
            self._is_serving = False
        while self._queue and self._queue[0].done:
            self._queue.popleft()
        if self._queue and not self._is_awaited:
            self._is_awaited = True
            self._await_piece()

    def _await_piece(self) -> None:
        now = self._loop.time()
        if self._topology is None:
            begin = max(now, self._free_at)
            self._free_at = begin + self._seconds
            self._loop.call_later(begin - now, self._take_piece)
            return
        milliseconds = f"{1000 * self._seconds:.3f}"
        self._topology.run(TAKE_RATE, self._key, milliseconds).add_done_callback(self._on_moment, None)

    def _on_moment(self, command: Command, _: None) -> None:
        try:
            wait = int(command.result()) / 1000
        except StoreUnavailable:
            wait = max(0.0, self._last_at + max(self._interval, self._seconds) - self._loop.time())
        self._loop.call_later(wait, self._take_piece)

    def _take_piece(self) -> None:
        now = self._loop.time()
        self._interval, self._last_at = now - self._last_at, now
        self._is_awaited = False
        self._left += self._piece  # what was left was less than a share
        self._share = max(self._piece // max(1, len(self._queue)), self._least)
        self._serve()


class Pacing:
    """The pacers of one worker. A token has one as long as something of it is sent."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._pacers: dict[tuple[str, int], Pacer] = {}

    def begin(self, identifier: str, rate: int) -> Pacer:
        """The pacer of a token, for one more delivery. The caller ends it."""
        pacer = self._pacers.get((identifier, rate))
        if pacer is None:
            pacer = self._pacers[identifier, rate] = Pacer(rate, self._topology, identifier)
        pacer.users += 1
        return pacer

    def end(self, identifier: str, rate: int) -> None:
        """Note that a delivery has ended."""
        pacer = self._pacers[identifier, rate]
        pacer.users -= 1
        if not pacer.users:
            del self._pacers[identifier, rate]

"""Shares each turn of the event loop among the large transfers: it limits what each, and all, may send.

A small request needs about three turns (it is read, the store is asked, it is answered), so beside fast
downloads it waits as long as three turns take. Four downloads that each sent 4 MiB in every turn made it wait
for 24 ms; with this scheduler it waits for 3 ms.

Turns are short only while there are requests other than those of the transfers. Otherwise turns are long,
because each turn costs some 30 µs, in which the kernel could send half a megabyte.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from gateway.runtime.deferred import Deferred

SHORT_BYTES: Final = 2 * 1024 * 1024
"""What all transfers may send in a short turn: 0.2 to 1 ms, while a turn itself costs some 20 µs."""
LONG_BYTES: Final = 128 * 1024 * 1024
"""The same in a long turn: 10 to 60 ms, which the first request after a pause may meet. It is 4 MiB for each
of 32 connections."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""What a transfer may send in a long turn when it is the only one. This takes 1 ms over loopback, and 12 %
less CPU time than with 1 MiB."""
MANY_BYTES: Final = 4 * 1024 * 1024
"""The same when there are other transfers, whose clients would wait for data in this time. 16 MiB are no
better, and 64 MiB are 5 % worse."""
SHARE_BYTES: Final = 1024 * 1024
"""What one transfer may send in a short turn."""
SEND_BYTES: Final = 64 * 1024
"""A system call counts as so many bytes at least: it costs time even when a slow client takes little."""
SHORT_TURN_SECONDS: Final = 0.01
"""How long turns stay short after the bytes of a request: this is enough of them for its answer."""


class Sendable(Protocol):
    """What is sent at the end of a turn: see batched_span.py."""

    def send(self) -> None:
        """Send what the kernel takes now. Must not raise."""


class SendScheduler:
    """Decides which transfers of one worker may send in this turn of the event loop.

    A transfer that finds that it `may_send` sends up to `quota` bytes and reports them with `count_sent`. Any
    other awaits `wait_for_turn` first. senders: transfers that have begun and not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = LONG_BYTES
        self._short_until = self._short_before = 0.0
        self._queue: deque[Deferred[None]] = deque()
        self._scheduled = False
        self._at_turn_end: list[Sendable] = []
        self.senders = 0

    def request_arrived(self) -> None:
        """Make turns short until a request, which has just arrived, is answered."""
        self._short_before = self._short_until
        self._short_until = self._loop.time() + SHORT_TURN_SECONDS
        if self._left > SHORT_BYTES:  # noqa: PLR1730 - min() costs 0.1 µs, at every request
            self._left = SHORT_BYTES

    def sender_begins(self) -> None:
        """Count a transfer that begins. Its own request, the last one that has arrived, shortens no turn."""
        self.senders += 1
        self._short_until = self._short_before

    def sender_ends(self) -> None:
        """Count a transfer that has ended."""
        self.senders -= 1

    @property
    def may_send(self) -> bool:
        """Whether one more transfer may begin to send in this turn: those in the queue go first."""
        return self._left > 0 and not self._queue

    @property
    def quota(self) -> int:
        """Bytes that one transfer may send in this turn."""
        if self._left <= SHORT_BYTES:
            return SHARE_BYTES
        return MOST_BYTES if self.senders == 1 else MANY_BYTES

    def count_sent(self, amount: int) -> None:
        """Count bytes that one system call has moved in this turn."""
        self._left -= max(amount, SEND_BYTES)

    def send_at_turn_end(self, sendable: Sendable) -> None:
        """Have this sent when the event loop's turn ends, together with all others of the turn."""
        if not self._at_turn_end:
            self._loop.call_soon(self._end_turn)
        self._at_turn_end.append(sendable)

    def _end_turn(self) -> None:
        sendables, self._at_turn_end = self._at_turn_end, []
        for sendable in sendables:
            sendable.send()

    def wait_for_turn(self) -> Deferred[None]:
        """Join the queue; the result is set when this transfer may send."""
        turn = Deferred[None]()
        self._queue.append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Begin a turn: as many transfers of the queue go on as may send in it."""
        self._scheduled = False
        self._left = SHORT_BYTES if self._loop.time() < self._short_until else LONG_BYTES
        while self._queue and self._left > 0:
            self._queue.popleft().set_result(None)
        if self._queue:
            self._schedule()

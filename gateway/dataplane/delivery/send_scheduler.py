"""What large transfers may send in one turn of the event loop, each and all together; the rest stand in line.

A small request needs about three turns (it is read, asked about, answered): their length is what it feels
beside fast downloads. Four of them, each sending 4 MiB in every turn, made 24 ms of it; with this, 3 ms.

Turns are short only while requests are about, other than the transfers' own. Without any they are long: each
costs some 30 µs, in which the kernel could send half a megabyte.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from gateway.runtime.deferred import Deferred

SHORT_BYTES: Final = 2 * 1024 * 1024
"""0.2 to 1 ms, and a turn costs some 20 µs of its own."""
LONG_BYTES: Final = 128 * 1024 * 1024
"""10 to 60 ms, which the first request may meet that comes after a pause: 32 connections' 4 MiB."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""What the only sender may send in one turn: 1 ms over loopback; from 1 MiB a turn on, 12 % less CPU time."""
MANY_BYTES: Final = 4 * 1024 * 1024
"""The same beside others, whose clients would run dry meanwhile: 16 MiB are no better, 64 MiB 5 % worse."""
SHARE_BYTES: Final = 1024 * 1024
"""The same in a short turn."""
SEND_BYTES: Final = 64 * 1024
"""What a system call costs besides what it moves, as bytes: slow clients take little at a time."""
HASTE_SECONDS: Final = 0.01
"""How long turns are short after bytes of a request: enough of them for its answer."""


class SendScheduler:
    """One worker's. Who finds it `open` may send, and tells what was `sent`; who does not stands in line."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = LONG_BYTES
        self._hasty_until = self._hasty_before = 0.0
        self._line: deque[Deferred[None]] = deque()
        self._called = False
        self.senders = 0  # those that have begun

    def hasten(self) -> None:
        """A request has come: turns are short until it is answered."""
        self._hasty_before = self._hasty_until
        self._hasty_until = self._loop.time() + HASTE_SECONDS
        if self._left > SHORT_BYTES:  # noqa: PLR1730 - min() costs 0.1 µs, at every request
            self._left = SHORT_BYTES

    def begin(self) -> None:
        """The last request was for much: it alone is no reason for short turns."""
        self.senders += 1
        self._hasty_until = self._hasty_before

    def end(self) -> None:
        """A sender has sent all, or gives up."""
        self.senders -= 1

    @property
    def open(self) -> bool:
        """Whether one more may begin to send in this turn: those who stand in line go first."""
        return self._left > 0 and not self._line

    @property
    def most(self) -> int:
        """Bytes that one sender may send in this turn."""
        if self._left <= SHORT_BYTES:
            return SHARE_BYTES
        return MOST_BYTES if self.senders == 1 else MANY_BYTES

    def sent(self, amount: int) -> None:
        """So much has left."""
        self._left -= max(amount, SEND_BYTES)

    def stand(self) -> Deferred[None]:
        """A place in the line; the outcome is set when it is this sender's turn."""
        place = Deferred[None]()
        self._line.append(place)
        self._call()
        return place

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """The next turn: as many from the line as may send in it."""
        self._called = False
        self._left = SHORT_BYTES if self._loop.time() < self._hasty_until else LONG_BYTES
        while self._line and self._left > 0:
            self._line.popleft().set_result(None)
        if self._line:
            self._call()

"""Our own HTTP client for loads: keep-alive connections, whole requests as bytes, and little else.

Two ways to drive it:

closed loop   each connection asks again as soon as it has its answer: as fast as the server goes
open loop     requests are due at fixed times, whatever the server does, and their latency counts from the
              time they were *due*. A server that stalls for a second makes every request due in that
              second late; a closed loop would have sent one, and seen one late answer: that is coordinated
              omission.

An answer needs a Content-Length (or a status that has no body); others count as faults.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from bench.load.tally import Tally

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
MAX_HEAD = 64 << 10
DRAIN_SECONDS = 5.0
"""How long answers that are due may still come after the last request."""

TICK_SECONDS = 0.0005
"""How often requests are sent at most; several are due at once at higher rates."""

BODILESS = frozenset((204, 304))


@dataclass(frozen=True)
class Aim:
    """Where to: host, port, and how to speak TLS if at all."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Link(asyncio.Protocol):
    """One connection. `free` is told when it can take a request, `lost` when it is gone."""

    def __init__(self, load: Generator) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0
        self._status = 0
        self._due: float | None = None
        self._bodiless = False
        self._closes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own inherit from nothing
        self._load.free(self)

    def send(self, request: bytes, due: float) -> None:
        """Ask. due: the time its latency counts from."""
        assert self._transport is not None
        self._due = due
        self._bodiless = request.startswith(b"HEAD ")
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._load.tally.bytes += len(data)
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                if not self._left:
                    self._finish()
                continue
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > MAX_HEAD:
                    self._fail("unreadable")
                return
            data = self._read_head(end)

    def _read_head(self, end: int) -> bytes:
        """Take the head in; returns what of the data belongs to the body."""
        head, rest = self._head[: end + 2], self._head[end + 4 :]
        self._head = b""
        length = LENGTH.search(head)
        try:
            self._status = int(head[9:12])
        except ValueError:
            self._fail("unreadable")
            return b""
        self._closes = CLOSES.search(head) is not None
        if self._bodiless or self._status in BODILESS:
            self._left = 0
        elif length is None:
            self._fail("unreadable")
            return b""
        else:
            self._left = int(length[1])
        if not self._left:
            self._finish()
        return rest

    def _finish(self) -> None:
        due, self._due = self._due, None
        if due is not None:
            self._load.answered(self._status, due)
        if self._closes:
            self.close()
        else:
            self._load.free(self)

    def _fail(self, why: str) -> None:
        self._load.failed(why, self._due)
        self._due = None
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._due is not None:
            self._load.failed("broken", self._due)
            self._due = None
        self._load.lost(self)

    @property
    def due(self) -> float | None:
        """When the request under way was due; None while idle."""
        return self._due

    def forget(self) -> None:
        """Nobody asks for the answer under way any more."""
        self._due = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Generator:
    """What both loops share: the connections, and what they saw."""

    def __init__(self, aim: Aim, requests: Sequence[bytes], connections: int) -> None:
        self.aim = aim
        self.requests = requests
        self.connections = connections
        self.tally = Tally()
        self._loop = asyncio.get_running_loop()
        self._links: set[Link] = set()
        self._next = 0
        self._over = False

    async def open_links(self) -> None:
        """Make the connections; those that fail count as faults. Raises OSError when none can be made."""
        made = await asyncio.gather(*(self._open() for _ in range(self.connections)), return_exceptions=True)
        faults = [each for each in made if isinstance(each, BaseException)]
        if faults:
            self.tally.faults["connect"] += len(faults)
        if len(faults) == self.connections:
            raise faults[0]

    async def _open(self) -> None:
        _, link = await self._loop.create_connection(
            partial(Link, self),
            self.aim.host,
            self.aim.port,
            ssl=self.aim.tls,
            server_hostname=self.aim.host if self.aim.tls else None,
        )
        self._links.add(link)

    def next_request(self) -> bytes:
        """The requests in turn, for ever."""
        request = self.requests[self._next % len(self.requests)]
        self._next += 1
        return request

    def free(self, link: Link) -> None:
        """A connection can take a request."""
        raise NotImplementedError

    def answered(self, status: int, due: float) -> None:
        """A whole answer has come."""
        self.tally.statuses[status] += 1
        self.tally.latencies.append(time.monotonic() - due)

    def failed(self, why: str, due: float | None) -> None:
        """A request got no whole answer; the time it waited is the least its latency would have been."""
        self.tally.faults[why] += 1
        if due is not None:
            self.tally.latencies.append(time.monotonic() - due)

    def lost(self, link: Link) -> None:
        """A connection is gone; another takes its place."""
        self._links.discard(link)
        if not self._over:
            self._loop.create_task(self._reopen())

    async def _reopen(self) -> None:
        await asyncio.sleep(0.01)
        if not self._over:
            try:
                await self._open()
            except OSError:
                self.tally.faults["connect"] += 1
                if not self._over:
                    self._loop.create_task(self._reopen())

    def close(self) -> None:
        """Hang up everywhere; what was not answered by now counts as a fault."""
        self._over = True
        for link in list(self._links):
            if link.due is not None:
                self.failed("unanswered", link.due)
                link.forget()
            link.close()


class ClosedLoop(Generator):
    """Each connection asks again at once."""

    def __init__(self, aim: Aim, requests: Sequence[bytes], connections: int) -> None:
        super().__init__(aim, requests, connections)
        self._asking = True

    def free(self, link: Link) -> None:
        if self._asking:
            link.send(self.next_request(), time.monotonic())

    async def run(self, seconds: float, progress: Callable[[Tally], None] | None = None) -> Tally:
        """Load for so long, then let go. Raises OSError when no connection can be made."""
        began = time.monotonic()
        await self.open_links()
        await _pass(began + seconds, self, progress)
        self._asking = False
        self.tally.seconds = time.monotonic() - began
        for link in self._links:
            link.forget()  # cut off by us, not late
        self.close()
        return self.tally


class Clock:
    """Ticks on a descriptor: an event loop's own timers are good to 1 ms, a thread's sleep to 60 µs."""

    def __init__(self, began: float, period: float, end: float) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._began, self._period, self._end = began, period, end
        self._stopped = False
        self._thread = threading.Thread(target=self._tick, name="clock", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def _tick(self) -> None:
        number, now = 0, self._began
        while not self._stopped and now < self._end + 1:
            os.eventfd_write(self.descriptor, 1)
            now = time.monotonic()
            number = max(number + 1, int((now - self._began) / self._period))
            time.sleep(max(0.0, self._began + number * self._period - now))

    def hear(self) -> None:
        """Take the ticks there are."""
        os.eventfd_read(self.descriptor)

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._thread.join()
        os.close(self.descriptor)


class OpenLoop(Generator):
    """Requests at a fixed rate, from as many connections as are free."""

    def __init__(self, aim: Aim, requests: Sequence[bytes], connections: int, rate: float) -> None:
        super().__init__(aim, requests, connections)
        self._rate = rate
        self._idle: deque[Link] = deque()
        self._waiting: deque[float] = deque()
        self._sent = 0

    def free(self, link: Link) -> None:
        if self._waiting:
            link.send(self.next_request(), self._waiting.popleft())
        else:
            self._idle.append(link)

    def lost(self, link: Link) -> None:
        if link in self._idle:
            self._idle.remove(link)
        super().lost(link)

    async def run(self, seconds: float, progress: Callable[[Tally], None] | None = None) -> Tally:
        """Load for so long, and wait a little for the last answers. Raises OSError without a connection."""
        await self.open_links()
        began = time.monotonic()
        total = int(seconds * self._rate)
        clock = Clock(began, max(1 / self._rate, TICK_SECONDS), began + total / self._rate)
        finished: asyncio.Future[None] = self._loop.create_future()

        def tick() -> None:
            clock.hear()
            now = time.monotonic()
            due = min(total, int((now - began) * self._rate) + 1)
            if due > self._sent:
                self.tally.late = max(self.tally.late, now - began - self._sent / self._rate)
            for number in range(self._sent, due):
                self._ask(began + number / self._rate)
            self._sent = due
            if due == total and not finished.done():
                finished.set_result(None)

        self._loop.add_reader(clock.descriptor, tick)
        clock.start()
        try:
            await _pass(began + seconds, self, progress)
            await finished
        finally:
            self._loop.remove_reader(clock.descriptor)
            clock.stop()
        patience = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < patience and self._unanswered():  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.005)
        while self._waiting:
            self.failed("unanswered", self._waiting.popleft())
        self.tally.seconds = time.monotonic() - began
        self.close()
        return self.tally

    def _unanswered(self) -> bool:
        return bool(self._waiting) or any(link.due for link in self._links)

    def _ask(self, due: float) -> None:
        if self._idle:
            self._idle.popleft().send(self.next_request(), due)
        else:
            self._waiting.append(due)


async def _pass(end: float, load: Generator, progress: Callable[[Tally], None] | None) -> None:
    """Until the time has come, reporting every second."""
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(1.0, left))
        if progress is not None:
            progress(load.tally)

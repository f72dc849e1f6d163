"""The two ways to send requests over many connections.

closed loop   each connection sends its next request as soon as it has a response, as fast as the server goes
open loop     requests are due at fixed times, whatever the server does, and their latency counts from the
              time at which they were *due*. If the server stalls for a second, every request that is due in
              that second is late. A closed loop would have sent one request, and seen one late response:
              that is coordinated omission.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from bench.load.client import Endpoint, LoadConnection
from bench.load.tally import Tally

DRAIN_SECONDS = 5.0
"""How long responses may still arrive after the last request was sent."""

TICK_SECONDS = 0.0005
"""The shortest time between two ticks; at higher rates several requests are due at each tick."""

REOPEN_SECONDS = 0.01
"""The pause before a lost connection is replaced."""


class LoadLoop:
    """What both loops share: the connections, and the tally of what they saw."""

    def __init__(self, endpoint: Endpoint, requests: Sequence[bytes], connections: int) -> None:
        self.endpoint = endpoint
        self.requests = requests
        self.connections = connections
        self.tally = Tally()
        self._loop = asyncio.get_running_loop()
        self._open_connections: set[LoadConnection] = set()
        self._next = 0
        self._over = False

    async def connect(self) -> None:
        """Open the connections. Those that fail count as faults; raises OSError if none can be opened."""
        made = await asyncio.gather(*(self._open() for _ in range(self.connections)), return_exceptions=True)
        errors = [result for result in made if isinstance(result, BaseException)]
        if errors:
            self.tally.faults["connect"] += len(errors)
        if len(errors) == self.connections:
            raise errors[0]

    async def _open(self) -> None:
        _, connection = await self._loop.create_connection(
            partial(LoadConnection, self),
            self.endpoint.host,
            self.endpoint.port,
            ssl=self.endpoint.tls,
            server_hostname=self.endpoint.host if self.endpoint.tls else None,
            local_addr=(self.endpoint.source, 0) if self.endpoint.source else None,
        )
        self._open_connections.add(connection)

    def next_request(self) -> bytes:
        """The requests one after the other, and again from the first."""
        request = self.requests[self._next % len(self.requests)]
        self._next += 1
        return request

    def on_idle(self, connection: LoadConnection) -> None:
        """The connection can take a request."""
        raise NotImplementedError

    def on_bytes(self, count: int) -> None:
        """Count bytes that have arrived."""
        self.tally.bytes += count

    def on_response(self, status: int, due: float) -> None:
        """Count a whole response."""
        self.tally.statuses[status] += 1
        self.tally.latencies.append(time.monotonic() - due)

    def on_fault(self, reason: str, due: float | None) -> None:
        """Count a request without a whole response; its latency is at least the time that it waited."""
        self.tally.faults[reason] += 1
        if due is not None:
            self.tally.latencies.append(time.monotonic() - due)

    def on_lost(self, connection: LoadConnection) -> None:
        """Replace a connection that was closed."""
        self._open_connections.discard(connection)
        if not self._over:
            self._loop.create_task(self._reopen())

    async def _reopen(self) -> None:
        await asyncio.sleep(REOPEN_SECONDS)
        if not self._over:
            try:
                await self._open()
            except OSError:
                self.tally.faults["connect"] += 1
                if not self._over:
                    self._loop.create_task(self._reopen())

    def close(self) -> None:
        """Close all connections; a request that is still under way counts as a fault."""
        self._over = True
        for connection in list(self._open_connections):
            if connection.due is not None:
                self.on_fault("unanswered", connection.due)
                connection.forget_request()
            connection.close()


class ClosedLoop(LoadLoop):
    """Each connection sends its next request as soon as it has a response."""

    def __init__(self, endpoint: Endpoint, requests: Sequence[bytes], connections: int) -> None:
        super().__init__(endpoint, requests, connections)
        self._sending = True

    def on_idle(self, connection: LoadConnection) -> None:
        if self._sending:
            connection.send(self.next_request(), time.monotonic())

    async def run(self, seconds: float, progress: Callable[[Tally], None] | None = None) -> Tally:
        """Send for so many seconds. Raises OSError if no connection can be opened."""
        began = time.monotonic()
        await self.connect()
        await _wait_until(began + seconds, self, progress)
        self._sending = False
        self.tally.seconds = time.monotonic() - began
        for connection in self._open_connections:
            connection.forget_request()  # we cut these requests off: they are neither late nor faulty
        self.close()
        return self.tally


class Ticker:
    """Makes a descriptor readable at each tick.

    A thread keeps the time, since its sleep is exact to 60 µs, and an event loop's own timers to 1 ms.
    """

    def __init__(self, began: float, period: float, end: float) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._began, self._period, self._end = began, period, end
        self._stopped = False
        self._thread = threading.Thread(target=self._tick, name="ticker", daemon=True)

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

    def acknowledge(self) -> None:
        """Take all ticks since the last call, so that the descriptor is no longer readable."""
        os.eventfd_read(self.descriptor)

    def stop(self) -> None:
        """End the thread and close the descriptor."""
        self._stopped = True
        self._thread.join()
        os.close(self.descriptor)


class OpenLoop(LoadLoop):
    """Requests at a fixed rate (a second), over whichever connections are idle."""

    def __init__(self, endpoint: Endpoint, requests: Sequence[bytes], connections: int, rate: float) -> None:
        super().__init__(endpoint, requests, connections)
        self._rate = rate
        self._idle: deque[LoadConnection] = deque()
        self._waiting: deque[float] = deque()  # when requests were due that no connection was idle for
        self._sent = 0

    def on_idle(self, connection: LoadConnection) -> None:
        if self._waiting:
            connection.send(self.next_request(), self._waiting.popleft())
        else:
            self._idle.append(connection)

    def on_lost(self, connection: LoadConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        super().on_lost(connection)

    async def run(self, seconds: float, progress: Callable[[Tally], None] | None = None) -> Tally:
        """Send for so many seconds, then wait a little for the last responses.

        Raises OSError if no connection can be opened.
        """
        await self.connect()
        began = time.monotonic()
        total = int(seconds * self._rate)
        ticker = Ticker(began, max(1 / self._rate, TICK_SECONDS), began + total / self._rate)
        finished: asyncio.Future[None] = self._loop.create_future()

        def on_tick() -> None:
            ticker.acknowledge()
            now = time.monotonic()
            due = min(total, int((now - began) * self._rate) + 1)
            if due > self._sent:
                self.tally.late = max(self.tally.late, now - began - self._sent / self._rate)
            for number in range(self._sent, due):
                self._send(began + number / self._rate)
            self._sent = due
            if due == total and not finished.done():
                finished.set_result(None)

        self._loop.add_reader(ticker.descriptor, on_tick)
        ticker.start()
        try:
            await _wait_until(began + seconds, self, progress)
            await finished
        finally:
            self._loop.remove_reader(ticker.descriptor)
            ticker.stop()
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline and self._has_unanswered():  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.005)
        while self._waiting:
            self.on_fault("unanswered", self._waiting.popleft())
        self.tally.seconds = time.monotonic() - began
        self.close()
        return self.tally

    def _has_unanswered(self) -> bool:
        return bool(self._waiting) or any(connection.due for connection in self._open_connections)

    def _send(self, due: float) -> None:
        if self._idle:
            self._idle.popleft().send(self.next_request(), due)
        else:
            self._waiting.append(due)


async def _wait_until(end: float, load: LoadLoop, progress: Callable[[Tally], None] | None) -> None:
    """Wait until that time, and report the tally once a second meanwhile."""
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(1.0, left))
        if progress is not None:
            progress(load.tally)

"""A worker's connections to one storage: kept alive, counted, and never more than the setting allows.

Every running download holds one, as long as its client takes; so who finds all in use waits in order, not
for ever, and is told which setting is too small.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.runtime.metrics import UPSTREAM_IDLE, UPSTREAM_IN_USE, UPSTREAM_REQUESTS
from gateway.storage.retries import TransientError
from gateway.storage.s3.bucket import Bucket
from gateway.storage.s3.connection import ConnectionLost, StorageConnection, connect, make_context
from gateway.storage.s3.responses import Head

IDLE_SECONDS: Final = 20.0
"""How long a connection is kept unused; less than storages and what stands before them keep theirs."""


class Pool:
    """The connections; for one event loop. count: adds to a counter, see metrics.py."""

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        self._bucket = bucket
        self._count = count
        self._context: ssl.SSLContext | None = None
        self._has_context = False
        self._free = bucket.connections
        self._idle: deque[StorageConnection] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, request: bytes, method: str) -> tuple[StorageConnection, Head]:
        """Send a request on a connection, to be given back with `release` after the answer was read.

        A connection that was kept and turns out to be dead is no fault: another is taken.
        Raises TransientError or Unusable.
        """
        while True:
            connection = await self._acquire()
            kept = connection.served > 0
            try:
                self._count(UPSTREAM_REQUESTS, 1)
                head = await connection.ask(request, method, self._bucket.read_timeout)
            except BaseException as error:
                self.release(connection, keep=False)
                if isinstance(error, ConnectionLost):
                    if kept and not error.begun:
                        self._close_idle()  # what closed one has probably closed all
                        continue
                    raise TransientError(str(error)) from None
                if isinstance(error, TimeoutError):
                    raise TransientError("the storage does not answer in time (read_timeout)") from None
                raise
            return connection, head

    def release(self, connection: StorageConnection, *, keep: bool) -> None:
        """Take a connection back. keep: its answer was read whole, and it may be used again."""
        self._count(UPSTREAM_IN_USE, -1)
        if keep and not self._closed and connection.rest():
            self._keep(connection)
        else:
            connection.close()
        self._permit()

    def close(self) -> None:
        """Close what is idle now, and the rest as it is given back."""
        self._closed = True
        self._close_idle()

    @property
    def crowded(self) -> bool:
        """Whether some wait for a connection."""
        return bool(self._waiters)

    async def _acquire(self) -> StorageConnection:
        await self._admit()
        try:
            while self._idle:
                connection = self._idle.pop()
                self._count(UPSTREAM_IDLE, -1)
                if connection.rest():
                    break
                connection.close()
            else:
                if not self._has_context:
                    self._context = make_context(self._bucket)
                    self._has_context = True
                connection = await connect(self._bucket, self._context)
        except BaseException:
            self._permit()
            raise
        self._count(UPSTREAM_IN_USE, 1)
        return connection

    async def _admit(self) -> None:
        """Wait for one's turn."""
        if self._free and not self._waiters:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            async with asyncio.timeout(self._bucket.connect_timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._permit()  # it came just when nobody waited any more
            else:
                with suppress(ValueError):  # passed over already
                    self._waiters.remove(turn)
            if isinstance(error, TimeoutError):
                text = f"all {self._bucket.connections} connections are in use: raise `connections`"
                raise TransientError(text, waited=True) from None
            raise

    def _permit(self) -> None:
        """Let the next in."""
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _keep(self, connection: StorageConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        self._count(UPSTREAM_IDLE, 1)
        if self._sweeper is None:
            self._sweeper = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what was not used for IDLE_SECONDS; the latest is used first, so the oldest stands first."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and self._idle[0].idle_since <= now - IDLE_SECONDS:
            self._drop(self._idle.popleft())
        if self._idle:
            after = self._idle[0].idle_since + IDLE_SECONDS - now
            self._sweeper = loop.call_later(max(after, 0.1), self._sweep)

    def _close_idle(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _drop(self, connection: StorageConnection) -> None:
        connection.close()
        self._count(UPSTREAM_IDLE, -1)

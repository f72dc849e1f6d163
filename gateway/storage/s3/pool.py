"""A worker's connections to one storage: reused, counted, and never more than the setting `connections`.

Every running download holds one of them for as long as its client takes. A request that finds all of them in
use waits its turn, for `connect_timeout` at most, and then fails with an error that names the setting.
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
from gateway.storage.s3.connection import ConnectionLost, StorageConnection
from gateway.storage.s3.opening import make_tls_context, open_socket
from gateway.storage.s3.responses import Head

IDLE_SECONDS: Final = 20.0
"""How long an unused connection is kept: less than storages, and the proxies before them, keep theirs."""


class Pool:
    """The connections to one bucket, for one event loop."""

    def __init__(self, bucket: Bucket, count: Callable[[int, int], None]) -> None:
        """count: adds to a counter of this process."""
        self._bucket = bucket
        self._count = count
        self._tls_context: ssl.SSLContext | None = None
        self._has_tls_context = False
        self._permits = bucket.connections  # how many more connections may be in use
        self._waiters: deque[asyncio.Future[None]] = deque()  # for a permit, in order
        self._idle: deque[StorageConnection] = deque()  # the one used last is at the end
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def has_waiters(self) -> bool:
        """Whether requests wait for a connection."""
        return bool(self._waiters)

    async def ask(self, request: bytes, method: str) -> tuple[StorageConnection, Head]:
        """Send a request; return the connection and the head of the response.

        The caller gives the connection back by `release` when it has read the body. An idle connection that
        turns out to be dead is not an error: another one is taken. Raises TransientError or PermanentError.
        """
        while True:
            connection = await self._acquire()
            reused = connection.served > 0
            try:
                self._count(UPSTREAM_REQUESTS, 1)
                head = await connection.ask(request, method, self._bucket.read_timeout)
            except BaseException as error:
                self.release(connection, keep=False)
                if isinstance(error, ConnectionLost):
                    if reused and not error.begun:
                        self._close_idle()  # the storage has probably closed them all
                        continue
                    raise TransientError(str(error)) from None
                if isinstance(error, TimeoutError):
                    raise TransientError("the storage does not answer in time (read_timeout)") from None
                raise
            return connection, head

    def release(self, connection: StorageConnection, *, keep: bool) -> None:
        """Take a connection back. keep: its response was read to the end, so it may be used again."""
        self._count(UPSTREAM_IN_USE, -1)
        if keep and not self._closed and connection.rest():
            self._keep(connection)
        else:
            connection.close()
        self._release_permit()

    def close(self) -> None:
        """Close the idle connections now, and the others when they are given back."""
        self._closed = True
        self._close_idle()

    async def _acquire(self) -> StorageConnection:
        """Take an idle connection, or open one. Raises TransientError or PermanentError."""
        await self._acquire_permit()
        try:
            while self._idle:
                connection = self._idle.pop()
                self._count(UPSTREAM_IDLE, -1)
                if connection.rest():
                    break
                connection.close()
            else:
                if not self._has_tls_context:
                    self._tls_context = make_tls_context(self._bucket)
                    self._has_tls_context = True
                connection = StorageConnection(await open_socket(self._bucket, self._tls_context))
        except BaseException:
            self._release_permit()
            raise
        self._count(UPSTREAM_IN_USE, 1)
        return connection

    async def _acquire_permit(self) -> None:
        """Wait until one more connection may be in use. Raises TransientError after connect_timeout."""
        if self._permits and not self._waiters:
            self._permits -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._bucket.connect_timeout):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._release_permit()  # it was granted in the moment in which the wait ended
            else:
                with suppress(ValueError):  # `_release_permit` may have passed over it already
                    self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                text = f"all {self._bucket.connections} connections are in use: raise `connections`"
                raise TransientError(text, waited=True) from None
            raise

    def _release_permit(self) -> None:
        """Hand a permit to the first waiter, or keep it for the next request."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._permits += 1

    def _keep(self, connection: StorageConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        self._count(UPSTREAM_IDLE, 1)
        if self._sweeper is None:
            self._sweeper = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close the connections that were not used for IDLE_SECONDS, oldest first."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and self._idle[0].idle_since <= now - IDLE_SECONDS:
            self._discard(self._idle.popleft())
        if self._idle:
            after = self._idle[0].idle_since + IDLE_SECONDS - now
            self._sweeper = loop.call_later(max(after, 0.1), self._sweep)

    def _close_idle(self) -> None:
        while self._idle:
            self._discard(self._idle.pop())
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _discard(self, connection: StorageConnection) -> None:
        connection.close()
        self._count(UPSTREAM_IDLE, -1)

"""Makes connections, looks after them, and answers the requests that came the ordinary way.

All connections are looked at about once a second, a few at a time: one turn of the event loop hardly grows
with their number (5,000 at once held it for 20 ms).

aiohttp internals relied on, each in tests/dataplane/test_aiohttp_internals.py: BaseRequest._message,
BaseRequest._payload; RequestHandler._paused, _drain_helper; web.Server._connections, web.Server._kwargs,
web.Server._loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from gateway.dataplane.connection import METHODS, Answered, ClientConnection, begin_exchange
from gateway.dataplane.delivery.send_scheduler import SendScheduler
from gateway.dataplane.exchange import Exchange, cors_fields
from gateway.dataplane.timeouts import LINGER_SECONDS, Limits
from gateway.errors import BAD_REQUEST, Refusal, Refused
from gateway.http.fields import format_date
from gateway.http.request_heads import MAX_BYTES
from gateway.http.targets import TargetKind, read_target
from gateway.runtime.deferred import Deferred, step
from gateway.runtime.metrics import Counters

BODY_BYTES: Final = 1024 * 1024
"""A stray request body up to this is read and dropped, so that the connection stays in step."""
ROUND_SECONDS: Final = 1.0
"""How often each connection is looked at; more often where a limit is short."""
SHARE: Final = 25
"""How many at a time: 0.1 ms. 250 took 1 ms in every 50, and so made the p99 of all beside 5,000 clients."""
LEAST_SHARES: Final = 20
MOST_SHARES: Final = 500
"""In how many parts a round is made: often enough for the date, and no more often than timers are exact."""

Begin = Callable[[Exchange], None]
"""Begins to answer a request, which is answered, and the exchange ended, whatever happens. Never raises."""
Answer = Callable[[Exchange], Coroutine[Deferred[Any], None, None]]
"""The same as a coroutine that awaits only Deferreds."""


class Server(web.Server):
    """Makes connections and keeps what they share: limits, the date, who answers.

    plain_tail: the last fields and the empty line of an answer to a plain request (rules/heads.py).
    """

    def __init__(
        self,
        begin: Begin,
        other: Answer,
        record: Callable[[Exchange], None],
        record_refused: Callable[[Refusal], None],
        counters: Counters,
        limits: Limits,
        cors_origins: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            self.handle,
            access_log=None,
            keepalive_timeout=0,  # the sweep does this
            lingering_time=LINGER_SECONDS,
            max_line_size=limits.max_line,
            max_field_size=limits.max_field,
            max_headers=limits.max_headers,
            auto_decompress=False,
        )
        self.begin = begin
        self.record = record
        self.record_refused = record_refused
        self.count = counters.add
        self.limits = limits
        self.plain_bytes = min(MAX_BYTES, limits.max_line, limits.max_field)
        self.cors_origins = frozenset(cors_origins)
        self.turns = SendScheduler(self._loop)
        self.draining = False
        self.date_field = b""
        self.plain_tail = b""
        self._other = other
        self._ticker: asyncio.TimerHandle | None = None
        self._second = 0
        self._round: list[RequestHandler] = []
        self._shares, self._share = LEAST_SHARES, 0
        shortest = min(limits.header_timeout, limits.keepalive_timeout, limits.stall_timeout)
        self._round_seconds = min(ROUND_SECONDS, shortest / 4)

    def __call__(self) -> RequestHandler:
        return ClientConnection(self, loop=self._loop, **self._kwargs)

    @property
    def connections_by_handler(self) -> dict[RequestHandler, asyncio.Transport]:
        """The open connections."""
        return self._connections

    def start(self) -> None:
        """Begin to keep the date and to look after the connections."""
        self._tick()

    def stop(self) -> None:
        """Stop looking after the connections, and break those that are left."""
        if self._ticker is not None:
            self._ticker.cancel()
        for transport in list(self._connections.values()):
            transport.abort()

    def drain(self) -> None:
        """Finish the answers under way and close every connection after its own."""
        self.draining = True
        self._sweep(list(self._connections), self._loop.time())

    def _tick(self) -> None:
        """Keep the date, and look at the next few connections; at all of them in a round."""
        now = self._loop.time()
        self._keep_date()
        if not self._round:
            self._round = list(self._connections)
            self._shares = min(max(LEAST_SHARES, len(self._round) // SHARE), MOST_SHARES)
            self._share = -(-len(self._round) // self._shares)
        self._ticker = self._loop.call_at(now + self._round_seconds / self._shares, self._tick)
        self._sweep(self._round[-self._share :], now)
        del self._round[-self._share :]

    def _sweep(self, connections: Iterable[RequestHandler], now: float) -> None:
        for connection in connections:
            assert isinstance(connection, ClientConnection)
            connection.sweep(now)

    def _keep_date(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.date_field = b"Date: %b\r\n" % format_date(second).encode()
            cors = cors_fields(self.cors_origins, None) if self.cors_origins else b""
            self.plain_tail = b"%b%b\r\n" % (cors, self.date_field)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """A request that came the ordinary way: with a body, pipelined, or for something else."""
        message: RawRequestMessage = request._message
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        if connection._paused:
            with contextlib.suppress(ConnectionError):
                await connection._drain_helper()
        body_read = await drop_body(request)
        if message.version not in (HttpVersion10, HttpVersion11):
            connection.refuse_all(BAD_REQUEST)
        if connection.transport is None or connection.lingering:
            return Answered(keep=False)
        exchange = connection.exchange = begin_exchange(connection, message)
        exchange.keep = exchange.keep and body_read
        exchange.waiter = Deferred()
        ended = exchange.waiter.as_future()
        if _is_download(message):
            self.begin(exchange)
        else:
            step(self._other(exchange))
        await ended
        if connection.transport is None:
            return Answered(keep=False)
        if not exchange.keep or self.draining:
            connection.close_gently()
            return Answered(keep=False)
        connection.read_on()
        return Answered(keep=True)


def _is_download(message: RawRequestMessage) -> bool:
    if message.method not in METHODS:
        return False
    try:
        return read_target(message.path).kind is not TargetKind.OTHER
    except Refused:
        return True  # one that cannot be understood: it will be told so


async def drop_body(request: web.BaseRequest) -> bool:
    """Read a stray request body away; False when it is too much, or waits for `100 Continue`.

    A client that expects to be asked for its body is not asked (RFC 9110 section 10.1.1): it gets the
    final answer, and the connection closes.
    """
    body = request._payload
    if body is EMPTY_PAYLOAD:
        return True
    if "Expect" in request.headers:
        return False
    left = BODY_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left >= 0 and not body.at_eof():
                left -= len(await body.readany())
    except (TimeoutError, web.PayloadAccessError, Exception):  # a broken body says nothing about the answer
        return False
    return left >= 0

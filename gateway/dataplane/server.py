"""Makes connections, sweeps over them, and hands each request to what answers it.

A sweep looks at every connection about once a second, a few at a time, so that one turn of the event loop
hardly grows with their number (5,000 at once held it for 20 ms).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from gateway.dataplane.connection import ClientConnection
from gateway.dataplane.delivery.send_scheduler import SendScheduler
from gateway.dataplane.exchange import Exchange, cors_fields
from gateway.dataplane.request_reader import RequestReader
from gateway.dataplane.throttling import Throttle
from gateway.dataplane.timeouts import Limits
from gateway.errors import Refused
from gateway.http.fields import format_date
from gateway.http.passing import passed_target
from gateway.http.targets import TargetKind, read_target
from gateway.runtime.deferred import Deferred, step
from gateway.runtime.metrics import Counters

SWEEP_SECONDS: Final = 1.0
"""How often each connection is looked at, in seconds. Where a limit is short, this is done more often."""
SHARE: Final = 25
"""How many connections are looked at in one turn of the event loop, which takes 0.1 ms. With 250 it took 1 ms
in every 50 ms, and this determined the p99 of all requests beside 5,000 clients."""
MIN_SHARES: Final = 20
MAX_SHARES: Final = 500
"""The fewest and the most parts of a sweep. Fewer parts would make the date late. More parts would be closer
together than timers are exact."""

_METHODS: Final = frozenset(("GET", "HEAD"))
_USUAL_PATH: Final = re.compile(r"/(?:download|auth)(?![^?]*/(?:\.|%2[eE]))")
"""How most targets begin that ask for a download or an authorisation; they have no dot segment."""
STRICT_TRANSPORT: Final = b"Strict-Transport-Security: max-age=31536000\r\n"
"""Makes browsers use HTTPS for this host for a year (RFC 6797). Other hosts of the domain are not included,
because we do not know them."""

Begin = Callable[[Exchange], None]
"""Begins to answer a request. Whatever happens, it is answered, and its exchange ended. Never raises."""
PassOn = Callable[[Exchange, str], None]
"""Begins to pass a request on to the web process, with the target that it has there. Never raises."""
Answer = Callable[[Exchange], Coroutine[Deferred[Any], None, None]]
"""Answers a request in the same way, as a coroutine that awaits only Deferreds."""


class Server:
    """Makes connections, and holds what they share: limits, the send scheduler, the date, what answers.

    To be made while the event loop runs. It is the loop's factory of protocols. connections: those that are
    open, and the transport of each.

    begin: answers downloads and authorisations. answer_other: answers every other request. record: is called
    with each exchange that has ended; record_unread: with the peer, a status and a code of each connection
    that ended before a request of it was read.
    reader: makes exchanges of heads.
    leads_to_portal: whether pages about a dead link lead to `/my`.
    pass_on: passes requests on to the web process; without it none is.
    date_field: Date, and over HTTPS Strict-Transport-Security, which every answer has.
    every_second: is called about so often. They must not raise.
    plain_tail: the last fields and the empty line of an answer to a plain request (http/request_heads.py).
    """

    def __init__(
        self,
        begin: Begin,
        answer_other: Answer,
        record: Callable[[Exchange], None],
        record_unread: Callable[[Any, int, str], None],
        counters: Counters,
        limits: Limits,
        cors_origins: tuple[str, ...] = (),
        is_https: bool = False,
        every_second: Sequence[Callable[[], None]] = (),
        pass_on: PassOn | None = None,
        reader: type[RequestReader] = RequestReader,
        leads_to_portal: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.connections: dict[ClientConnection, asyncio.Transport] = {}
        self.begin = begin
        self.record = record
        self.record_unread = record_unread
        self.count = counters.add
        self.limits = limits
        self.reader = reader(self._loop, limits, cors=bool(cors_origins))
        self.cors_origins = frozenset(cors_origins)
        self.leads_to_portal = leads_to_portal
        self.scheduler = SendScheduler(self._loop)
        self.throttle = Throttle(self._loop)
        self.draining = False
        self.date_field = b""
        self._secure_field = STRICT_TRANSPORT if is_https else b""
        self.plain_tail = b""
        self._answer_other = answer_other
        self._pass_on = pass_on
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._every_second = every_second
        self._to_sweep: list[ClientConnection] = []
        self._shares, self._share = MIN_SHARES, 0
        shortest = min(limits.header_timeout, limits.keepalive_timeout, limits.stall_timeout)
        self._sweep_seconds = min(SWEEP_SECONDS, shortest / 4)

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, self._loop)

    def begin_any(self, exchange: Exchange) -> None:
        """Begin to answer a request of any kind."""
        if _is_download(exchange):
            self.begin(exchange)
            return
        target = passed_target(exchange.target)
        if target is not None and self._pass_on is not None:
            self._pass_on(exchange, target)
        else:
            step(self._answer_other(exchange))

    def passes_on(self, exchange: Exchange) -> bool:
        """Whether a request is passed on to the web process."""
        return self._pass_on is not None and passed_target(exchange.target) is not None

    def start(self) -> None:
        """Begin to keep the date and to sweep over the connections."""
        self._tick()

    def stop(self) -> None:
        """Stop the sweep, and break the connections that are left."""
        if self._timer is not None:
            self._timer.cancel()
        for transport in list(self.connections.values()):
            transport.abort()

    def drain(self) -> None:
        """Close the idle connections now, and every other one after its current answer."""
        self.draining = True
        self._sweep(list(self.connections), self._loop.time())

    def _tick(self) -> None:
        """Keep the date, and look at the next share of the connections."""
        now = self._loop.time()
        self._keep_date()
        if not self._to_sweep:
            self._to_sweep = list(self.connections)
            self._shares = min(max(MIN_SHARES, len(self._to_sweep) // SHARE), MAX_SHARES)
            self._share = -(-len(self._to_sweep) // self._shares)
        self._timer = self._loop.call_at(now + self._sweep_seconds / self._shares, self._tick)
        self._sweep(self._to_sweep[-self._share :], now)
        del self._to_sweep[-self._share :]

    def _sweep(self, connections: Iterable[ClientConnection], now: float) -> None:
        for connection in connections:
            connection.sweep(now)

    def _keep_date(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.date_field = b"Date: %b\r\n%b" % (format_date(second).encode(), self._secure_field)
            cors = cors_fields(self.cors_origins, None) if self.cors_origins else b""
            self.plain_tail = b"%b%b\r\n" % (cors, self.date_field)
            for each in self._every_second:
                each()


def _is_download(exchange: Exchange) -> bool:
    """Whether this asks for a download or an authorisation, in any spelling."""
    if exchange.method not in _METHODS:
        return False
    if _USUAL_PATH.match(exchange.target):
        return True
    try:
        return read_target(exchange.target).kind is not TargetKind.OTHER
    except Refused:
        return True  # a target that cannot be read is refused in the same way as a download

"""Passes requests for webhooks and the customers' pages on to the web process: see http/passing.py for which.

Each request has a connection of its own to the web process, so nothing that one client sends can change what
another is answered. The connection is made at once, and body and answer go through as they come, a little at
a time (passage.py). What all this may cost is bounded by `Room`, for the worker and for each client.

When the web process does not answer, the client gets 503 with Retry-After: platforms send a webhook again. It
is restarted within a second or two, and connections wait for it meanwhile, because the supervisor keeps the
listening socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Final

from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.passage import Passage, Times, WebLink
from gateway.dataplane.timeouts import Limits
from gateway.errors import BAD_REQUEST, OVERLOADED, TOO_LARGE, WEB_UNAVAILABLE, Refused
from gateway.http.client_address import TrustedProxies, address_group
from gateway.http.passing import (
    MAX_BODY,
    forwarded_scheme,
    logged_target,
    passed_head,
    requested_host,
)
from gateway.runtime.addresses import Address, short_socket_path
from gateway.runtime.deferred import in_task, step
from gateway.runtime.line_budget import LineBudget
from gateway.runtime.system_errors import describe
from gateway.runtime.tracing import TRACEPARENT

CONNECT_SECONDS: Final = 5.0
"""How long a connection to the web process may take. On a unix socket it takes no time."""
ANSWER_SECONDS: Final = 30.0
"""How long the web process may go without taking or sending anything. It takes a webhook within a second, and
the database may take as long as a failover. One that hangs is replaced after `hang_timeout`."""
MAX_REQUESTS: Final = 256
MAX_REQUESTS_EACH: Final = 128
"""How many requests a worker passes on at once, and how many of one client. A platform that is refused comes
again; downloads are not counted here."""
MAX_HELD: Final = 64 * 1024 * 1024
MAX_HELD_EACH: Final = 32 * 1024 * 1024
"""Bytes of bodies whose requests are not answered yet, of all clients and of one: the web process has them in
memory."""

_log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Bounds:
    """The constants of the same names."""

    requests: int = MAX_REQUESTS
    requests_each: int = MAX_REQUESTS_EACH
    held: int = MAX_HELD
    held_each: int = MAX_HELD_EACH


class Room:
    """Counts what is passed on now. A client without an address has only the bounds of the worker."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._requests = 0
        self._held = 0
        self._requests_of: Counter[str] = Counter()
        self._held_of: Counter[str] = Counter()

    def enter(self, group: str) -> None:
        """Take place for one more request of a client. Raises Refused where there is none."""
        bounds = self._bounds
        if self._requests >= bounds.requests or (group and self._requests_of[group] >= bounds.requests_each):
            raise Refused(OVERLOADED)
        self._requests += 1
        self._requests_of[group] += 1

    def hold(self, group: str, amount: int) -> None:
        """Count bytes of a body that goes on. Raises Refused when they are too many; they count anyway."""
        self._held += amount
        self._held_of[group] += amount
        if self._held > self._bounds.held or (group and self._held_of[group] > self._bounds.held_each):
            raise Refused(OVERLOADED)

    def leave(self, group: str, held: int) -> None:
        """Give the place of a request back, and what its body has held."""
        self._requests -= 1
        self._held -= held
        self._requests_of[group] -= 1
        self._held_of[group] -= held
        if not self._requests_of[group]:
            del self._requests_of[group], self._held_of[group]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is passed on, and nothing counted."""
        return not (self._requests or self._held or self._requests_of or self._held_of)


class Passing:
    """Passes on the requests of one worker. address: where the web process takes them."""

    def __init__(
        self,
        address: Address,
        endings: Endings,
        proxies: TrustedProxies,
        limits: Limits,
        room: Room | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._address = address
        self._endings = endings
        self._proxies = proxies
        self._times = Times(limits.header_timeout, limits.stall_timeout, answer_seconds)
        self._room = room or Room()
        self._lines = LineBudget()

    def begin(self, exchange: Exchange, target: str) -> None:
        """Begin to pass a request on. target: of http/passing.py. Never raises."""
        step(self._endings.run(exchange, self._pass, target))

    async def _pass(self, exchange: Exchange, target: str) -> None:
        body, connection = exchange.body, exchange.connection
        asked, exchange.target = exchange.target, logged_target(target)
        passage: Passage | None = None
        try:
            client, scheme = self._read_client(exchange)
            peer = connection.peer
            head = passed_head(
                exchange.method,
                target,
                exchange.headers,
                host=requested_host(asked, exchange.headers),
                client=client,
                scheme=scheme,
                body=body,
                is_http10=exchange.is_http10,
                traceparent=exchange.headers.get(TRACEPARENT, "") if self._proxies.trusts(peer) else "",
            )
            if body is not None and (body.length or 0) > MAX_BODY:
                raise Refused(TOO_LARGE)
            group = address_group(client)
            self._room.enter(group)
            passage = Passage(exchange, head, self._times, lambda amount: self._room.hold(group, amount))
            try:
                await self._connect(passage)
                await passage.outcome
            finally:
                passage.close()
                self._room.leave(group, passage.held)
        finally:
            if body is not None and not body.ended:
                exchange.keep_alive = False  # what follows cannot be read
            if connection.sender is passage:
                connection.sender = None

    def _read_client(self, exchange: Exchange) -> tuple[str, str]:
        """The client's address and scheme. Raises Refused where trusted fields contradict each other."""
        peer, fields = exchange.connection.peer, exchange.headers
        if self._proxies.disputes(peer, fields):
            raise Refused(BAD_REQUEST)
        transport = exchange.connection.transport
        if transport is None:
            raise ClientGone
        said = forwarded_scheme(fields) if self._proxies.trusts(peer) else ""
        own = "http" if transport.get_extra_info("sslcontext") is None else "https"
        return self._proxies.client(peer, fields), said or own

    async def _connect(self, passage: Passage) -> None:
        """Connect to the web process. Raises Refused."""
        try:
            await in_task(asyncio.wait_for(self._open(passage), CONNECT_SECONDS))
        except (OSError, TimeoutError) as error:
            omitted = self._lines.take(asyncio.get_running_loop().time())
            if omitted is not None:
                reason = "no answer" if isinstance(error, TimeoutError) else describe(error)
                facts = {"address": str(self._address), "omitted": omitted}
                _log.warning("the web process cannot be reached: %s", reason, extra=facts)
            raise Refused(WEB_UNAVAILABLE) from None

    async def _open(self, passage: Passage) -> None:
        loop, address = asyncio.get_running_loop(), self._address
        if not address.is_unix:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - compared, not bound
            await loop.create_connection(lambda: WebLink(passage), host, address.port)
            return
        with short_socket_path(address.path) as path:
            await loop.create_unix_connection(lambda: WebLink(passage), path)

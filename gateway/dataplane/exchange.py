"""One request and its answer. The object is passed to everything that answers it, and then to the log.

An exchange uses its connection through the protocol `Channel`. So this module imports neither the connection
nor the server, which both import this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, cast

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.delivery.send_scheduler import SendScheduler
from gateway.errors import PASSWORD_MISSING, TOKEN_MISSING, Refusal
from gateway.http.fields import prefers_html, prefers_json
from gateway.http.forward_auth import Dialect, refusal_fields
from gateway.http.framing import Body
from gateway.http.pages import refusal_answer
from gateway.http.plans import Representation
from gateway.http.ranges import Span
from gateway.http.request_tokens import waits_for_challenge
from gateway.runtime.tracing import NO_TRACE, Trace

NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())
KEPT_CHARACTERS: Final = 1024
"""What is kept of each text of a head. It is what the log reads: `READ_CHARACTERS` of access_log.py."""
_LOGGED: Final = ("User-Agent", "Range")
_FORWARDED: Final = ("X-Forwarded-For", "Forwarded")
EXPOSED: Final = (
    b"Access-Control-Expose-Headers: "
    b"Accept-Ranges, Content-Disposition, Content-Range, ETag, Repr-Digest, Retry-After\r\n"
)


class ClientGone(Exception):
    """The connection was lost, so nothing can be sent to the client."""


class ServerState(Protocol):
    """The part of the server that answers depend on. All connections of a worker share it.

    draining: whether the worker finishes its answers and then stops. date_field: the fields that every answer
    has, with CRLF: Date, and what HTTPS adds. plain_tail: the last fields and the empty line of an answer to
    a plain request (http/request_heads.py). cors_origins: the setting. scheduler: decides which delivery may
    send in a turn of the event loop. leads_to_portal: whether pages about a dead link lead to `/my`.
    """

    draining: bool
    date_field: bytes
    plain_tail: bytes
    cors_origins: frozenset[str]
    scheduler: SendScheduler
    leads_to_portal: bool

    def count(self, index: int, count: int = 1, /) -> None:
        """Add to a metric."""


class Channel(Protocol):
    """The part of a connection that answering and sending need.

    transport: None once the connection is lost. peer: the client's address (runtime/peers.py). sender:
    the delivery that is under way. client_socket: a duplicate of the socket, for sending past the transport;
    None before it is opened. throttled: whether nothing is read for a moment after the answer under way.
    """

    transport: asyncio.Transport | None
    peer: Any
    sender: Any
    client_socket: ClientSocket | None
    throttled: bool

    @property
    def server(self) -> ServerState:
        """What all connections share."""

    def open_client_socket(self) -> ClientSocket:
        """Return the duplicate of the socket, which is opened once. Raises ClientGone."""

    def reset(self) -> None:
        """Break the connection with a reset."""

    def finish(self, exchange: Exchange) -> None:
        """Count and log an exchange that has ended; then serve the next request, or close."""


class Exchange:
    """One request under way on one connection.

    method, target, headers: as parsed. For a plain head (http/request_heads.py) the target has no query, and
    headers are NO_HEADERS; only then the following are set. token: the token of a minted URL, well-formed.
    original: the target that a front proxy asks about; asked_token: the token in it, if it is a minted URL.
    file: the name asked for, if any. range, agent, accept, forwarded: the fields Range, User-Agent, Accept
    and X-Forwarded-For.

    What a client sent is kept only until the answer is decided, because sending it may take long. After that,
    target and headers have what the log needs, cut to KEPT_CHARACTERS: `forget_head`.

    body: of a request that is passed on; any other one is dropped.
    trace: the marks of its steps, where it is traced (traced_downloads.py).
    keep_alive: whether the connection serves another request afterwards. begun: whether the head has been
    sent, or is about to be. dialect: of the front proxy that asks, if one does; it decides how a refusal
    looks to that proxy.

    started, answered, handed_over, ended: seconds of the monotonic clock, when the head was read, when the
    answer's head was made, when the kernel had taken all of the answer, and when all was done. token_id,
    status, code, sent (bytes of the file), served (the file), spans (what was asked for of it, unless it is
    all) and whole (all that was asked for was sent): for the log and for usage, filled in on the way.
    """

    # Defaults of the class, which most exchanges never change. Setting them would cost time for each request.
    token = ""
    file = ""
    asked_token = ""
    original = ""
    agent = ""
    range = ""
    accept = ""
    forwarded = ""
    token_id = ""
    code = ""
    status = 0
    sent = 0
    answered = 0.0
    served: Representation | None = None
    spans: Sequence[Span] | None = None
    handed_over = 0.0
    ended = 0.0
    whole = False
    begun = False
    dialect: Dialect | None = None
    body: Body | None = None
    trace: Trace = NO_TRACE

    def __init__(
        self,
        connection: Channel,
        method: str = "GET",
        target: str = "/download",
        headers: CIMultiDictProxy[str] = NO_HEADERS,
        keep_alive: bool = True,
        is_http10: bool = False,
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.is_http10 = is_http10
        self.started = monotonic()

    def respond(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Send the head, and the body with it unless the method is HEAD.

        head: as for `begin`. Raises ClientGone when the connection is lost.
        """
        transport = self.connection.transport
        if transport is None:
            raise ClientGone
        complete = self.begin(status, head)
        transport.write(complete if self.method == "HEAD" else complete + body)

    def begin(self, status: int, head: bytes, has_cors: bool = True) -> bytes:
        """Complete a head, which the caller sends at once. After this call no other answer is possible.

        head: the status line and the fields, each ended by CRLF, without the empty line. Date, CORS (unless
        has_cors is False) and Connection fields are added here.
        """
        server = self.connection.server
        if server.draining:
            self.keep_alive = False
        self.status = status
        self.begun = True
        self.answered = monotonic()
        if server.cors_origins and has_cors:
            head += cors_fields(server.cors_origins, self.headers.get("Origin"))
        if self.headers is not NO_HEADERS:
            self.forget_head()
        if not self.keep_alive:
            ending = b"Connection: close\r\n\r\n"
        elif self.is_http10:
            ending = b"Connection: keep-alive\r\n\r\n"
        else:
            ending = b"\r\n"
        return b"".join((head, server.date_field, ending))

    def refuse(self, refusal: Refusal, detail: str | None = None, fields: bytes = b"") -> None:
        """Answer with a row of the table, as problem+json or as a small page. Raises ClientGone.

        detail: instead of the row's own text. fields: added to the head. Where a front proxy asks, the status
        is one that the proxy passes on, and other fields carry the true status and the code.
        """
        self.code = refusal.code
        status = refusal.status
        if refusal is TOKEN_MISSING and waits_for_challenge(self.agent or self.headers.get("User-Agent", "")):
            refusal = PASSWORD_MISSING
        if self.dialect is not None:
            status = self.dialect.status(status)
            fields += refusal_fields(refusal)
        portal = self.connection.server.leads_to_portal
        head, body = refusal_answer(refusal, detail, self.prefers_html(), status, portal)
        self.respond(status, head + fields, body)

    def prefers_html(self) -> bool:
        """Whether the client would rather have a page than JSON."""
        return prefers_html(self.accept or self.headers.get("Accept"))

    def prefers_json(self) -> bool:
        """Whether the client asks for JSON where a page is the usual answer."""
        return prefers_json(self.accept or self.headers.get("Accept"))

    def forget_head(self) -> None:
        """Keep no more of the head than the log needs. To be called once the answer is decided."""
        self.target = self.target.partition("?")[0][:KEPT_CHARACTERS]
        fields = self.headers
        kept = [(name, fields[name][:KEPT_CHARACTERS]) for name in _LOGGED if name in fields]
        kept += [(name, text) for name in _FORWARDED for text in _newest(fields.getall(name, ()))]
        self.headers = CIMultiDictProxy(CIMultiDict(kept))
        self.file = self.original = ""

    def abort(self) -> None:
        """Break the connection, so that the client notices that the answer will not be finished."""
        self.keep_alive = False
        self.connection.reset()

    def end(self) -> None:
        """Note that the answer is complete, or never will be. Only `ending.py` calls this."""
        self.ended = monotonic()
        if self.headers is not NO_HEADERS and not self.begun:
            self.forget_head()
        self.connection.finish(self)

    def is_from_allowed_origin(self) -> bool:
        """Whether the setting `cors_origins` lets pages of the request's origin read the answer."""
        origins = self.connection.server.cors_origins
        return "*" in origins or self.headers.get("Origin") in origins


class Stranger(NamedTuple):
    """Stands for a connection of which only the peer is known."""

    peer: Any


def unread_exchange(peer: Any, status: int, code: str) -> Exchange:
    """Make the exchange that the log gets where no request was read: it has neither a method nor a target."""
    exchange = Exchange(cast("Channel", Stranger(peer)), "", "")
    exchange.status, exchange.code, exchange.ended = status, code, exchange.started
    return exchange


def cors_fields(origins: frozenset[str], origin: str | None) -> bytes:
    """The fields that let a page of `origin` read the answer, if `origins`, the setting, allow it."""
    if "*" in origins:
        return b"Access-Control-Allow-Origin: *\r\n" + EXPOSED
    if origin is None or origin not in origins:
        return b"Vary: Origin\r\n"
    return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n%b" % (origin.encode(), EXPOSED)


def _newest(lines: Sequence[str]) -> list[str]:
    """The last lines of a field, and one character more than client_address.py reads of them.

    So what it reads does not change: it sees that there is more, which may have been cut.
    """
    kept: list[str] = []
    left = KEPT_CHARACTERS + 1
    for line in reversed(lines):
        kept.insert(0, line[-left:])
        left -= len(line)
        if left <= 0:
            break
    return kept

"""One client's connection: bytes in, requests out. aiohttp's connection, with downloads answered at once.

aiohttp's C parser reads every request except the plainest (http/request_heads.py). A request for a download
that has no body, and arrives while the connection waits, is answered right here, without a task and without
aiohttp's request and response objects (together about 150 µs a request). Every other request goes through
aiohttp's own loop to `Server.handle`, which answers in the same manner. So the order of requests, bodies,
`Expect` and upgrades are aiohttp's work.

The rules:
- The states of a connection are a table: see connection_state.py. What a connection waits for follows from
  its state: see timeouts.py. The server sweeps over all connections once a second.
- A connection gives one answer at a time, and no answer while the client leaves earlier ones unread. Bytes
  that arrive in this time are kept, up to MAX_PENDING_BYTES. After that we stop reading.
- A client may end its side at once. The requests that it sent before are still answered.
- We end our side first, and go on reading for a moment before we close, because a reset could overtake our
  answer.
- aiohttp's own keep-alive timer is switched off, because it would close a connection during a long transfer.

aiohttp internals relied on, each tested in test_aiohttp_internals.py: RequestHandler: _parser.feed_data,
_parser.message_consumed, _loop, _messages, _paused, _buffer_paused, _reading_paused; EMPTY_PAYLOAD.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion10, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.aiohttp_connection import (
    AiohttpConnection,
    is_answered_directly,
    target_of_unknown_method,
)
from gateway.dataplane.connection_state import TIMEOUTS, WAITING_FOR_A_REQUEST, Event, State, after
from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.exchange import NO_HEADERS, ClientGone, Exchange, ServerState
from gateway.dataplane.timeouts import Limits, Timeout, Watch
from gateway.errors import BAD_REQUEST, METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED_HERE, OVERLOADED, Refusal
from gateway.http.pages import refusal_answer
from gateway.http.request_heads import read_plain_auth_request, read_plain_head
from gateway.http.targets import is_file_target
from gateway.runtime.metrics import CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_REFUSED
from gateway.runtime.peers import read_peer

MAX_PENDING_BYTES: Final = 64 * 1024
"""Bytes of later requests that are kept during an answer; more are left in the kernel."""
HEAD_TIMEOUT: Final = (408, "head_timeout")
"""How a head that did not come in time is logged. Its client gets no answer, because it is not listening."""
HEAD_END: Final = b"\r\n\r\n"
RETRY_SECONDS: Final = 0.001
"""How long to wait before checking again whether aiohttp's loop has come back from its last answer."""

_AFTER_HEAD_PART: Final = after(Event.HEAD_PART)
_AFTER_REQUEST: Final = after(Event.REQUEST)
_AFTER_HANDED_OVER: Final = after(Event.HANDED_OVER)
_AFTER_ANSWERED: Final = after(Event.ANSWERED)
_AFTER_AIOHTTP_WAITS: Final = after(Event.AIOHTTP_WAITS)
_AFTER_CLIENT_EOF: Final = after(Event.CLIENT_EOF)
_AFTER_CLOSE: Final = after(Event.CLOSE)
_AFTER_LOST: Final = after(Event.LOST)
_ANSWERING: Final = frozenset((State.ANSWERING, State.ANSWERING_FOR_AIOHTTP))
_ENDING: Final = frozenset((State.LINGERING, State.CLOSED))
_IDLE: Final = State.IDLE
_WITH_AIOHTTP: Final = State.WITH_AIOHTTP


class ConnectionServer(ServerState, Protocol):
    """The part of the server that a connection needs, in addition to its exchanges' part: see server.py."""

    limits: Limits
    max_plain_head: int

    @property
    def open_connections(self) -> Mapping[Any, asyncio.Transport]:
        """All connections that are open."""

    def begin(self, exchange: Exchange, /) -> None:
        """Begin to answer a request. Whatever happens, it is answered, and the exchange ended."""

    def record(self, exchange: Exchange, /) -> None:
        """Count and log an exchange that has ended."""

    def record_unread(self, peer: Any, status: int, code: str, /) -> None:
        """Count and log what ended before a request was read: a refusal, or a head that came too late."""


class ClientConnection(AiohttpConnection):
    """One client's connection.

    exchange: the request being answered. peer: the client's address (runtime/peers.py); a connection without
    one is ended unread. sender: the delivery under way, when it does not go through the transport alone
    (delivery/sender.py).
    """

    __slots__ = (
        "_answered_at",
        "_client_ended",
        "_parser_is_empty",
        "_pending",
        "_watch",
        "client_socket",
        "exchange",
        "peer",
        "sender",
        "server",
        "state",
    )

    def __init__(self, server: ConnectionServer, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(cast("web.Server", server), loop=loop, **options)
        self.server = server
        self.state = State.NEW
        self.exchange: Exchange | None = None
        self.client_socket: ClientSocket | None = None
        self.peer: Any = None
        self.sender: Any = None
        self._pending = b""  # arrived during an answer, to be read after it
        self._parser_is_empty = True  # aiohttp's parser certainly holds no part of a head
        self._client_ended = False
        self._answered_at = 0.0
        self._watch = Watch(Timeout.HEADER, 0.0, loop.time())

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = read_peer(transport)
        self.server.count(CONNECTIONS)
        self.server.count(CONNECTIONS_ACCEPTED)
        if self.peer is None:
            self.state = _AFTER_CLOSE[self.state]
            self.reset()
        elif len(self.server.open_connections) > self.server.limits.max_connections:
            self.server.count(CONNECTIONS_REFUSED)
            self.refuse_and_close(OVERLOADED)

    def data_received(self, data: bytes) -> None:
        if self.state in _ENDING:
            return
        server = self.server
        server.scheduler.request_arrived()
        if self.state in _ANSWERING or self._pending or self._paused:
            self._keep(data)
            return
        if self.state is _WITH_AIOHTTP and not self._is_back_from_aiohttp():
            self._parser_is_empty = False
            super().data_received(data)
            return
        rest = b""
        if self._parser_is_empty:
            exchange = self._read_plain(data) if len(data) <= server.max_plain_head else None
            if exchange is None:
                # One head at a time, so that the bytes after it cannot change its answer.
                end = data.find(HEAD_END) + len(HEAD_END)
                if len(HEAD_END) < end < len(data):
                    data, rest = data[:end], data[end:]
                    exchange = self._read_plain(data) if end <= server.max_plain_head else None
            if exchange is not None:
                self._pending = rest
                self.exchange = exchange
                self.state = _AFTER_REQUEST[self.state]
                server.begin(exchange)
                return
        self._parse(data, rest)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more. It still gets its answers; then the connection closes."""
        self._client_ended = True
        if self.exchange is not None and not self._pending and not self._messages:
            self.exchange.keep_alive = False
        if self._is_waiting_for_a_request():
            self.state = _AFTER_CLIENT_EOF[self.state]
        return self.state is not State.LINGERING and not self.is_tls()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sender is not None:
            self.sender.resume()
        elif self.state not in _ANSWERING:
            self.read_pending()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.server.count(CONNECTIONS, -1)
        self.state = _AFTER_LOST[self.state]
        self._pending = b""
        if self.sender is not None:
            self.sender.connection_lost()
        if self.client_socket is not None:
            self.client_socket.close()

    # Reading requests.

    def _read_plain(self, data: bytes) -> Exchange | None:
        """The exchange for one of the commonest requests, read without aiohttp's parser; else None."""
        plain = read_plain_head(data)
        if plain is not None:
            exchange = Exchange(self)
            exchange.file, exchange.token, exchange.agent, exchange.range = plain
            if exchange.file:
                exchange.target = f"/download/{exchange.file}"
            return exchange
        auth = read_plain_auth_request(data)
        if auth is None:
            return None
        headers = NO_HEADERS
        if auth.forwarded:
            headers = CIMultiDictProxy(CIMultiDict({"X-Forwarded-For": auth.forwarded}))
        exchange = Exchange(self, "GET", "/auth", headers)
        _, exchange.original, exchange.file, exchange.asked_token, exchange.agent, exchange.range = auth
        return exchange

    def _parse(self, data: bytes, rest: bytes) -> None:
        """Let aiohttp's parser read `data`. If bytes follow it (`rest`), it is one whole head."""
        assert self._parser is not None
        messages: list[Any] = []
        try:
            found, upgraded, tail = self._parser.feed_data(data)
            messages += found
            if rest and upgraded:
                tail, rest = tail + rest, b""
            elif rest and (len(messages) != 1 or messages[0][1] is not EMPTY_PAYLOAD):  # it has a body
                found, upgraded, tail = self._parser.feed_data(rest)
                messages, rest = [*messages, *found], b""
        except HttpProcessingError as error:
            target = target_of_unknown_method(data) if isinstance(error, BadHttpMethod) else None
            if target is None:
                self.refuse_and_close(BAD_REQUEST)
            elif self.server.cors_origins and is_file_target(target):
                self.refuse_and_close(METHOD_NOT_ALLOWED_HERE)
            else:
                self.refuse_and_close(METHOD_NOT_ALLOWED)
            return
        self._pending = rest
        if not messages:
            if data:
                self._parser_is_empty = False
                self.state = _AFTER_HEAD_PART[self.state]
            return
        message, payload = messages[0]
        if len(messages) == 1 and not upgraded and payload is EMPTY_PAYLOAD and is_answered_directly(message):
            self._parser.message_consumed()
            self._parser_is_empty = data.endswith(HEAD_END)  # and no part of another head follows
            self.server.begin(self.begin(message))
        else:
            self._parser_is_empty = bool(rest)
            self.state = _AFTER_HANDED_OVER[self.state]
            self.hand_to_loop(messages, upgraded, tail)

    def begin(self, message: RawRequestMessage) -> Exchange:
        """Begin the exchange for a request that aiohttp's parser has read."""
        self.state = _AFTER_REQUEST[self.state]
        self.exchange = exchange = Exchange(
            self,
            message.method,
            message.path,
            message.headers,
            # what follows a request to upgrade may be of the other protocol, or lost in aiohttp's parser
            keep_alive=not message.should_close and not message.upgrade,
            is_http10=message.version == HttpVersion10,
        )
        return exchange

    def _is_back_from_aiohttp(self) -> bool:
        """Whether aiohttp's loop, which had requests, waits for one again. Then the connection is IDLE."""
        if not self.is_loop_waiting():
            return False
        self.state = _AFTER_AIOHTTP_WAITS[self.state]
        return True

    def _is_waiting_for_a_request(self) -> bool:
        """Whether everything that the client has asked is answered."""
        if self.state is _WITH_AIOHTTP:
            self._is_back_from_aiohttp()
        return self.state in WAITING_FOR_A_REQUEST and not self._pending

    # One answer after the other.

    def _keep(self, data: bytes) -> None:
        """Keep what arrives during an answer, to read it afterwards."""
        if self.exchange is not None and not self.exchange.keep_alive:
            return  # the connection closes after this answer, so these bytes are not needed
        self._pending += data
        if len(self._pending) > MAX_PENDING_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def finish(self, exchange: Exchange) -> None:
        """Record an answer that is complete, or never will be; then go on reading, or close."""
        self.exchange = None
        self.sender = None
        self.state = state = _AFTER_ANSWERED[self.state]
        self._answered_at = exchange.ended
        self.server.record(exchange)
        if exchange.waiter is not None:  # the request came from aiohttp's loop, which now goes on
            exchange.waiter.set_result(None)
        elif state is _IDLE:
            if not exchange.keep_alive or self.server.draining:
                self.close_gracefully()
            elif self._pending or self._client_ended:
                self.read_pending()

    def read_pending(self) -> None:
        """Read what arrived during an answer, in the next turn of the event loop."""
        self._loop.call_soon(self._read_pending)

    def _read_pending(self) -> None:
        if self.state in _ENDING or self.state in _ANSWERING or self._paused or self.transport is None:
            return
        if self.state is _WITH_AIOHTTP and self.is_loop_returning():
            self._loop.call_later(RETRY_SECONDS, self._read_pending)
            return
        data, self._pending = self._pending, b""
        if not self._buffer_paused and not self._reading_paused:
            self.transport.resume_reading()
        self.data_received(data)
        if self._client_ended and self._is_waiting_for_a_request():
            self.close_gracefully()

    # Closing.

    def close_gracefully(self) -> None:
        """Send what is buffered and the end of our stream, and wait a moment for the client's end."""
        self.state = _AFTER_CLOSE[self.state]
        self._pending = b""
        self.end_loop()
        if self.transport is not None:
            if self.is_tls():
                self.transport.close()  # TLS ends in its own way, and always both sides
                return
            with contextlib.suppress(RuntimeError, OSError):
                self.transport.write_eof()
                self.transport.resume_reading()

    def refuse_and_close(self, refusal: Refusal) -> None:
        """Refuse a request that cannot be read, or a connection beyond the limit."""
        if self.transport is not None:
            head, body = refusal_answer(refusal, None, html=False)
            self.transport.write(b"".join((head, self.server.date_field, b"Connection: close\r\n\r\n", body)))
            self.server.record_unread(self.peer, refusal.status, refusal.code)
        self.close_gracefully()

    def open_client_socket(self) -> ClientSocket:
        """The duplicate of the client's socket, which is opened once. Raises ClientGone."""
        if self.client_socket is None:
            if self.transport is None:
                raise ClientGone
            self.client_socket = ClientSocket(self.transport)
        return self.client_socket

    # Time-outs.

    def sweep(self, now: float) -> None:
        """Close the connection when what it waits for is overdue. To be called about once a second."""
        if self.transport is None:  # the connection is lost, but still in aiohttp's table
            return
        timeout, mark = self._waiting_for()
        if self._watch.is_overdue(timeout, mark, now, self.server.limits):
            if timeout is Timeout.STALL:
                self.reset()
            else:
                if self.state is State.READING_HEAD:
                    self.server.record_unread(self.peer, *HEAD_TIMEOUT)
                self.transport.abort()
        ends = self._client_ended or (self.server.draining and self.state is _IDLE)
        if ends and self.transport is not None and self._is_waiting_for_a_request():
            self.close_gracefully()

    def _waiting_for(self) -> tuple[Timeout, float]:
        """The time-out that runs, and its mark: see timeouts.py."""
        if self.sender is not None:
            progress: int | None = self.sender.progress()
            return (Timeout.NONE, 0) if progress is None else (Timeout.STALL, progress)
        if self._paused and self.transport is not None:
            return Timeout.STALL, self.transport.get_write_buffer_size()
        if self.state is _WITH_AIOHTTP:
            self._is_back_from_aiohttp()
        timeout = TIMEOUTS[self.state]
        if timeout is not Timeout.NONE and self.client_socket is not None:
            unacknowledged = self.client_socket.unacknowledged()
            if unacknowledged:  # the kernel still sends the last answer
                return Timeout.STALL, -unacknowledged
        return timeout, self._answered_at

"""One client's connection: bytes in, requests out.

Heads are read one at a time, and only as a whole (request_reader.py). Each request is answered right here,
without a task and without aiohttp's request and response objects (together about 150 µs a request).

The rules:
- The states of a connection are a table: see connection_state.py. What a connection waits for follows from
  its state: see timeouts.py. The server sweeps over all connections once a second.
- Bytes that cannot be read yet are kept as they came: a part of a head, and what arrives during an answer.
  A part of a head is at most `max_head` bytes (http/framing.py). Of the rest we keep MAX_PENDING_BYTES;
  after that we stop reading.
- A connection gives one answer at a time, and no answer while the client leaves earlier ones unread.
- A request body is dropped before the request is answered. When it is longer than MAX_BODY_BYTES, invalid or
  late, or when the client wants to be told to send it, the answer is given without it, and the connection
  closes. The body of a request that is passed on to the web process (passing.py) goes on as it arrives.
- A client may end its side at once. The requests that it sent before are still answered.
- We end our side first, and go on reading for a moment before we close, because a reset could overtake our
  answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final, cast

from gateway.dataplane.connection_server import ConnectionServer
from gateway.dataplane.connection_state import TIMEOUTS, WAITING_FOR_A_REQUEST, Event, State, after
from gateway.dataplane.delivery.client_socket import RESET, ClientSocket
from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.dataplane.timeouts import Timeout, Watch
from gateway.errors import OVERLOADED, Refusal, Refused
from gateway.http.framing import HEAD_END, Body, check_beginning
from gateway.http.pages import refusal_answer
from gateway.runtime.metrics import CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_REFUSED
from gateway.runtime.peers import read_peer

MAX_PENDING_BYTES: Final = 64 * 1024
"""Bytes of later requests that are kept during an answer; more are left in the kernel."""
HEAD_TIMEOUT: Final = (408, "head_timeout")
"""How a head that did not come in time is logged. Its client gets no answer, because it is not listening."""
MAX_BODY_BYTES: Final = 1024 * 1024
"""A request body of up to this size is read and dropped, so that the next request can be read."""
MAX_REFUSING: Final = 32
"""How many refused connections may wait for their end at once. More are closed without an answer."""

_AFTER_HEAD_PART: Final = after(Event.HEAD_PART)
_AFTER_BODY_AWAITED: Final = after(Event.BODY_AWAITED)
_AFTER_REQUEST: Final = after(Event.REQUEST)
_AFTER_ANSWERED: Final = after(Event.ANSWERED)
_AFTER_THROTTLE: Final = after(Event.THROTTLE)
_AFTER_CLIENT_EOF: Final = after(Event.CLIENT_EOF)
_AFTER_CLOSE: Final = after(Event.CLOSE)
_AFTER_LOST: Final = after(Event.LOST)
_BETWEEN: Final = frozenset((State.NEW, State.IDLE))
_ENDING: Final = frozenset((State.LINGERING, State.CLOSED))
_IDLE: Final = State.IDLE
_ANSWERING: Final = State.ANSWERING


class ClientConnection(asyncio.Protocol):
    """One client's connection.

    exchange: the request being answered, or whose body arrives. peer: the client's address
    (runtime/peers.py); a connection without one is ended unread. sender: the delivery under way, when it does
    not go through the transport alone (delivery/sender.py). throttled: whether nothing is read for a moment
    after the answer under way.
    """

    __slots__ = (
        "__weakref__",
        "_answered_at",
        "_body",
        "_client_ended",
        "_loop",
        "_paused",
        "_pending",
        "_watch",
        "client_socket",
        "exchange",
        "peer",
        "sender",
        "server",
        "state",
        "throttled",
        "transport",
    )

    def __init__(self, server: ConnectionServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.state = State.NEW
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.client_socket: ClientSocket | None = None
        self.peer: Any = None
        self.sender: Any = None
        self.throttled = False
        self._loop = loop
        self._pending = b""  # a part of a head, or what arrived during an answer and is read after it
        self._body: Body | None = None  # of the exchange, while it arrives
        self._paused = False  # the client leaves bytes unread
        self._client_ended = False
        self._answered_at = 0.0
        self._watch = Watch(Timeout.HEADER, 0.0, loop.time())

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self.server
        self.transport = own = cast("asyncio.Transport", transport)  # uvloop's has another base
        self.peer = read_peer(own)
        server.connections[self] = own
        server.count(CONNECTIONS)
        server.count(CONNECTIONS_ACCEPTED)
        if self.peer is None:
            self.state = _AFTER_CLOSE[self.state]
            self.reset()
        elif (surplus := len(server.connections) - server.limits.max_connections) > 0:
            server.count(CONNECTIONS_REFUSED)
            if surplus <= MAX_REFUSING:
                self.refuse_and_close(OVERLOADED)
            else:
                server.record_unread(self.peer, 0, OVERLOADED.code)
                self.state = _AFTER_CLOSE[self.state]
                self.reset()

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state in _ENDING:
            return
        self.server.scheduler.request_arrived()
        if state in _BETWEEN and not self._pending and not self._paused:
            if not self._read_quickly(data):
                self._read(data, 0)
        elif state is State.READING_HEAD:
            known, data = len(self._pending), self._pending + data
            self._pending = b""
            self._read(data, known)
        elif state is State.READING_BODY:
            self._read_body(data)
        else:
            self._keep(data)

    def eof_received(self) -> bool:
        """The client will send no more. It still gets its answers; then the connection closes."""
        self._client_ended = True
        if self.exchange is not None and not self._pending:
            self.exchange.keep_alive = False
        if self.state is State.READING_BODY:
            self._answer_without_body()
        elif self.exchange is not None and self.exchange.body is not None:
            self.sender.client_ended()
        elif self._is_waiting_for_a_request():
            self.state = _AFTER_CLIENT_EOF[self.state]
        return self.state is not State.LINGERING and not self.is_tls()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self.sender is not None:
            self.sender.resume()
        elif self.state is not _ANSWERING:
            self.read_pending()

    def connection_lost(self, exc: BaseException | None) -> None:
        del exc
        self.transport = None
        self.server.connections.pop(self, None)
        self.server.count(CONNECTIONS, -1)
        self.state = _AFTER_LOST[self.state]
        self._pending = b""
        if self.sender is not None:
            self.sender.connection_lost()
        if self.client_socket is not None:
            self.client_socket.close()

    # Reading requests.

    def _read_quickly(self, data: bytes) -> bool:
        """Begin to answer, if `data` is one head that needs no parser."""
        server = self.server
        reader = server.reader
        exchange = reader.read_quickly(self, data) if len(data) <= reader.max_quick_bytes else None
        if exchange is None:
            return False
        self.exchange = exchange
        self.state = _AFTER_REQUEST[self.state]
        server.begin(exchange)
        return True

    def _read(self, data: bytes, known: int) -> None:
        """Read the head with which `data` begins, if it is complete. known: as for `check_beginning`."""
        data = data.lstrip(b"\r\n") if not known else data
        end = data.find(HEAD_END, max(0, known - len(HEAD_END))) + len(HEAD_END)
        try:
            if end < len(HEAD_END):
                check_beginning(data, known, self.server.limits)
                if data:
                    self._pending = data
                    self.state = _AFTER_HEAD_PART[self.state]
                return
            head, self._pending = data[:end], data[end:]
            was_tried = not known and end == len(data)
            if was_tried or not self._read_quickly(head):
                self._read_any(head)
        except Refused as refused:
            self.refuse_and_close(refused.refusal)

    def _read_any(self, head: bytes) -> None:
        """Read any whole head. Raises Refused."""
        exchange, framing = self.server.reader.read(self, head)
        self.exchange = exchange
        body = framing.body
        if body is None:
            self._begin(exchange)
            return
        if self.server.passes_on(exchange):
            self._begin_with_body(exchange, body)
            return
        self.state = _AFTER_BODY_AWAITED[self.state]
        self._body = body
        if "Expect" in exchange.headers or (body.length or 0) > MAX_BODY_BYTES:
            self._answer_without_body()
        else:
            data, self._pending = self._pending, b""
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        """Drop a part of a request body, and answer after the last one. What follows it is kept."""
        exchange, body = self.exchange, self._body
        assert exchange is not None
        assert body is not None
        rest = body.take(data)
        if body.ended:
            self._body = None
            self._pending = rest
            self._begin(exchange)
        elif body.broken or body.size > MAX_BODY_BYTES:
            self._answer_without_body()

    def _answer_without_body(self) -> None:
        """Answer a request whose body will not be read to its end. Nothing after it can be read, either."""
        assert self.exchange is not None
        self.exchange.keep_alive = False
        self._pending = b""
        self._body = None
        self._begin(self.exchange)

    def _begin_with_body(self, exchange: Exchange, body: Body) -> None:
        """Begin to answer a request whose sender takes the body as it arrives."""
        exchange.body = body
        data, self._pending = self._pending, b""
        self._begin(exchange)
        if data and self.state is _ANSWERING:
            self._keep(data)

    def _begin(self, exchange: Exchange) -> None:
        """Begin to answer."""
        self.state = _AFTER_REQUEST[self.state]
        self.server.begin_any(exchange)

    def _is_waiting_for_a_request(self) -> bool:
        """Whether everything that the client has asked is answered."""
        if self.state is State.READING_HEAD:
            return True  # what is kept is the part of a head
        return self.state in WAITING_FOR_A_REQUEST and not self._pending

    # One answer after the other.

    def _keep(self, data: bytes) -> None:
        """Keep what arrives during an answer, to read it afterwards. A body that is passed on goes on."""
        exchange = self.exchange
        if exchange is not None and exchange.body is not None:
            data = self.sender.take_body(data)
        if exchange is not None and not exchange.keep_alive:
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
        if state is _IDLE:
            if not exchange.keep_alive or self.server.draining:
                self.close_gracefully()
            elif self.throttled:
                self.throttled = False
                self.state = _AFTER_THROTTLE[state]
                self.server.throttle.hold(self)
            elif self._pending or self._client_ended:
                self.read_pending()

    def read_again(self) -> None:
        """Read what a client has sent while it was throttled."""
        self.state = after(Event.READ_AGAIN).get(self.state, self.state)
        self._read_pending()

    def read_pending(self) -> None:
        """Read what arrived during an answer, in the next turn of the event loop."""
        self._loop.call_soon(self._read_pending)

    def _read_pending(self) -> None:
        if self.state not in _BETWEEN or self._paused or self.transport is None:
            return
        data, self._pending = self._pending, b""
        self.transport.resume_reading()
        if data:
            self.data_received(data)
        if self._client_ended and self._is_waiting_for_a_request():
            self.close_gracefully()

    # Closing.

    def close_gracefully(self) -> None:
        """Send what is buffered and the end of our stream, and wait a moment for the client's end."""
        self.state = _AFTER_CLOSE[self.state]
        self._pending = b""
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

    def is_tls(self) -> bool:
        """Whether bytes go through TLS."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def is_full(self) -> bool:
        """Whether the client leaves unread what it was sent."""
        return self._paused

    def reset(self) -> None:
        """Break the connection with a reset: the kernel sends nothing more, and keeps nothing."""
        if self.transport is not None:
            own_socket = self.transport.get_extra_info("socket")
            if own_socket is not None:  # with TLS there is none once a write has failed
                with contextlib.suppress(OSError):
                    own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def open_client_socket(self) -> ClientSocket:
        """The duplicate of the client's socket, which is opened once. Raises ClientGone."""
        if self.client_socket is None:
            own_socket = None if self.transport is None else self.transport.get_extra_info("socket")
            if own_socket is None:  # lost, or (with TLS) about to be, because a write has failed
                raise ClientGone
            self.client_socket = ClientSocket(own_socket)
        return self.client_socket

    # Time-outs.

    def sweep(self, now: float) -> None:
        """Close the connection when what it waits for is overdue. To be called about once a second."""
        if self.transport is None:  # lost since the server listed its connections
            return
        timeout, mark = self._waiting_for()
        if self._watch.is_overdue(timeout, mark, now, self.server.limits):
            if timeout is Timeout.STALL:
                self.reset()
            elif timeout is Timeout.BODY:
                self._answer_without_body()
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
        timeout = TIMEOUTS[self.state]
        if timeout is not Timeout.NONE and self.client_socket is not None:
            unacknowledged = self.client_socket.unacknowledged()
            if unacknowledged:  # the kernel still sends the last answer
                return Timeout.STALL, -unacknowledged
        return timeout, self._answered_at

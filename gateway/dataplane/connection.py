"""Bytes in, requests out: aiohttp's connection, with downloads answered on the spot.

aiohttp's C parser reads every request but the plainest (rules/heads.py). One that asks for a download,
has no body and finds the connection idle is answered right here, without a task and without aiohttp's
request and response objects (together about 150 µs a request). Everything else goes the ordinary way:
through aiohttp's own loop to `Server.handle`, which answers in the same manner. So order, bodies, `Expect`
and upgrades are aiohttp's business, and speed is ours.

The rules:
- One answer at a time a connection, and none while the client leaves the last ones unread. What arrives
  meanwhile is kept, up to EARLY_BYTES, then not read.
- A client may close its sending side at once; what it asked before is answered all the same.
- We close by our end of stream first, and read on for a moment: a reset must not overtake our answer.
- A connection is always waiting for exactly one thing, which has a limit of its own (`Wait`): a request
  head, the next request, the client taking bytes, the client closing. There is no limit on a whole
  transfer. One sweep a second looks at them all; no timer is set for a request.
- Stalled is who takes nothing for `stall_timeout`, after a pause that bytes taken before have paid for, a
  second each PAUSE_BYTES: a client that paces itself (curl --limit-rate) takes 10 MB at once and then
  sleeps for as long as its rate asks.
- aiohttp's own keep-alive timer would close a connection during a long transfer; it is switched off.

aiohttp internals relied on, all of them here and in server.py, each tested in test_aiohttp_internals.py:
RequestHandler: _parser.feed_data, _parser.message_consumed, _loop, _messages, _waiter, _request_count,
_upgraded, _payload_parser, _message_tail, _force_close, _close, _paused, _buffer_paused, _reading_paused,
_max_msg_queue_size, _pause_reading_for_buffer, _drain_helper, _process_keepalive, _keepalive_handle,
handle_error, log_exception; EMPTY_PAYLOAD; StreamResponse._keep_alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.dataplane.delivery.client_socket import ClientSocket
from gateway.dataplane.exchange import NO_HEADERS, ClientGone, Exchange
from gateway.dataplane.timeouts import Wait
from gateway.errors import BAD_REQUEST, METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED_HERE, OVERLOADED, Refusal
from gateway.http.pages import refusal_answer
from gateway.http.request_heads import read_plain_head, read_plain_question
from gateway.http.targets import is_file_target
from gateway.runtime.metrics import CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_REFUSED

if TYPE_CHECKING:
    from gateway.dataplane.server import Server

_log = logging.getLogger("gateway")

EARLY_BYTES: Final = 64 * 1024
"""Bytes of later requests kept while one is answered; more are left in the kernel."""
PAUSE_BYTES: Final = 64 * 1024
PAUSE_SECONDS: Final = 60.0
"""The longest pause that may be paid for."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
HEAD_END: Final = b"\r\n\r\n"
REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} ([!-~]+) HTTP/1\.[01]\r\n")
"""Of any method, also one that aiohttp's parser does not know (RFC 9110 section 9.1)."""
TURN_SECONDS: Final = 0.001
DOWNLOAD_PATHS: Final = ("/download", "/auth")
METHODS: Final = frozenset(("GET", "HEAD"))


class Answered(web.StreamResponse):
    """Tells aiohttp's loop that the answer has been sent already, and whether to go on."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self._keep_alive = keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing: it has been sent."""

    async def write_eof(self, data: Any = b"") -> None:
        """Send nothing: it has been sent."""


class ClientConnection(RequestHandler):
    """One client's connection. aiohttp's, with downloads answered without it."""

    __slots__ = (
        "_at_boundary",
        "_early",
        "_half_closed",
        "_head_begun",
        "_served",
        "_since",
        "_taken",
        "_waits",
        "exchange",
        "lingering",
        "outlet",
        "peer",
        "sender",
        "server",
    )

    def __init__(self, manager: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.server = manager
        self.exchange: Exchange | None = None
        self.outlet: ClientSocket | None = None
        self.peer: Any = None  # the client's address as the socket names it
        self.sender: Any = None  # the delivery under way, when it does not go through the transport
        self._early = b""
        self._half_closed = False
        self._head_begun = True  # a new connection owes a request head at once
        self._at_boundary = True  # aiohttp's parser holds no part of a head
        self.lingering = False
        self._served = 0
        self._waits: tuple[Wait, int] = (Wait.HEAD, 0)
        self._since = loop.time()
        self._taken = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = transport.get_extra_info("peername")
        self.server.count(CONNECTIONS)
        self.server.count(CONNECTIONS_ACCEPTED)
        if len(self.server.connections_by_handler) > self.server.limits.max_connections:
            self.server.count(CONNECTIONS_REFUSED)
            self.refuse_all(OVERLOADED)

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            return
        self.server.turns.hasten()
        if self.exchange is not None or self._early or self._paused:
            self._keep_early(data)
            return
        if self._is_with_aiohttp():
            self._at_boundary = self._head_begun = False
            super().data_received(data)
            return
        rest = b""
        if self._at_boundary:
            if len(data) <= self.server.plain_bytes and self._answer_plain(data, rest):
                return
            end = data.find(HEAD_END) + len(HEAD_END)
            if len(HEAD_END) < end < len(data):  # one head at a time: what follows cannot spoil its answer
                data, rest = data[:end], data[end:]
                if len(data) <= self.server.plain_bytes and self._answer_plain(data, rest):
                    return
        self._parse(data, rest)

    def _is_with_aiohttp(self) -> bool:
        """Whether aiohttp's loop is at work on this connection: then it goes on reading by itself.

        A loop that was never given a request is not, even if its task has not begun to wait for one.
        """
        waiter = self._waiter
        return (
            (self._request_count > 0 if waiter is None else waiter.done())
            or self._upgraded
            or self._payload_parser is not None
            or self._close
            or self._force_close
        )

    def _answer_plain(self, data: bytes, rest: bytes) -> bool:
        """Answer the commonest request without aiohttp's parser; False when this is another."""
        plain = read_plain_head(data)
        if plain is not None:
            exchange = Exchange(self)
            exchange.file, exchange.token, exchange.agent, exchange.range = plain
            if exchange.file:
                exchange.target = f"/download/{exchange.file}"
        else:
            question = read_plain_question(data)
            if question is None:
                return False
            headers = _forwarded(question.forwarded) if question.forwarded else NO_HEADERS
            exchange = Exchange(self, "GET", "/auth", headers)
            _, exchange.original, exchange.file, exchange.asked_token, exchange.agent, exchange.range = (
                question
            )
        self._head_begun = False
        self._early = rest
        self.exchange = exchange
        self.server.begin(exchange)
        return True

    def _parse(self, data: bytes, rest: bytes) -> None:
        """Let aiohttp's parser read `data`, a whole head where there is a `rest` behind it."""
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
            unknown = REQUEST_LINE.match(data) if isinstance(error, BadHttpMethod) else None
            self.refuse_all(self._no_such_method(unknown[1]) if unknown else BAD_REQUEST)
            return
        self._early = rest
        if not messages:
            if data:
                self._at_boundary, self._head_begun = False, True
            return
        self._head_begun = False
        message, payload = messages[0]
        if len(messages) == 1 and not upgraded and payload is EMPTY_PAYLOAD and _is_ours(message):
            self._parser.message_consumed()
            self._at_boundary = data.endswith(HEAD_END)  # and no part of another head behind it
            self.exchange = exchange = begin_exchange(self, message)
            self.server.begin(exchange)
        else:
            self._at_boundary = bool(rest)
            self._hand_over(messages, upgraded, tail)

    def _no_such_method(self, target: bytes) -> Refusal:
        preflights = self.server.cors_origins and is_file_target(target.decode())
        return METHOD_NOT_ALLOWED_HERE if preflights else METHOD_NOT_ALLOWED

    def _hand_over(self, messages: list[Any], upgraded: bool, tail: bytes) -> None:
        """Give requests to aiohttp's loop, which is waiting for some."""
        self._request_count += len(messages)
        self._messages.extend(messages)
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail
        if len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()  # the parser keeps the rest, and aiohttp asks for it
        if self._waiter is not None:
            self._waiter.set_result(None)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more. It still gets its answers; then the connection closes."""
        self._half_closed = True
        if self.exchange is not None and not self._early and not self._messages:
            self.exchange.keep = False
        return not (self.lingering or self._is_idle() or self._is_secure())

    def _is_secure(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sender is not None:
            self.sender.resume()
        elif self.exchange is None:
            self.read_on()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.server.count(CONNECTIONS, -1)
        self._early = b""
        if self.sender is not None:
            self.sender.lose()
        if self.outlet is not None:
            self.outlet.close()

    def open_outlet(self) -> ClientSocket:
        """Give the way past the transport; opened once. Raises ClientGone."""
        if self.outlet is None:
            if self.transport is None:
                raise ClientGone
            self.outlet = ClientSocket(self.transport)
        return self.outlet

    # One answer after the other.

    def _is_idle(self) -> bool:
        """Nothing was asked that has not been answered."""
        waiter = self._waiter
        asked = self.exchange is not None or self._early or self._messages
        return not asked and waiter is not None and not waiter.done()

    def _keep_early(self, data: bytes) -> None:
        if self.exchange is not None and not self.exchange.keep:
            return  # the connection closes after this answer: nobody will read it
        self._early += data
        if len(self._early) > EARLY_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def finish(self, exchange: Exchange) -> None:
        """An answer is complete: log it, then read on, or close."""
        self.exchange = None
        self.sender = None
        self._served += 1
        self.server.record(exchange)
        if exchange.waiter is not None:  # aiohttp's loop asked, and goes on
            exchange.waiter.set_result(None)
        elif self.transport is not None:
            if not exchange.keep or self.server.draining:
                self.close_gently()
            elif self._early or self._half_closed:
                self.read_on()

    def read_on(self) -> None:
        """Take up what came during an answer, in the next turn of the loop."""
        self._loop.call_soon(self._read_early)

    def _read_early(self) -> None:
        if self.transport is None or self.exchange is not None or self._paused or self.lingering:
            return
        if self._request_count and self._waiter is None and not self._close and not self._force_close:
            self._loop.call_later(TURN_SECONDS, self._read_early)  # aiohttp's loop is still on its way back
            return
        data, self._early = self._early, b""
        if not self._buffer_paused and not self._reading_paused:
            self.transport.resume_reading()
        self.data_received(data)
        if self._half_closed and self._is_idle():
            self.close_gently()

    def close_gently(self) -> None:
        """Send what is buffered and our end of stream, and wait a little for the client's."""
        self.lingering = True
        self._early = b""
        self._force_close = True  # aiohttp's loop ends, and leaves the closing to us
        if self.transport is not None:
            if self._is_secure():
                self.transport.close()  # TLS has an end of its own, and no half of one
                return
            with contextlib.suppress(RuntimeError, OSError):
                self.transport.write_eof()
                self.transport.resume_reading()

    def reset(self) -> None:
        """Break the connection with a reset: the kernel sends nothing more, and keeps nothing."""
        if self.transport is not None:
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
                )
            self.transport.abort()

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer what cannot be read, or is too much, and close."""
        if self.transport is not None:
            head, body = refusal_answer(refusal, None, html=False)
            self.transport.write(b"".join((head, self.server.date_field, b"Connection: close\r\n\r\n", body)))
            self.server.record_refused(refusal)
        self.close_gently()

    # Time.

    def _waiting_for(self) -> tuple[Wait, int]:
        """What the connection waits for, and a mark that changes whenever there is progress."""
        if self.sender is not None:
            mark: int | None = self.sender.progress()
            return (Wait.NOTHING, 0) if mark is None else (Wait.RECEIVER, mark)
        if self._paused and self.transport is not None:
            return Wait.RECEIVER, self.transport.get_write_buffer_size()
        if not self.lingering and (self.exchange is not None or self._waiter is None or self._waiter.done()):
            return Wait.NOTHING, 0
        if self.outlet is not None and (owed := self.outlet.unacknowledged()):
            return Wait.RECEIVER, -owed  # the kernel still sends the last answer
        if self.lingering:
            return Wait.CLOSE, 0
        return (Wait.HEAD if self._head_begun else Wait.NEXT), self._served + self._request_count

    def sweep(self, now: float) -> None:
        """Close the connection when what it waits for is overdue. Called about once a second."""
        if self.transport is None:  # lost; aiohttp's table does not know it yet
            return
        waits = self._waiting_for()
        if waits != self._waits:
            self._since = self._pause_until(waits, now)
            self._waits = waits
        elif now - self._since >= self.server.limits.seconds(waits[0]):
            if waits[0] is Wait.RECEIVER:
                self.reset()
            else:
                self.transport.abort()
        ending = self._half_closed or (self.server.draining and not self._head_begun)
        if ending and self.transport is not None and self._is_idle():
            self.close_gently()

    def _pause_until(self, waits: tuple[Wait, int], now: float) -> float:
        """When the wait begins to count: now, or later for a receiver that has just taken much."""
        if waits[0] is not Wait.RECEIVER:
            return now
        taken = max(0, waits[1] - self._taken)
        self._taken = waits[1]
        return min(max(now, self._since) + taken / PAUSE_BYTES, now + PAUSE_SECONDS)

    def _process_keepalive(self) -> None:
        """Aiohttp's timer: the sweep does this, and knows what a transfer is."""
        self._keepalive_handle = None

    # aiohttp's own reports, which quote requests and so could quote a token.

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """A request that aiohttp could not read is refused; one that ended by a defect breaks off.

        The text is not quoted.
        """
        if status == 400:
            self.refuse_all(BAD_REQUEST)
        else:
            _log.error("a request ended by an unexpected error: %s", type(exc).__name__)
            self.reset()
        return Answered(keep=False)

    def log_exception(self, *_args: Any, **kw: Any) -> None:
        """Report the kind of an unexpected error without its text."""
        error = kw.get("exc_info")
        _log.error("a connection ended by an unexpected error: %s", type(error).__name__)


def _forwarded(client: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({"X-Forwarded-For": client}))


def _is_ours(message: RawRequestMessage) -> bool:
    """Whether this is a download or an authorisation, plainly spelled, to be answered without aiohttp."""
    return (
        message.method in METHODS
        and message.path.startswith(DOWNLOAD_PATHS)
        and (message.version == HttpVersion11 or message.version == HttpVersion10)
    )


def begin_exchange(connection: ClientConnection, message: RawRequestMessage) -> Exchange:
    """The exchange for a request that aiohttp's parser has read."""
    return Exchange(
        connection,
        message.method,
        message.path,
        message.headers,
        # what follows a request to upgrade may be of the other protocol, or lost in aiohttp's parser
        keep=not message.should_close and not message.upgrade,
        is_http10=message.version == HttpVersion10,
    )

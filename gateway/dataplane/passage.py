"""One request on its way to the web process, and the answer on its way back.

- The head goes first, then the body as it arrives, framed anew. While the web process takes nothing, nothing
  is read from the client, and while the client takes nothing, nothing is read from the web process. So a
  passage keeps some 100 KiB at most.
- The body must go on within `header_timeout` and end within `stall_timeout`, or the answer is 408. One of
  more than MAX_BODY bytes is answered with 413 as soon as that is known.
- The web process must take or send something within `answer_timeout`, or the answer is 503.
- An answer may come before the body has ended. Then the rest of the body is dropped, and the client's
  connection closes after the answer.
- Once the head of the answer has been sent, a failure breaks the client's connection (ending.py).
- When the client is lost, or ends its side within the body, the connection to the web process is broken, so
  the request ends there, too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, cast

from gateway.dataplane.exchange import Channel, ClientGone, Exchange
from gateway.errors import BAD_REQUEST, REQUEST_TIMEOUT, TOO_LARGE, WEB_UNAVAILABLE, Refused
from gateway.http.passed_answers import AnswerReader, chunk, client_head
from gateway.http.passing import MAX_BODY
from gateway.runtime.deferred import Deferred

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Times(NamedTuple):
    """Seconds: the settings `header_timeout` and `stall_timeout`, and ANSWER_SECONDS of passing.py."""

    body_progress: float
    body: float
    answer: float


class PassingChannel(Channel, Protocol):
    """The part of a client's connection that passing on needs."""

    def is_full(self) -> bool:
        """Whether the client leaves unread what it was sent, so that more is kept in memory."""


class WebLink(asyncio.Protocol):
    """The connection to the web process. It only tells the passage what happens."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._passage.web_connected(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._passage.web_answers(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        del exc
        self._passage.web_lost()

    def pause_writing(self) -> None:
        self._passage.web_pauses(True)

    def resume_writing(self) -> None:
        self._passage.web_pauses(False)


class Passage:
    """The sender of an exchange whose answer the web process gives.

    outcome: set once the answer is complete, or with the error that ends it. held: bytes of the body that
    went on. hold: counts more of them; raises Refused when there are too many.
    """

    def __init__(self, exchange: Exchange, head: bytes, times: Times, hold: Callable[[int], None]) -> None:
        self.outcome: Deferred[None] = Deferred()
        self.held = 0
        self._exchange = exchange
        self._connection = cast("PassingChannel", exchange.connection)
        self._body = exchange.body
        self._times = times
        self._hold = hold
        self._loop = asyncio.get_running_loop()
        self._web: asyncio.Transport | None = None
        self._waiting = [head]  # for the connection to the web process
        self._reader = AnswerReader(exchange.method)
        self._sends_chunks = False
        self._awaits_continue = self._body is not None and "Expect" in exchange.headers
        self._reads_client = True
        self._web_is_full = False
        self._client_is_full = False
        self._started = self._moved = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._connection.sender = self
        if self._body is not None:
            self._body.pieces = []
            self._read_client(False)
        self._watch()

    def close(self) -> None:
        """Break the connection to the web process, and read from the client again."""
        if not self.outcome.done:
            self.outcome.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._web is not None:
            self._web.abort()
        self._read_client(True)

    # What the client's connection calls.

    def take_body(self, data: bytes) -> bytes:
        """Pass on what of this belongs to the body. Returns what follows the body."""
        body = self._body
        if body is None or body.ended:
            return data
        if self.outcome.done or self._exchange.begun:
            return b""
        assert body.pieces is not None
        rest = body.take(data)
        content = b"".join(body.pieces)
        body.pieces.clear()
        self.held += len(content)
        if body.broken:
            self._fail(Refused(BAD_REQUEST))
        elif self.held > MAX_BODY:
            self._fail(Refused(TOO_LARGE))
        else:
            self._send_body(content)
        return rest

    def client_ended(self) -> None:
        """The client has ended its side. Before the end of its body, that ends the request."""
        if self._body is not None and not self._body.ended:
            self._fail(Refused(BAD_REQUEST))

    def connection_lost(self) -> None:
        """The client is gone."""
        self._fail(ClientGone())

    def resume(self) -> None:
        """The client takes more again."""
        self._client_is_full = False
        self._moved = self._loop.time()
        if self._web is not None:
            self._web.resume_reading()

    def progress(self) -> int | None:
        """A number that changes when the client takes something; None while it has taken all."""
        transport = self._connection.transport
        unsent = 0 if transport is None else transport.get_write_buffer_size()
        return -unsent if unsent else None

    # What the connection to the web process calls.

    def web_connected(self, transport: asyncio.Transport) -> None:
        """Send what has been waiting."""
        self._web = transport
        if self.outcome.done:
            transport.abort()
            return
        self._moved = self._loop.time()
        transport.write(b"".join(self._waiting))
        self._waiting.clear()
        self._read_client(not self._web_is_full)
        self._watch()

    def web_pauses(self, is_full: bool) -> None:
        """The web process takes no more of the body, or takes more again."""
        self._web_is_full = is_full
        self._moved = self._loop.time()
        self._read_client(not is_full)
        if not self.outcome.done:
            self._watch()

    def web_answers(self, data: bytes) -> None:
        """Pass on a part of the answer."""
        if self.outcome.done:
            return
        reader, exchange = self._reader, self._exchange
        self._moved = self._loop.time()
        content = reader.feed(data)
        if reader.broken:
            self._fail(Refused(WEB_UNAVAILABLE))
            return
        if reader.head is None:
            if reader.continues and self._awaits_continue:
                self._ask_for_body()
            return
        try:
            self._send_answer(content)
        except ClientGone as error:
            self._fail(error)
            return
        if reader.ended:
            exchange.whole = True
            self.outcome.set_result(None)

    def web_lost(self) -> None:
        """The web process has ended the connection."""
        if self.outcome.done:
            return
        if not self._reader.end_of_stream():
            self._fail(Refused(WEB_UNAVAILABLE))
            return
        self._send_answer(b"")
        self._exchange.whole = True
        self.outcome.set_result(None)

    # Sending.

    def _send_body(self, content: bytes) -> None:
        assert self._body is not None
        try:
            self._hold(len(content))
        except Refused as refused:
            self._fail(refused)
            return
        self._moved = self._loop.time()
        self._awaits_continue = False
        is_chunked = self._body.length is None
        data = chunk(content) if is_chunked and content else content
        if is_chunked and self._body.ended:
            data += chunk(b"")
        if self._web is None:
            self._waiting.append(data)
        elif data:
            self._web.write(data)

    def _ask_for_body(self) -> None:
        self._awaits_continue = False
        transport = self._connection.transport
        if transport is not None:
            transport.write(CONTINUE)
        self._watch()

    def _send_answer(self, content: bytes) -> None:
        """Send the head, if it was not sent, and more of the body. Raises ClientGone."""
        exchange, reader, transport = self._exchange, self._reader, self._connection.transport
        if transport is None:
            raise ClientGone
        data = b""
        if not exchange.begun:
            data = self._begin_answer()
        exchange.sent += len(content)
        if self._sends_chunks:
            data += chunk(content) if content else b""
            data += chunk(b"") if reader.ended else b""
        else:
            data += content
        if data:
            transport.write(data)
        if self._connection.is_full() and not reader.ended and self._web is not None:
            self._client_is_full = True
            self._web.pause_reading()

    def _begin_answer(self) -> bytes:
        exchange, reader = self._exchange, self._reader
        head = reader.head
        assert head is not None
        if self._body is not None and not self._body.ended:
            exchange.keep_alive = False
        if reader.has_body and head.length is None:
            self._sends_chunks = not exchange.is_http10
            exchange.keep_alive = exchange.keep_alive and self._sends_chunks
        self._read_client(True)
        return exchange.begin(head.status, client_head(head, is_chunked=self._sends_chunks), has_cors=False)

    def _read_client(self, reads: bool) -> None:
        """Read from the client, or leave what it sends in the kernel."""
        transport = self._connection.transport
        if reads is self._reads_client or transport is None:
            return
        self._reads_client = reads
        if reads:
            transport.resume_reading()
        else:
            transport.pause_reading()

    # Failing.

    def _fail(self, error: Exception) -> None:
        self.outcome.set_exception(error)

    def _watch(self) -> None:
        """Look whether somebody is overdue, and look again when somebody may be."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        awaits_client = self._awaits_client()
        deadline = self._deadline(awaits_client)
        if now < deadline:
            self._timer = self._loop.call_at(min(deadline, now + self._times.answer), self._watch)
        else:
            self._fail(Refused(REQUEST_TIMEOUT if awaits_client else WEB_UNAVAILABLE))

    def _deadline(self, awaits_client: bool) -> float:
        if self._client_is_full:
            return math.inf  # the connection's own time-out runs: `progress`
        if awaits_client:
            return min(self._moved + self._times.body_progress, self._started + self._times.body)
        return self._moved + self._times.answer

    def _awaits_client(self) -> bool:
        """Whether it is the client that has to send something."""
        body = self._body
        return (
            body is not None
            and not (body.ended or self._exchange.begun or self._awaits_continue)
            and not self._web_is_full
            and self._web is not None
        )

"""One connection of a control-plane service: aiohttp's, within the bounds that the data plane has, too.

- A head must come whole within `header_timeout`, from the first byte of it or from the beginning of the
  connection; it has at most `max_head` bytes, and its request line, Host and framing are held to the rules of
  http/framing.py. aiohttp gets it whole, and only then. This is also so for a head that comes before earlier
  requests are answered: where each request ends is found here.
- A body that a handler reads must go on within `header_timeout` and end within `stall_timeout`
  (`gateway.web.bodies`). One that nobody reads is dropped for LINGER_SECONDS, then the connection closes.
- After the last answer only our side ends. What the client still sends is dropped for LINGER_SECONDS, or
  until its side ends: to close while it sends would reset the connection, and a client that is reset may lose
  the answer (RFC 9112, section 9.6).
- A client must accept what it is sent: the connection is broken when it takes nothing for `stall_timeout`.
- Beyond `max_connections` a connection is refused; beyond MAX_REFUSING more, it is closed without a word.
- What aiohttp refuses itself, such as bytes that are no HTTP, is answered with a problem.

A connection that ends in one of these ways before a request was read has a line in the log, with the client's
address, as far as a flood of them allows (runtime/line_budget.py).

The server looks at each connection about once a second (`ProblemConnection.sweep`). The connection reads
this private part of aiohttp's: `_waiter` (aiohttp waits for a request).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from gateway.errors import (
    HEAD_TOO_LARGE,
    HTTP_VERSION_NOT_SUPPORTED,
    URI_TOO_LONG,
    Refusal,
    Refused,
)
from gateway.http.client_address import peer_address
from gateway.http.framing import HEAD_END, Body, Framing, HeadLimits, check_beginning, check_head
from gateway.runtime.line_budget import LineBudget
from gateway.runtime.peers import PeerName, read_peer
from gateway.web.attempts import ClientAttempts
from gateway.web.problems import (
    Problem,
    head_too_large,
    http_version_not_supported,
    internal_error,
    log_failure,
    malformed_request,
    overloaded,
    uri_too_long,
)
from gateway.web.quick_response import closing_response, quick_problem

LINGER_SECONDS: Final = 2.0
"""How long a client may still send after our last answer: a reset must not overtake it."""
MAX_REFUSING: Final = 32
"""How many refused connections may wait for their end at once. More are closed without an answer."""

_NO_HEAD: Final = b"no head\r\n\r\n"
"""What makes aiohttp answer with an error in its turn, in the place of a head that is not allowed."""
_PROBLEMS: Final[dict[Refusal, Callable[[], Problem]]] = {
    URI_TOO_LONG: uri_too_long,
    HEAD_TOO_LARGE: head_too_large,
    HTTP_VERSION_NOT_SUPPORTED: http_version_not_supported,
}
_lines = LineBudget()  # one a process: its services share it


@dataclass(frozen=True)
class ConnectionLimits:
    """The settings of the same names. max_connections: also bounded by the descriptors of this process.

    head: the limits of a head. key_attempts: counts API keys that are not valid.
    """

    header_timeout: float
    stall_timeout: float
    max_connections: int
    head: HeadLimits
    key_attempts: ClientAttempts


class ProblemConnection(RequestHandler):
    """One connection.

    open_connections: all of the server; the connection adds and removes itself. peer: the client's address
    (runtime/peers.py); a connection without one is ended unread.
    """

    __slots__ = (
        "_body",
        "_head_part",
        "_head_since",
        "_lingers_since",
        "_link",
        "_open_connections",
        "_problem",
        "_service_logger",
        "_unsent",
        "_unsent_since",
        "limits",
        "peer",
    )

    def __init__(
        self,
        server: web.Server,
        limits: ConnectionLimits,
        open_connections: set[ProblemConnection],
        service_logger: logging.Logger,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self.limits = limits
        self._open_connections = open_connections
        self._service_logger = service_logger
        self.peer: PeerName | None = None
        self._link: asyncio.Transport | None = None  # aiohttp forgets its own when it begins to close
        self._head_since: float | None = self._loop.time()
        self._head_part = b""
        self._body: Body | None = None  # of the request whose head came last
        self._problem: Problem | None = None  # of a head that came before earlier requests were answered
        self._lingers_since: float | None = None
        self._unsent = 0
        self._unsent_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = link = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.Transport", _LingeringLink(link, self._end_our_side)))
        self._open_connections.add(self)
        self.peer = read_peer(transport)
        if self.peer is None:
            self._lingers_since = self._loop.time()
            link.abort()
            return
        surplus = len(self._open_connections) - self.limits.max_connections
        if surplus > MAX_REFUSING:
            self._log_unread(0, "overloaded")
            link.abort()
        elif surplus > 0:
            self._refuse(overloaded())

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._open_connections.discard(self)
        self._link = None

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp reads on in what it has
            super().data_received(data)
        while data and self._lingers_since is None and self._problem is None:
            if self._body is None:
                data = self._read_head(data)
                continue
            rest = self._body.take(data)
            super().data_received(data[: len(data) - len(rest)] if rest else data)
            if self._body.broken:  # aiohttp has answered it
                return
            if self._body.ended:
                self._body = None
            data = rest

    def _read_head(self, data: bytes) -> bytes:
        """Give aiohttp a head, once it is whole, and what came of its body. Returns what follows these."""
        known = len(self._head_part)
        part = self._head_part + data if known else data.lstrip(b"\r\n")
        end = part.find(HEAD_END, max(0, known - len(HEAD_END))) + len(HEAD_END)
        is_whole = end >= len(HEAD_END)
        found = _look_at_head(part[:end] if is_whole else part, known, self.limits.head)
        if isinstance(found, Problem):
            self._refuse_in_turn(found)
            return b""
        if found is None:
            self._head_part = part
            if part:
                self._head_since = self._head_since or self._loop.time()
            return b""
        self._head_part = b""
        self._head_since = None
        rest = part[end:]
        if found.body is not None:
            rest = found.body.take(rest)
            self._body = None if found.body.ended else found.body
        super().data_received(part[: len(part) - len(rest)] if rest else part)
        return rest

    def _refuse_in_turn(self, problem: Problem) -> None:
        """Refuse a head: at once, or after the answers to the requests before it."""
        if self._waits_for_a_head():
            self._refuse(problem)
            return
        self._problem = problem
        self._head_since = None
        super().data_received(_NO_HEAD)

    def sweep(self, now: float) -> None:
        """End the connection when its client is overdue. now: seconds of the loop's clock."""
        link = self._link
        if link is None:
            return
        unsent = link.get_write_buffer_size()
        if unsent and self._lingers_since is not None:
            self._lingers_since = now
        if unsent != self._unsent or not unsent:
            self._unsent, self._unsent_since = unsent, now
        is_late = self._head_since is not None and now - self._head_since >= self.limits.header_timeout
        is_over = self._lingers_since is not None and now - self._lingers_since >= LINGER_SECONDS
        if is_late and self._head_part:
            self._log_unread(408, "head_timeout")
        if is_late or is_over or now - self._unsent_since >= self.limits.stall_timeout:
            link.abort()

    def _waits_for_a_head(self) -> bool:
        """Whether every request that has come whole is answered."""
        return self._waiter is not None and not self._waiter.done()

    def close_at_once(self) -> None:
        """End the connection without waiting for its client. The server does it when it stops."""
        if self._link is not None:
            self._link.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer before a request could be read, and close. What the client still sends is not read."""
        self._log_unread(problem.status, problem.code)
        if self._link is not None:
            self._link.write(closing_response(problem))
        self._end_our_side()

    def _end_our_side(self) -> None:
        """End what we send; from now on, what the client sends is dropped."""
        if self._lingers_since is not None:
            return
        self._lingers_since = self._loop.time()
        self._head_since = None
        if self._link is not None:
            with contextlib.suppress(RuntimeError, OSError):
                self._link.write_eof()
                self._link.resume_reading()  # aiohttp may have paused it

    def _log_unread(self, status: int, code: str) -> None:
        """Log that the connection ends before a request was read. status: 0 if nothing was answered."""
        omitted = _lines.take(self._loop.time())
        if omitted is not None:
            client = peer_address(self.peer)
            facts = {"status": status, "code": code, "client": client, "omitted": omitted}
            self._service_logger.warning("refused before a request was read", extra=facts)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp names it; it may quote a header, and so a key
    ) -> web.StreamResponse:
        """Make the response to a request that failed outside of every handler; the connection then closes."""
        if self._problem is not None and status < 500:
            problem = self._problem
        elif isinstance(exc, LineTooLong):
            problem = head_too_large()
        elif status < 500:
            problem = malformed_request()
        else:
            problem = internal_error()
            log_failure(exc or RuntimeError(f"aiohttp answers {status}"), self._service_logger)
        if problem.status < 500:
            self._log_unread(problem.status, problem.code)
        response = quick_problem(problem)
        response.force_close()
        return response


class _LingeringLink:
    """A transport as aiohttp sees it: where aiohttp closes it, only our side ends (`end_our_side`)."""

    __slots__ = ("_end_our_side", "_has_ended", "_link")

    def __init__(self, link: asyncio.Transport, end_our_side: Callable[[], None]) -> None:
        self._link = link
        self._end_our_side = end_our_side
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def close(self) -> None:
        self._has_ended = True
        self._end_our_side()

    def is_closing(self) -> bool:
        return self._has_ended or self._link.is_closing()


def _look_at_head(head: bytes, known: int, limits: HeadLimits) -> Problem | Framing | None:
    """Where the request of a head ends; or what is wrong with it; or None if it is not complete.

    known: how many of its bytes were looked at before.
    """
    try:
        if head.endswith(HEAD_END):
            framing = check_head(head, limits)
            return malformed_request() if framing.closes else framing
        if head:
            check_beginning(head, known, limits)
    except Refused as refused:
        return _PROBLEMS.get(refused.refusal, malformed_request)()
    return None

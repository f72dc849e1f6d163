"""aiohttp's side of a connection: how our connection uses aiohttp's loop, and what it replaces there.

aiohttp reads requests, queues them, and handles one after the other in a task of its own, the loop of the
connection. connection.py answers most requests without that loop and hands it the rest.

aiohttp internals relied on, each tested in test_aiohttp_internals.py: RequestHandler: _messages, _waiter,
_request_count, _upgraded, _payload_parser, _message_tail, _force_close, _close, _max_msg_queue_size,
_pause_reading_for_buffer, _process_keepalive, _keepalive_handle, handle_error, log_exception;
BaseRequest._payload; EMPTY_PAYLOAD; StreamResponse._keep_alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from gateway.dataplane.timeouts import LINGER_SECONDS
from gateway.errors import BAD_REQUEST, Refusal, Refused
from gateway.http.targets import TargetKind, read_target

_log = logging.getLogger("gateway")

METHODS: Final = frozenset(("GET", "HEAD"))
DOWNLOAD_PATHS: Final = ("/download", "/auth")
BODY_BYTES: Final = 1024 * 1024
"""A request body of up to this size is read and dropped, so that the next request can be read."""
REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} ([!-~]+) HTTP/1\.[01]\r\n")
"""A request line with any method, also one that aiohttp's parser does not know (RFC 9110 section 9.1)."""
RESET: Final = struct.pack("ii", 1, 0)
"""The socket option SO_LINGER, on, with 0 seconds: closing then resets the connection (socket(7))."""


class AlreadyAnswered(web.StreamResponse):
    """Tells aiohttp's loop that the answer has been sent already, and whether the connection is kept."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self._keep_alive = keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing: the answer has been sent."""

    async def write_eof(self, data: Any = b"") -> None:
        """Send nothing: the answer has been sent."""


class AiohttpConnection(RequestHandler):
    """aiohttp's connection, whose loop we use. Its timer, its error texts and its closing are replaced."""

    __slots__ = ()

    def hand_to_loop(self, messages: list[Any], upgraded: bool, tail: bytes) -> None:
        """Give aiohttp's loop requests that its parser has read. The loop waits, or has not begun yet."""
        self._request_count += len(messages)
        self._messages.extend(messages)
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail
        if len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()  # the parser keeps the rest, and aiohttp reads it later
        if self._waiter is not None:
            self._waiter.set_result(None)

    def is_loop_waiting(self) -> bool:
        """Whether aiohttp's loop has handled everything and waits for a request."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._upgraded or self._payload_parser is not None:
            return False
        return not self._close and not self._force_close

    def is_loop_returning(self) -> bool:
        """Whether aiohttp's loop is handling a request, or on its way back to wait for one."""
        return self._waiter is None and not self._close and not self._force_close

    def end_loop(self) -> None:
        """Let aiohttp's loop end after its current request, without closing the transport."""
        self._force_close = True

    def _process_keepalive(self) -> None:
        """Do nothing: our sweep replaces aiohttp's timer, which would close connections during a transfer."""
        self._keepalive_handle = None

    def is_tls(self) -> bool:
        """Whether bytes go through TLS."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def reset(self) -> None:
        """Break the connection with a reset: the kernel sends nothing more, and keeps nothing."""
        if self.transport is not None:
            with contextlib.suppress(OSError):
                own_socket = self.transport.get_extra_info("socket")
                own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def refuse_and_close(self, refusal: Refusal) -> None:
        """Refuse a request that cannot be read."""
        raise NotImplementedError

    # aiohttp's own log messages quote requests, which may contain a token. These methods quote nothing.

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Refuse a request that aiohttp could not read; break the connection after any other error."""
        if status == 400:
            self.refuse_and_close(BAD_REQUEST)
        else:
            _log.error("a request ended by an unexpected error: %s", type(exc).__name__)
            self.reset()
        return AlreadyAnswered(keep=False)

    def log_exception(self, *_args: Any, **kw: Any) -> None:
        """Log the kind of an unexpected error."""
        error = kw.get("exc_info")
        _log.error("a connection ended by an unexpected error: %s", type(error).__name__)


def is_answered_directly(message: RawRequestMessage) -> bool:
    """Whether we answer this without aiohttp's loop: a download or an authorisation, spelled as usual."""
    return (
        message.method in METHODS
        and message.path.startswith(DOWNLOAD_PATHS)
        and (message.version == HttpVersion11 or message.version == HttpVersion10)
    )


def is_download(message: RawRequestMessage) -> bool:
    """Whether this asks for a download or an authorisation, in any spelling."""
    if message.method not in METHODS:
        return False
    try:
        return read_target(message.path).kind is not TargetKind.OTHER
    except Refused:
        return True  # a target that cannot be read is refused in the same way as a download


def target_of_unknown_method(data: bytes) -> str | None:
    """The target of a request line whose only fault is a method that aiohttp's parser does not know."""
    match = REQUEST_LINE.match(data)
    return match[1].decode() if match else None


async def drop_body(request: web.BaseRequest) -> bool:
    """Read and drop a request body. False when it is too large, broken, or waits for `100 Continue`.

    A client that waits for `100 Continue` does not get it (RFC 9110 section 10.1.1). It gets the final
    answer, and the connection closes.
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
    except (TimeoutError, web.PayloadAccessError, Exception):  # the answer does not depend on a broken body
        return False
    return left >= 0

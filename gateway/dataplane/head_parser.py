"""Reads whole heads with aiohttp's C parser.

A worker has one parser for all connections, because a parser keeps what it has read last: with a parser for
each connection, every one of them would hold a head for as long as it is open. A parser that expects anything
else than another head, or nothing more, is replaced.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.errors import BAD_REQUEST, METHOD_NOT_ALLOWED, Refused
from gateway.http.framing import HeadLimits

PAYLOAD_BYTES: Final = 64 * 1024
"""What aiohttp's stream of a body would hold. The parser wants to know it, but is given no body."""

ENCODED: Final = 3
"""How much longer a request line may become when what is not ASCII in it is percent-encoded."""


class HeadParser:
    """One worker's parser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: HeadLimits) -> None:
        self._loop = loop
        self._limits = limits
        self._parser = self._make()

    def _make(self) -> HttpRequestParser:
        return HttpRequestParser(
            BaseProtocol(self._loop),
            self._loop,
            PAYLOAD_BYTES,
            max_line_size=ENCODED * self._limits.max_line,
            max_headers=self._limits.max_headers,
            max_field_size=self._limits.max_field,
            auto_decompress=False,
        )

    def parse(self, head: bytes, has_body: bool) -> RawRequestMessage:
        """Read a head that `check_head` has checked. has_body: whether that has found a body.

        Raises Refused: METHOD_NOT_ALLOWED for a method that the parser does not know, else BAD_REQUEST.
        """
        try:
            messages, upgraded, _ = self._parser.feed_data(head)
        except BadHttpMethod:
            self._parser = self._make()
            raise Refused(METHOD_NOT_ALLOWED) from None
        except HttpProcessingError:
            self._parser = self._make()
            raise Refused(BAD_REQUEST) from None
        if len(messages) != 1:
            self._parser = self._make()
            raise Refused(BAD_REQUEST)
        message, payload = messages[0]
        expects_body = payload is not EMPTY_PAYLOAD
        if expects_body or upgraded or message.upgrade or message.should_close:
            self._parser = self._make()
        if expects_body != has_body and message.method != "CONNECT":
            raise Refused(BAD_REQUEST)
        assert isinstance(message, RawRequestMessage)
        return message

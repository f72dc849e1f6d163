"""Makes an exchange of each request head: by http/request_heads.py, or by aiohttp's C parser."""

from __future__ import annotations

import asyncio

from aiohttp.http import HttpVersion10

from gateway.dataplane.exchange import Channel, Exchange
from gateway.dataplane.head_parser import HeadParser
from gateway.errors import METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED_HERE, Refused
from gateway.http.framing import Framing, HeadLimits, check_head, target_of_unknown_method
from gateway.http.percent import percent_encode
from gateway.http.request_heads import HeadReader, PlainHead, PlainQuestion
from gateway.http.targets import is_file_target
from gateway.secrets import REDACTED


class RequestReader:
    """One worker's reader of heads. cors: whether `cors_origins` is set."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: HeadLimits, *, cors: bool) -> None:
        reader = HeadReader(limits, cors=cors)
        self.max_quick_bytes = reader.max_bytes
        self._read = reader.read
        self._parser = HeadParser(loop, limits)
        self._limits = limits
        self._cors = cors

    def read_quickly(self, connection: Channel, data: bytes) -> Exchange | None:
        """The exchange for `data`, of at most max_quick_bytes, if it is one head that needs no parser."""
        head = self._read(data)
        if head is None:
            return None
        if isinstance(head, PlainHead):
            exchange = Exchange(connection)
            file, exchange.token, agent, span, accept, forwarded, is_direct = head
            if is_direct:
                exchange.file = file
                exchange.target = f"/download/{REDACTED}/{file}"
            elif file:
                exchange.file = file
                exchange.target = f"/download/{file}"
        elif isinstance(head, PlainQuestion):
            exchange = Exchange(connection, "GET", "/auth")
            exchange.original, exchange.file, exchange.asked_token, agent, span, accept, forwarded = head
        else:
            method, target, fields, keep_alive = head
            return Exchange(connection, method, target, fields, keep_alive)
        if agent:
            exchange.agent = agent
        if span:
            exchange.range = span
        if accept:
            exchange.accept = accept
        if forwarded:
            exchange.forwarded = forwarded
        return exchange

    def read(self, connection: Channel, head: bytes) -> tuple[Exchange, Framing]:
        """The exchange for any whole head, and how its request is framed. Raises Refused."""
        framing = check_head(head, self._limits)
        if not head.isascii():
            line, _, fields = head.partition(b"\n")
            head = percent_encode(line) + b"\n" + fields
        try:
            message = self._parser.parse(head, framing.body is not None)
        except Refused as refused:
            target = target_of_unknown_method(head) if refused.refusal is METHOD_NOT_ALLOWED else None
            if target is not None and self._cors and is_file_target(target):
                raise Refused(METHOD_NOT_ALLOWED_HERE) from None
            raise
        closes = framing.closes or message.should_close or message.method == "CONNECT"
        exchange = Exchange(
            connection,
            message.method,
            message.path,
            message.headers,
            keep_alive=not closes,
            is_http10=message.version == HttpVersion10,
        )
        return exchange, framing

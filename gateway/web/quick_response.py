"""A JSON response that is written whole, head and body in one piece, without aiohttp's machinery.

It serves where microseconds count (the mint service: aiohttp's own `Response` costs 16 µs more) and where no
application runs (a connection that answers bytes that are no HTTP). It cannot stream, compress or carry
cookies, and it ignores `headers` and the signal `on_response_prepare`. In an application use
`gateway.web.responses`. The class uses aiohttp's private `_keep_alive`, which `StreamResponse` sets, and
`_drain_helper` of its connections.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.http.fields import format_date
from gateway.web.problems import CONTENT_TYPE, Problem
from gateway.web.responses import encode_json


def _head(status: int, reason: str, fields: str, connection: str, length: int, version: str = "1.1") -> bytes:
    return (
        f"HTTP/{version} {status} {reason}\r\n{fields}{connection}"
        f"{_date_field(int(time.time()))}Content-Length: {length}\r\n\r\n"
    ).encode()


class QuickResponse(web.StreamResponse):
    """A status and a JSON document, with further header fields as pairs. No cache may store it."""

    def __init__(
        self,
        document: dict[str, Any],
        status: int = 200,
        *,
        content_type: str = "application/json",
        fields: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(status=status)
        self._content = encode_json(document)
        more = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self._fields = f"Content-Type: {content_type}\r\nCache-Control: no-store\r\n{more}"

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the whole response, and wait while the client leaves earlier ones unread.

        Raises ConnectionError when the client has closed the connection.
        """
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client closed the connection")
        major, minor = request.version
        connection = ""
        if self._keep_alive != (minor > 0):  # differs from what the HTTP version means without the field
            connection = f"Connection: {'keep-alive' if self._keep_alive else 'close'}\r\n"
        head = _head(
            self.status, self.reason, self._fields, connection, len(self._content), f"{major}.{minor}"
        )
        transport.write(head if request.method == "HEAD" else head + self._content)
        if request.protocol.writing_paused:  # else a client that sends requests only would fill our memory
            await request.protocol._drain_helper()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written everything."""


def quick_problem(problem: Problem) -> QuickResponse:
    """Make the response that reports a problem."""
    return QuickResponse(
        problem.document(), problem.status, content_type=CONTENT_TYPE, fields=problem.headers.items()
    )


def closing_response(problem: Problem) -> bytes:
    """The whole response that reports a problem where no request was read; the connection then closes."""
    content = encode_json(problem.document())
    fields = "".join(
        f"{name}: {value}\r\n"
        for name, value in {
            "Content-Type": CONTENT_TYPE,
            "Cache-Control": "no-store",
            **problem.headers,
        }.items()
    )
    reason = HTTPStatus(problem.status).phrase
    return _head(problem.status, reason, fields, "Connection: close\r\n", len(content)) + content


@lru_cache(maxsize=1)
def _date_field(second: int) -> str:
    return f"Date: {format_date(second)}\r\n"

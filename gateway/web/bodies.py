"""Reading the JSON body of a request strictly.

What `gateway.http.strict_json` refuses is a 400 that names the fault. The models (`gateway.web.validation`)
refuse everything else: a body that is no object, unknown fields, wrong types (1.0 and true are no integers),
values out of range.

A body is read only as far as its limit, and must arrive in time. The work to parse it grows with its length
only.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import HttpVersion11, web

from gateway.http import strict_json
from gateway.web.connection import ProblemConnection
from gateway.web.problems import Problem, too_large, too_slow

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an ordinary body. Metadata of 4 KiB can be six times as long when all of it is written \\uXXXX."""

AT_HAND: Final = 4096
"""Bytes of a body that is parsed before its sender's key is known, if it has arrived: usual ones are shorter.
So the key is looked up together with what the body asks for. Parsing this much takes less than 0.1 ms."""

_MEDIA_TYPE: Final = re.compile(
    r'application/json[ \t]*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?;?', re.IGNORECASE
)


def check_expectation(request: web.BaseRequest) -> None:
    """Refuse an expectation other than `100-continue` (RFC 9110 section 10.1.1). Raises Problem.

    A client that waits with its body is told to send it when the body is read, so never without a valid key.
    HTTP/1.0 has no expectations: the field is ignored.
    """
    if "Expect" not in request.headers or request.version < HttpVersion11:
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise Problem("expectation_failed", "Send the request without this Expect header.")


def is_at_hand(request: web.BaseRequest) -> bool:
    """Whether the whole body has arrived already and is so short that anybody's may be parsed."""
    return request.content.is_eof() and (request.content_length or 0) <= AT_HAND


async def read_json(request: web.BaseRequest, limit: int = BODY_LIMIT) -> Any:
    """Read and parse the body of a request, which may have `limit` bytes. Raises Problem."""
    media_types = request.headers.getall("Content-Type", [])
    if len(media_types) != 1 or not _MEDIA_TYPE.fullmatch(media_types[0].strip(" \t")):
        raise Problem(
            "unsupported_media_type", "Send the body with the header `Content-Type: application/json`."
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "Send the body as it is, without `Content-Encoding`.")
    return parse_json(await read_body(request, limit))


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes. Raises Problem."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    try:
        return await _read(request, limit)
    except (web.RequestPayloadError, ConnectionError):
        raise Problem(
            "invalid_request", "The body cannot be read: it is cut short or wrongly encoded."
        ) from None


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    """Read at most `limit` bytes, and a chunk more. Raises Problem when there are more, or none in time."""
    content = request.content
    if content.is_eof():
        body = content.read_nowait()
        if len(body) > limit:
            raise too_large(limit)
        return body
    if "Expect" in request.headers and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert isinstance(request.protocol, ProblemConnection)
    limits = request.protocol.limits
    chunks: list[bytes] = []
    left = limit
    try:
        async with asyncio.timeout(limits.stall_timeout):
            while not content.at_eof():
                async with asyncio.timeout(limits.header_timeout):
                    chunks.append(await content.readany())
                left -= len(chunks[-1])
                if left < 0:
                    raise too_large(limit)
    except TimeoutError:
        raise too_slow() from None
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """Parse a body. Raises Problem."""
    try:
        return strict_json.parse(body)
    except strict_json.JsonFault as fault:
        raise Problem("invalid_request", str(fault)) from None

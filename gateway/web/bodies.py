"""Reading the JSON body of a request strictly.

A body that two readers could understand differently is refused, and no body can crash the service. Each of
these is a 400 that names the fault: invalid UTF-8, a byte order mark, duplicate names (RFC 8259 section 4
leaves their meaning open), too many names in one object, NaN and Infinity, numbers that are too long,
nesting that is too deep, an empty body. The models (`gateway.web.validation`) refuse everything else:
a body that is no object, unknown fields, wrong types (1.0 and true are no integers), values out of range.

A body is read only as far as its limit, and must arrive in time. The work to parse it grows with its length
only.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

from aiohttp import HttpVersion11, web

from gateway.web.connection import ProblemConnection
from gateway.web.problems import Problem, too_large, too_slow

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an ordinary body. Metadata of 4 KiB can be six times as long when all of it is written \\uXXXX."""

AT_HAND: Final = 4096
"""Bytes of a body that is parsed before its sender's key is known, if it has arrived: usual ones are shorter.
So the key is looked up together with what the body asks for. Parsing this much takes less than 0.1 ms."""
MAX_MEMBERS: Final = 1000
"""Names of one object. The largest that is accepted, metadata of 4 KiB, has some 700."""
MAX_NUMBER_CHARACTERS: Final = 1000
"""The longest number that is converted, which takes 10 µs. None above 2^53 is accepted, but up to here the
refusal names the field."""

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
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    try:
        body = await _read(request, limit)
    except (web.RequestPayloadError, ConnectionError):
        raise Problem(
            "invalid_request", "The body cannot be read: it is cut short or wrongly encoded."
        ) from None
    return parse_json(body)


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
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("invalid_request", "The body is not UTF-8.") from None
    if text.startswith("\ufeff"):
        raise Problem(
            "invalid_request", "The body begins with a byte order mark (BOM), which JSON does not allow."
        )
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise Problem("invalid_request", f"The body is not JSON: the fault is at {position}.") from None
    except RecursionError:
        raise Problem("invalid_request", "The body is nested too deeply.") from None
    except _AmbiguousError as error:
        raise Problem("invalid_request", f"The body cannot be accepted: {error}.") from None


class _AmbiguousError(Exception):
    """JSON that two readers could understand differently, or not at all."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise _AmbiguousError(f"an object has more than {MAX_MEMBERS} names")
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _AmbiguousError(f"the name {repeated[:100]!r} appears twice in one object")
    return members


def _read_integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARACTERS:
        raise _AmbiguousError("a number is too long")
    return int(digits)


def _read_fraction(text: str) -> float:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise _AmbiguousError("a number is too long")
    return float(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"{name} is not a number in JSON")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_read_integer,
    parse_float=_read_fraction,
    parse_constant=_refuse_constant,
).decode

"""Reading the JSON body of a request strictly.

A body that two readers could understand differently is refused, and no body can crash the service. Each of
these is a 400 that names the fault: invalid UTF-8, a byte order mark, duplicate names (RFC 8259 section 4
leaves their meaning open), NaN and Infinity, numbers that are too long to read, nesting that is too deep, an
empty body. The models (`gateway.web.validation`) refuse everything else: a body that is no object, unknown
fields, wrong types (1.0 and true are no integers), values out of range.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from aiohttp import HttpVersion11, web

from gateway.web.problems import Problem, too_large

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an ordinary body. Metadata of 4 KiB can be six times as long when all of it is written \\uXXXX."""

_MEDIA_TYPE: Final = re.compile(
    r'application/json[ \t]*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?;?', re.IGNORECASE
)


def answer_expectation(request: web.BaseRequest) -> None:
    """Tell a client that waits with its body (RFC 9110 section 10.1.1) to send it. Raises Problem.

    An expectation other than `100-continue` is refused. HTTP/1.0 has no expectations: the field is ignored.
    """
    if "Expect" not in request.headers or request.version < HttpVersion11 or request.transport is None:
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise Problem("expectation_failed", "Send the request without this Expect header.")
    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_json(request: web.BaseRequest, limit: int = BODY_LIMIT) -> Any:
    """Read and parse the body of a request, which may have `limit` bytes. Raises Problem."""
    media_types = request.headers.getall("Content-Type", [])
    if len(media_types) != 1 or not _MEDIA_TYPE.fullmatch(media_types[0].strip(" \t")):
        raise Problem(
            "unsupported_media_type", "Send the body with the header `Content-Type: application/json`."
        )
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large(limit) from None
    except web.RequestPayloadError:
        raise Problem(
            "invalid_request", "The body cannot be read: it is cut short or wrongly encoded."
        ) from None
    if len(body) > limit:
        raise too_large(limit)
    return parse_json(body)


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
        raise Problem("invalid_request", f"The body is not JSON: {error.msg} at {position}.") from None
    except RecursionError:
        raise Problem("invalid_request", "The body is nested too deeply.") from None
    except ValueError as error:  # int() refuses numbers of too many digits; the rest are our own
        detail = str(error) if isinstance(error, _AmbiguousError) else "a number is too long"
        raise Problem("invalid_request", f"The body cannot be accepted: {detail}.") from None


class _AmbiguousError(ValueError):
    """JSON that two readers could understand differently."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _AmbiguousError(f"the name {repeated[:100]!r} appears twice in one object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"{name} is not a number in JSON")


_decode: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode

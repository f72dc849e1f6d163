"""The header field Idempotency-Key (gateway.tokens.idempotency): how it is read, and described in OpenAPI."""

from __future__ import annotations

import re
from typing import Any, Final

from aiohttp import web

from gateway.tokens.idempotency import HEADER
from gateway.web.problems import invalid

KEY_PATTERN: Final = r"^[!-~](?:[ -~]{0,253}[!-~])?$"
_KEY: Final = re.compile(KEY_PATTERN[1:-1])
PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and body within 24 hours get the same response.",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}
"""The parameter object of the OpenAPI document."""


def idempotency_key(request: web.BaseRequest) -> str | None:
    """Read the Idempotency-Key of a request; None when it has none. Raises Problem: invalid_request."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise invalid([(HEADER, "must be 1 to 255 printable ASCII characters, once")])
    return values[0]

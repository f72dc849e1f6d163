"""Reading what a form sends: a few short fields, as `application/x-www-form-urlencoded`."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.web.bodies import BODY_LIMIT, read_body
from gateway.web.problems import Problem

MAX_FIELDS: Final = 200
"""Fields of one form. The longest one has some dozens."""


class Form:
    """The fields of a form. Spaces around values are dropped, because people paste them along."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The first value of a field; empty where there is none."""
        return next((value.strip() for each, value in self._fields if each == name), "")

    def texts(self, name: str) -> list[str]:
        """All values of a field."""
        return [value.strip() for each, value in self._fields if each == name]

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self._fields)


async def read_form(request: web.BaseRequest) -> Form:
    """Read the form of a request. Raises Problem: unsupported_media_type, too_large, invalid_request."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem("unsupported_media_type", "Send the form as a browser does.")
    body = await read_body(request, BODY_LIMIT)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Problem("invalid_request", "The form cannot be read.") from None
    if any("\0" in value for _, value in fields):
        raise Problem("invalid_request", "The form has a NUL character.")
    return Form(fields)

"""Reading JSON strictly: what two readers could understand differently is refused, and nothing can crash us.

Refused, each as a 400 that says what: invalid UTF-8, a byte order mark, duplicate names (RFC 8259 section 4
leaves their meaning open), NaN and Infinity, numbers too long to read, nesting without end, an empty body,
anything but an object. Unknown fields, wrong types (1.0 and true are no integers) and values out of range
are refused by the models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from gateway.mint.problems import Problem, invalid
from gateway.products.validation import Fault

Model = TypeVar("Model", bound=BaseModel)

_MEDIA_TYPE: Final = re.compile(
    r'application/json[ \t]*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?;?', re.IGNORECASE
)


async def read_json(request: web.BaseRequest, limit: int) -> Any:
    """The request's body, parsed. limit: bytes. Raises Problem."""
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


def too_large(limit: int) -> Problem:
    """Make the 413 that names the limit (bytes)."""
    return Problem("too_large", f"The body may have {limit} bytes.")


def parse_json(body: bytes) -> Any:
    """Parse a body. Raises Problem."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("invalid_request", "The body is not UTF-8.") from None
    if text.startswith("\ufeff"):
        raise Problem("invalid_request", "The body begins with a byte order mark (BOM), which JSON has not.")
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("invalid_request", f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise Problem("invalid_request", "The body is nested too deeply.") from None
    except ValueError as error:  # more digits than int() accepts, or one of ours
        detail = str(error) if isinstance(error, _Ambiguous) else "a number is too long"
        raise Problem("invalid_request", f"The body cannot be accepted: {detail}.") from None


class _Ambiguous(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _Ambiguous(f"the name {repeated[:100]!r} appears twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _Ambiguous(f"{name} is no number of JSON")


_decode: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode


def validate(model: type[Model], plain: Any) -> Model:
    """Check parsed JSON against a model. Raises Problem naming each field that is wrong."""
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise invalid(_faults(error)) from None


def validate_query(model: type[Model], query: MultiMapping[str]) -> Model:
    """Check a URL's parameters against a model; each may come once. Raises Problem."""
    repeated = [name for name in query if len(query.getall(name)) > 1]
    if repeated:
        raise invalid([(name, "may be given once") for name in dict.fromkeys(repeated)])
    return validate(model, dict(query))


def _faults(error: ValidationError) -> list[Fault]:
    faults: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        message = detail["msg"]
        if detail["type"] == "extra_forbidden":
            message = "is not a field of this request"
        elif detail["type"] == "missing":
            message = "is required"
        elif detail["type"] == "model_type":
            message = "must be a JSON object"
        elif detail["type"] == "string_unicode":
            message = "has half a surrogate pair, which is no character"
        elif detail["type"] in ("value_error", "told"):
            message = message.removeprefix("Value error, ")
        else:
            message = f"is wrong: {message[:1].lower()}{message[1:]}"
        faults.setdefault(_path(detail["loc"]) or "body", message)
    return list(faults.items())


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def fields_given(model: BaseModel) -> Mapping[str, Any]:
    """The fields that were in the body, with their values, null ones too."""
    return {name: getattr(model, name) for name in model.model_fields_set}

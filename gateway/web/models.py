"""Models that several APIs share: the bases of requests and responses, types of fields, common responses.

Request models are strict: they accept no unknown field and convert nothing. Where null is allowed it means
the same as leaving the field out; a model whose field gives null another meaning says so. In a body, where
text or an object may be null, an empty text means the same, and so does `[]` for an object: PHP writes an
empty object in this way, and forms send fields that nobody has filled in.

Response models are what the OpenAPI document says of a response. The tests hold real responses to them; the
services themselves make plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.products.validation import MAX_DISPLAY_NAME, NAME_PATTERN, display_name_faults
from gateway.tokens.caps import MAX_CONNECTIONS, MAX_RATE
from gateway.tokens.validation import (
    EMAIL_PATTERN,
    MAX_DOWNLOADS,
    MAX_EMAIL,
    MAX_METADATA,
    MAX_NUMBER,
    metadata_faults,
)
from gateway.web.times import parse_time
from gateway.web.validation import fault

NO_NUL_PATTERN: Final = r"^[^\x00]*$"


NO_TEXT: Final[dict[str, Any]] = {"type": "string", "maxLength": 0}
NO_MEMBERS: Final[dict[str, Any]] = {"type": "array", "maxItems": 0}


class RequestModel(BaseModel):
    """The base of bodies and their parts: strict, closed, frozen; its errors do not quote values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _make_null_of_what_is_empty(cls, document: Any) -> Any:
        if not isinstance(document, dict) or not any(value in ("", []) for value in document.values()):
            return document
        empty = _empty_forms(cls)
        return {
            name: None if _is_empty(value, empty.get(name, ())) else value for name, value in document.items()
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, empty in _empty_forms(cls).items():
            given = properties[name]
            about = {key: given.pop(key) for key in ("title", "description", "default") if key in given}
            properties[name] = {"anyOf": [*given.get("anyOf", [given]), *empty], **about}
        return schema


class Parameters(RequestModel):
    """The base of the parameters of a URL: an empty one is not the same as none."""


def _is_empty(value: Any, forms: tuple[dict[str, Any], ...]) -> bool:
    return (value == "" and NO_TEXT in forms) or (value == [] and NO_MEMBERS in forms)


@cache
def _empty_forms(model: type[RequestModel]) -> dict[str, tuple[dict[str, Any], ...]]:
    """What means the same as null, for each field of a model that may be null and is a text or an object."""
    forms = {"string": (NO_TEXT,), "object": (NO_TEXT, NO_MEMBERS)}
    kinds = {
        name: _json_type(field.annotation, field.metadata)
        for name, field in model.model_fields.items()
        if NoneType in get_args(field.annotation) and not issubclass(model, Parameters)
    }
    return {name: forms[kind] for name, kind in kinds.items() if kind in forms}


def _json_type(annotation: Any, metadata: Iterable[Any]) -> str:
    """The type that a field has in JSON, `string` or `object`; empty for every other one."""
    for each in metadata:
        if isinstance(each, WithJsonSchema):
            return str((each.json_schema or {}).get("type", ""))
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _json_type(parts[0], parts[1:])
    if origin in (Union, UnionType):
        return next(filter(None, (_json_type(part, ()) for part in parts)), "")
    if annotation is str or (origin is Literal and all(isinstance(part, str) for part in parts)):
        return "string"
    return "object" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ""


class ResponseModel(BaseModel):
    """The base of responses and their parts. No response has a field that its model lacks."""

    model_config = ConfigDict(extra="forbid")


class NoParameters(Parameters):
    """The parameters of a URL that takes none."""


Given = TypeVar("Given", bound=RequestModel)


def optional(description: str = "") -> Any:
    """Declare a field that may be left out but not be null; `model_fields_set` tells whether it was given."""
    return Field(default=None, description=description or None)


def require_a_change(model: Given) -> Given:
    """Refuse a model of changes in which no field was given. Raises PydanticCustomError."""
    if not model.model_fields_set:
        raise fault(f"must change something: give at least one of {', '.join(type(model).model_fields)}")
    return model


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if faults := metadata_faults(metadata):
        texts = (f"{field.removeprefix('metadata')[1:]} {text}".strip() for field, text in faults[:3])
        raise fault("; ".join(texts))
    return metadata


def _check_display_name(name: str) -> str:
    for _, text in display_name_faults("", name):
        raise fault(text)
    return name


def _read_time(value: object) -> int:
    if not isinstance(value, str):
        raise fault("must be a string: a time such as 2026-01-31T12:00:00.000Z (RFC 3339)")
    return parse_time(value)


MAX_DIGITS: Final = 15
"""A longer number is cut to so many digits, which is still above every limit."""


def _read_number(value: object) -> object:
    """Convert a number in a URL. It is made of digits only; int() accepts more than that."""
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and (value == "0" or not value.startswith("0"))
    ):
        return int(value[:MAX_DIGITS])
    return value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DisplayName = Annotated[
    str,
    AfterValidator(_check_display_name),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MAX_DISPLAY_NAME, "pattern": NO_NUL_PATTERN}
    ),
]
Email = Annotated[str, StringConstraints(max_length=MAX_EMAIL, pattern=EMAIL_PATTERN)]
MaxDownloads = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_DOWNLOADS,
        description="How often each file may be downloaded, in bytes: N times its size, and half more.",
    ),
]
MaxConnections = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_CONNECTIONS,
        description="How many downloads of the token may run at once. One more gets 429 "
        "`too_many_connections`.",
    ),
]
Rate = Annotated[int, Field(ge=1, le=MAX_RATE)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "description": f"Flat, and at most {MAX_METADATA} bytes as JSON. It is kept with the token.",
            "propertyNames": {"pattern": NO_NUL_PATTERN},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "pattern": NO_NUL_PATTERN},
                    {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
                    {"type": "boolean"},
                ]
            },
        }
    ),
]
Time = Annotated[int, BeforeValidator(_read_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""RFC 3339 in JSON, milliseconds since 1970 in the model."""
ReadNumber: Final = BeforeValidator(_read_number)
"""Makes a field of URL parameters a number; the limits of the field follow in its own annotation."""


class HealthResponse(ResponseModel):
    """The service is alive, or ready."""

    success: Literal[True]
    status: Literal["ok"]


class FaultDocument(ResponseModel):
    """A field that is wrong."""

    field: str
    message: str


class ProblemDocument(ResponseModel):
    """Why a request was refused (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    error: str = Field(description="The same as `detail`.")
    success: Literal[False]
    errors: list[FaultDocument] = optional("Each field that is wrong.")

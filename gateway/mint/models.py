# ruff: noqa: N815 - the fields are named as the API names them
"""The bodies and parameters that the mint service reads; the OpenAPI document is made from these.

Requests are strict: no unknown field, no conversion between types. Where null is allowed it means the same
as leaving the field out, except in UpdateToken.maxDownloads, where it removes the limit.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.mint.times import parse_time
from gateway.products.validation import (
    MAX_BLOB_KEY,
    MAX_DISPLAY_NAME,
    MAX_FILE_NAME,
    MAX_FILES,
    MAX_SIZE,
    MEDIA_TYPE_PATTERN,
    NAME_PATTERN,
)
from gateway.tokens.listing import CURSOR_PATTERN, DEFAULT_LIMIT, MAX_LIMIT
from gateway.tokens.validation import (
    EMAIL_PATTERN,
    MAX_DOWNLOADS,
    MAX_EMAIL,
    MAX_METADATA,
    MAX_NUMBER,
    metadata_faults,
)

DEFAULT_TYPE: Final = "application/octet-stream"
_NO_NUL: Final = r"^[^\x00]*$"
TOKEN_ID_PATTERN: Final = r"^[0-9a-f]{32}$"  # noqa: S105 - the public id, not the token


def _told(message: str) -> PydanticCustomError:
    return PydanticCustomError("told", "{message}", {"message": message})


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    faults = metadata_faults(metadata)
    if faults:
        raise _told(
            "; ".join(f"{field.removeprefix('metadata')[1:]} {text}".strip() for field, text in faults[:3])
        )
    return metadata


def _read_time(value: object) -> int:
    if not isinstance(value, str):
        raise _told("must be a string: a time such as 2026-01-31T12:00:00.000Z (RFC 3339)")
    return parse_time(value)


def _read_limit(value: object) -> object:
    """A number in a URL: plain digits only, none of what int() would also take."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and not value.startswith("0"):
        return int(value[:6])
    return value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_DISPLAY_NAME, pattern=_NO_NUL)]
Email = Annotated[str, StringConstraints(max_length=MAX_EMAIL, pattern=EMAIL_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
TokenId = Annotated[str, StringConstraints(pattern=TOKEN_ID_PATTERN)]
Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]
MaxDownloads = Annotated[
    int,
    Field(ge=1, le=MAX_DOWNLOADS, description="How often each file may be downloaded, metered in bytes."),
]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "description": f"Flat, and at most {MAX_METADATA} bytes as JSON. Kept with the token.",
            "propertyNames": {"pattern": _NO_NUL},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "pattern": _NO_NUL},
                    {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
                    {"type": "boolean"},
                ]
            },
        }
    ),
]
Time = Annotated[int, BeforeValidator(_read_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Status = Literal["active", "archived"]
TokenStatus = Literal["active", "revoked", "exhausted"]


class Request(BaseModel):
    """What every body has in common: strict, closed, frozen, and silent about the values it refuses."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _drop_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def optional(description: str = "") -> Any:
    """Declare a field that may be left out but not be null; `model_fields_set` knows whether it was given."""
    return Field(default=None, json_schema_extra=_drop_default, description=description or None)


Given = TypeVar("Given", bound=Request)


class Customer(Request):
    """Who the token is for. Kept with it, and never needed to download."""

    email: Email | None = None
    name: DisplayName | None = None


class GenerateDownloadUrl(Request):
    """What to make a download URL for. `mint_model` adds the service's own limit of `expiresIn`."""

    productId: Name
    version: Name | None = Field(default=None, description="The active version when left out.")
    expiresIn: int | None = Field(default=None, description="Seconds.")
    maxDownloads: MaxDownloads | None = None
    customer: Customer | None = None
    metadata: Metadata | None = None


def mint_model(max_ttl: int) -> type[GenerateDownloadUrl]:
    """GenerateDownloadUrl with `expiresIn` limited to max_ttl (seconds)."""
    seconds = Annotated[int, Field(ge=1, le=max_ttl)]
    return create_model(
        "GenerateDownloadUrl",
        __base__=GenerateDownloadUrl,
        __doc__="What to make a download URL for.",
        expiresIn=(seconds | None, Field(default=None, description="How long the URL works, in seconds.")),
    )


class UpdateToken(Request):
    """What to change of a token; what is left out stays. `maxDownloads` null removes the limit."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    expiresAt: Time = optional("In the future, and no further away than the service's mint.max_ttl.")
    maxDownloads: MaxDownloads | None = optional()

    @model_validator(mode="after")
    def _check_any(self) -> UpdateToken:
        return _check_given(self)


class CreateProduct(Request):
    """A new product. It can be sold once a version is registered."""

    productId: Name
    name: DisplayName | None = Field(default=None, description="The product's id when left out.")


class UpdateProduct(Request):
    """What to change of a product; what is left out stays. An archived product gets no new tokens."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: DisplayName = optional()
    status: Status = optional()
    activeVersion: Name = optional("What a token gets that names no version.")

    @model_validator(mode="after")
    def _check_any(self) -> UpdateProduct:
        return _check_given(self)


def _check_given(model: Given) -> Given:
    if not model.model_fields_set:
        raise _told(f"names nothing to change: give at least one of {', '.join(type(model).model_fields)}")
    return model


class NewFile(Request):
    """One file of a version, as it lies in a storage that the service can read: a folder or a bucket.

    An object's ETag and version are what the storage says of it now.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILE_NAME, pattern=_NO_NUL)] = Field(
        description='How the customer sees it; "/" separates folders. Unique in its version.'
    )
    size: Size = Field(description="Bytes; what the storage says too.")
    type: Annotated[str, StringConstraints(pattern=MEDIA_TYPE_PATTERN)] | None = Field(
        default=None, description=f"Media type; {DEFAULT_TYPE} when left out."
    )
    sha256: Digest
    crc32: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    storage: Name = Field(description="The name of a storage in the settings.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_BLOB_KEY, pattern=_NO_NUL)] = Field(
        description="The file's key in that storage."
    )
    modified: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Nanoseconds since 1970 UTC; what the storage says when left out."
    )


class RegisterVersion(Request):
    """A version of a product. It never changes: the same files again change nothing, others are refused."""

    version: Name
    activate: bool | None = Field(
        default=None, description="Make it the active version. A product's first one always is."
    )
    files: Annotated[list[NewFile], Field(min_length=1, max_length=MAX_FILES)]


class ListTokens(Request):
    """The parameters of GET /api/downloads/tokens."""

    productId: Name | None = None
    status: TokenStatus | None = None
    customerEmail: Email | None = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], BeforeValidator(_read_limit)] = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | None = None


class NoParameters(Request):
    """The parameters of every other URL: none."""

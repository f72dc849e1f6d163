# ruff: noqa: N815 - the fields are named as the API names them
"""The bodies and URL parameters that the admin API reads, and the documents that it answers with."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from gateway.catalogue.rules import MAX_NOTES
from gateway.products.validation import (
    MAX_BLOB_KEY,
    MAX_FILE_NAME,
    MAX_FILES,
    MAX_SIZE,
    MEDIA_TYPE_PATTERN,
)
from gateway.tokens.caps import CapChanges
from gateway.tokens.listing import CURSOR_PATTERN, DEFAULT_LIMIT, MAX_LIMIT
from gateway.web.models import (
    NO_NUL_PATTERN,
    DisplayName,
    Email,
    MaxConnections,
    MaxDownloads,
    Metadata,
    Name,
    Parameters,
    Rate,
    ReadNumber,
    RequestModel,
    ResponseModel,
    Time,
    optional,
    require_a_change,
)
from gateway.web.validation import fault

CAP_FIELDS: Final = {
    "maxConnections": "connections",
    "maxRate": "rate",
    "maxConnectionRate": "connection_rate",
    "bindTo": "binding",
}
"""The fields of the API, and those of `Caps`."""
DEFAULT_TYPE: Final = "application/octet-stream"
TOKEN_ID_PATTERN: Final = r"^[0-9a-f]{32}$"  # noqa: S105 - the public id, not the token
KEY_ID_PATTERN: Final = r"^[0-9a-f]{16}$"

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
TokenId = Annotated[str, StringConstraints(pattern=TOKEN_ID_PATTERN)]
KeyId = Annotated[str, StringConstraints(pattern=KEY_ID_PATTERN)]
Notes = Annotated[str, StringConstraints(max_length=MAX_NOTES, pattern=NO_NUL_PATTERN)]
ProductStatus = Literal["active", "archived"]
TokenStatus = Literal["active", "revoked", "exhausted"]


_NOTIFY: Final = "Each of them once. The setting `mail.new_versions` when left out."

# Requests


class ListTokens(Parameters):
    """The parameters of GET /api/downloads/tokens."""

    productId: Name | None = None
    status: TokenStatus | None = None
    customerEmail: Email | None = None
    keyId: KeyId | None = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], ReadNumber] = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | None = None


class UpdateToken(RequestModel):
    """What to change of a token; what is left out stays. Null removes a limit: then the settings decide."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    expiresAt: Time = optional("In the future, and no further away than the setting mint.max_ttl allows.")
    maxDownloads: MaxDownloads | None = optional()
    maxConnections: MaxConnections | None = optional("For requests from now on, as the next three.")
    maxRate: Rate | None = optional()
    maxConnectionRate: Rate | None = optional()
    bindTo: Literal["address", "network"] | None = optional(
        "Whatever is given, the token is free then: it belongs to the next client that downloads with it."
    )

    @model_validator(mode="after")
    def _require_a_change(self) -> UpdateToken:
        return require_a_change(self)

    def caps(self) -> CapChanges:
        """What changes of the limits beside the downloads."""
        return {
            name: getattr(self, field) for field, name in CAP_FIELDS.items() if field in self.model_fields_set
        }


class CreateProduct(RequestModel):
    """A new product. It can be sold once a version is registered."""

    productId: Name
    name: DisplayName | None = Field(default=None, description="The product's id when left out.")


class UpdateProduct(RequestModel):
    """What to change of a product; what is left out stays. An archived product gets no new tokens."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "dependentRequired": {"notify": ["activeVersion"]}}
    )

    name: DisplayName = optional()
    status: ProductStatus = optional()
    activeVersion: Name = optional("The version of a token that is made without naming one.")
    notify: bool = optional(f"With `activeVersion`: tell customers of that version by mail. {_NOTIFY}")

    @model_validator(mode="after")
    def _require_a_change(self) -> UpdateProduct:
        if "notify" in self.model_fields_set and self.activeVersion is None:
            raise fault("notify needs activeVersion, the version that customers are told of")
        return require_a_change(self)


class NewFile(RequestModel):
    """One file of a version, as it lies in a storage that the service can read: a folder or a bucket.

    The service asks the storage for an object's ETag and version.
    """

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_FILE_NAME, pattern=NO_NUL_PATTERN)
    ] = Field(description='The name that the customer sees; "/" separates folders. Unique in its version.')
    size: Annotated[int, Field(ge=0, le=MAX_SIZE)] = Field(description="Bytes; the storage must agree.")
    type: Annotated[str, StringConstraints(pattern=MEDIA_TYPE_PATTERN)] | None = Field(
        default=None, description=f"Media type; {DEFAULT_TYPE} when left out."
    )
    sha256: Digest | None = Field(
        default=None, description="The service computes it; when given, it must be that of the content."
    )
    crc32: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")] | None = Field(
        default=None, description="As `sha256`."
    )
    storage: Name = Field(description="The name of a storage in the settings, or of a registered one.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_BLOB_KEY, pattern=NO_NUL_PATTERN)] = (
        Field(description="The file's key in that storage.")
    )
    modified: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Nanoseconds since 1970 UTC; what the storage says when left out."
    )


class RegisterVersion(RequestModel):
    """A version of a product. It never changes: the same files again change nothing, others are refused.

    The service reads every file for its digests, which takes about a second for each gigabyte.
    """

    version: Name
    activate: bool | None = Field(
        default=None, description="Make it the active version. A product's first one always is."
    )
    trust: bool | None = Field(
        default=None,
        description="Take `sha256` and `crc32` of each file from this request, without reading the files. "
        "Wrong digests are then served as right ones, and the audit line says that they were trusted.",
    )
    notes: Notes | None = Field(default=None, description="What customers read of it, as plain text.")
    publishedAt: Time | None = Field(default=None, description="Now when left out.")
    notify: bool | None = Field(
        default=None, description="Tell customers who have it of this version, by mail. " + _NOTIFY
    )
    files: Annotated[list[NewFile], Field(min_length=1, max_length=MAX_FILES)]


class UpdateVersion(RequestModel):
    """What to change of a version; what is left out stays. `notes` null removes them. Files never change."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    notes: Notes | None = optional("What customers read of it, as plain text.")
    publishedAt: Time = optional()

    @model_validator(mode="after")
    def _require_a_change(self) -> UpdateVersion:
        return require_a_change(self)


# Responses


class CustomerDocument(ResponseModel):
    """The person a token is for."""

    email: str | None
    name: str | None


class FileUsageDocument(ResponseModel):
    """What a token received of one file."""

    name: str
    bytes: int
    started: int = Field(description="Downloads of it: resumes and parallel parts are one.")
    completed: int = Field(description="Downloads that covered the file.")
    attempts: int = Field(description="Requests that sent bytes.")
    firstAt: Time
    lastAt: Time


class UsageDocument(ResponseModel):
    """What a token received. It is right a few seconds after a download ends."""

    bytes: int = Field(description="Bytes of all files together.")
    files: list[FileUsageDocument]


class TokenDocument(ResponseModel):
    """What is known of a token, without the token itself."""

    tokenId: TokenId
    productId: str
    version: str
    status: Literal[TokenStatus, "expired"]
    createdAt: Time
    expiresAt: Time
    revokedAt: Time | None
    maxDownloads: int | None
    maxConnections: int | None = Field(description="Null: the settings decide; so it is for the next three.")
    maxRate: int | None
    maxConnectionRate: int | None
    bindTo: Literal["address", "network"] | None
    keyId: str | None = Field(description="The API key that made it; null when a command did.")
    bytesCharged: int = Field(description="Bytes of all files together; counted only with maxDownloads.")
    customer: CustomerDocument
    metadata: Metadata
    usage: UsageDocument | None = Field(
        default=None, description="Where one token is shown; null while the database is away."
    )


class TokenResponse(ResponseModel):
    """One token."""

    success: Literal[True]
    token: TokenDocument


class TokensResponse(ResponseModel):
    """One page of the tokens, newest first. A page can be short, even empty, and still have a next one."""

    success: Literal[True]
    tokens: list[TokenDocument]
    nextCursor: str | None = Field(description="The cursor of the next page; null after the last page.")


class VersionDocument(ResponseModel):
    """One version of a product."""

    version: str
    manifest: Digest = Field(description="The digest of the list of its files.")
    notes: str | None = Field(description="What customers read of it.")
    publishedAt: Time = Field(description="An entitlement to updates until a day includes it by this time.")


class ProductDocument(ResponseModel):
    """A product and its versions."""

    productId: str
    name: str
    status: ProductStatus
    activeVersion: str | None
    createdAt: Time
    versions: list[VersionDocument]


class ProductResponse(ResponseModel):
    """One product."""

    success: Literal[True]
    product: ProductDocument


class ProductsResponse(ResponseModel):
    """All products, ordered by id."""

    success: Literal[True]
    products: list[ProductDocument]

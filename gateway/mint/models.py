# ruff: noqa: N815 - the fields are named as the API names them
"""The body that the mint service reads, and the document that it answers with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, create_model

from gateway.web.models import (
    CapFields,
    DisplayName,
    Email,
    MaxDownloads,
    Metadata,
    Name,
    RequestModel,
    ResponseModel,
    Time,
    optional,
)


class Customer(RequestModel):
    """The person a token is for. Kept with the token; a download does not need it."""

    email: Email | None = None
    name: DisplayName | None = None


class GenerateDownloadUrl(CapFields):
    """What to make a download URL for. `mint_model` adds the limit of `expiresIn` that the settings give."""

    productId: Name
    version: Name | None = Field(default=None, description="The active version when left out.")
    expiresIn: int | None = Field(default=None, description="Seconds.")
    maxDownloads: MaxDownloads | None = None
    customer: Customer | None = None
    metadata: Metadata | None = None


def mint_model(max_ttl: int) -> type[GenerateDownloadUrl]:
    """Make GenerateDownloadUrl with `expiresIn` limited to max_ttl (seconds)."""
    seconds = Annotated[int, Field(ge=1, le=max_ttl)]
    return create_model(
        "GenerateDownloadUrl",
        __base__=GenerateDownloadUrl,
        __doc__="What to make a download URL for.",
        expiresIn=(seconds | None, Field(default=None, description="How long the URL works, in seconds.")),
    )


class DownloadUrl(ResponseModel):
    """A new token and its URL. The token is shown in this response only, and stored nowhere."""

    success: Literal[True]
    productId: str
    version: str
    downloadToken: str
    downloadUrl: str
    directUrl: str = optional(
        "Another URL of the same file, which every program saves under the file's name. "
        "Left out where the version has several files."
    )
    expiresAt: Time

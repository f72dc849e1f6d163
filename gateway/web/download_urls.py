# ruff: noqa: N815 - the fields are named as the API names them
"""A token and its URLs, as the mint service and the admin API are asked for them, and as both answer."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model

from gateway.http.links import download_path
from gateway.tokens.caps import Caps
from gateway.web.models import (
    DisplayName,
    Email,
    MaxConnections,
    MaxDownloads,
    Metadata,
    Rate,
    RequestModel,
    ResponseModel,
    Time,
    optional,
)
from gateway.web.times import format_time


class Customer(RequestModel):
    """The person a token is for. Kept with the token; a download does not need it."""

    email: Email | None = None
    name: DisplayName | None = None


class CapFields(RequestModel):
    """The fields of a new token that limit it beside its downloads. Without them the settings decide."""

    maxConnections: MaxConnections | None = None
    maxRate: Rate | None = Field(
        default=None, description="Bytes a second that all downloads of the token get together."
    )
    maxConnectionRate: Rate | None = Field(
        default=None, description="Bytes a second that each download gets."
    )
    bindTo: Literal["address", "network"] | None = Field(
        default=None,
        description="The token belongs to the first client that downloads with it: to its IPv4 address or "
        "IPv6 /64, or to its IPv4 /24 or IPv6 /48. Others get 403 `bound_elsewhere`.",
    )

    def caps(self) -> Caps:
        """The limits that were given."""
        return Caps(
            self.maxConnections or 0, self.maxRate or 0, self.maxConnectionRate or 0, self.bindTo or ""
        )


class TokenTerms(CapFields):
    """What may be asked of a token, however it is made. `limit_lifetime` adds the limit of `expiresIn`."""

    expiresIn: int | None = Field(default=None, description="Seconds.")
    maxDownloads: MaxDownloads | None = None
    customer: Customer | None = None
    metadata: Metadata | None = None

    def values(self) -> dict[str, Any]:
        """What `TokenRepository.create` is told, but for the lifetime."""
        customer = self.customer
        return {
            "max_downloads": self.maxDownloads,
            "email": customer.email if customer else None,
            "name": customer.name if customer else None,
            "metadata": self.metadata,
            "caps": self.caps(),
        }


Terms = TypeVar("Terms", bound=TokenTerms)


@cache
def limit_lifetime(model: type[Terms], max_ttl: int) -> type[Terms]:
    """Make a model whose `expiresIn` is limited to max_ttl (seconds), which is a setting."""
    seconds = Annotated[int, Field(ge=1, le=max_ttl)]
    return create_model(
        model.__name__,
        __base__=model,
        __doc__=model.__doc__,
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


def download_url_document(
    base_url: str, product: str, version: str, token: str, expires: int, file: str
) -> dict[str, Any]:
    """Make the document of DownloadUrl.

    expires: ms since 1970. file: the name of the version's only file; empty if there are several.
    """
    urls = {"downloadUrl": f"{base_url}/download?token={token}"}
    if file:
        urls["directUrl"] = base_url + download_path(token, file)
    return {
        "success": True,
        "productId": product,
        "version": version,
        "downloadToken": token,
        **urls,
        "expiresAt": format_time(expires),
    }

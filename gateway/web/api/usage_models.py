# ruff: noqa: N815 - the fields are named as the API names them
"""The parameters and documents of the admin API about usage."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from gateway.tokens.listing import DEFAULT_LIMIT
from gateway.usage.never_downloaded import DEFAULT_DAYS, MOST_DAYS, Missing
from gateway.web.api.order_models import Id, Limit
from gateway.web.models import Name, Parameters, ReadNumber, ResponseModel, Time

MAX_ROWS: Final = 10_000_000
"""Rows that a caller may ask a report for."""

DownloadStatus = Literal["started", "completed"]
Period = Literal["day", "week", "month"]
Group = Literal["product", "version", "client"]


class ReportDownloads(Parameters):
    """The parameters of GET /api/reports/downloads."""

    model_config = ConfigDict(populate_by_name=True)

    start: Time | None = Field(default=None, alias="from", description="When the download began.")
    end: Time | None = Field(default=None, alias="to", description="The end, which is not in it.")
    productId: Name | None = None
    status: DownloadStatus | None = Field(
        default=None, description="`started`: something of the file is missing."
    )
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_ROWS)], ReadNumber] | None = Field(
        default=None, description="The most rows; all when left out."
    )


class Analyse(Parameters):
    """The parameters of GET /api/analytics/downloads and of /api/analytics/bandwidth."""

    model_config = ConfigDict(populate_by_name=True)

    start: Time | None = Field(
        default=None, alias="from", description="Its day (UTC) is the first; 30 days ago when left out."
    )
    end: Time | None = Field(
        default=None, alias="to", description="The day before it is the last one; today when left out."
    )
    period: Period = "day"
    groupBy: Group | None = Field(default=None, description="Nothing: one row a period.")
    productId: Name | None = None


class SumDocument(ResponseModel):
    """What was sent in one period. Tests are left out; bots are the client `bot`."""

    start: Time = Field(
        alias="from", description="Its first moment, also where it began before the first day."
    )
    productId: str | None = Field(default=None, description="With `groupBy` product or version.")
    version: str | None = Field(default=None, description="With `groupBy` version.")
    client: str | None = Field(default=None, description="With `groupBy` client: the kind of program.")
    started: int = Field(description="Downloads that began.")
    completed: int = Field(description="Downloads of which the last missing byte was sent.")
    bytes: int = Field(description="Bytes of files, each as often as it was sent.")
    customers: int = Field(description="Customers who were sent something, each counted once.")


class SumsResponse(ResponseModel):
    """A row for each period, and each group in it, in which something was sent."""

    success: Literal[True]
    rows: list[SumDocument]


class ListNeverDownloaded(Parameters):
    """The parameters of GET /api/reports/never-downloaded."""

    days: Annotated[Annotated[int, Field(ge=0, le=MOST_DAYS)], ReadNumber] = Field(
        default=DEFAULT_DAYS, description="The order was placed so many days ago, or earlier."
    )
    missing: Missing = Field(
        default="started", description="`completed`: lists also what began and was never complete."
    )
    productId: Name | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Id | None = None


class PersonDocument(ResponseModel):
    """A customer; null for who was erased, or is not known."""

    id: str
    email: str | None
    name: str | None


class NeverDownloadedDocument(ResponseModel):
    """An entitlement that is active, and of which nothing was downloaded."""

    entitlementId: str
    productId: str
    quantity: int
    customer: PersonDocument
    source: str | None = Field(description="Of the order; null for what was granted by hand.")
    orderId: str | None
    number: str | None
    placedAt: Time = Field(description="When the order was placed, or the entitlement granted.")
    startedAt: Time | None = Field(description="With `missing` completed: when the first download began.")


class NeverDownloadedResponse(ResponseModel):
    """One page, in the order in which they were granted. A page can be short, even empty, and have a next."""

    success: Literal[True]
    neverDownloaded: list[NeverDownloadedDocument]
    nextCursor: str | None


class ListSharedLinks(Parameters):
    """The parameters of GET /api/reports/shared-links."""

    model_config = ConfigDict(populate_by_name=True)

    start: Time | None = Field(
        default=None, alias="from", description="Tokens that expire then or later; 30 days ago when left out."
    )
    end: Time | None = Field(default=None, alias="to", description="Tokens that were made before.")
    productId: Name | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}-[0-9a-f]{32}$")] | None = None


class ReasonDocument(ResponseModel):
    """Why a link looks shared: a number that reaches the limit of the settings."""

    reason: Literal["networks", "overlap", "programs", "copies"]
    value: int
    limit: int


class TokenCustomerDocument(ResponseModel):
    """For whom a token was made."""

    email: str | None
    name: str | None


class SharedLinkDocument(ResponseModel):
    """A token that looks shared."""

    tokenId: str
    productId: str | None
    version: str | None
    entitlementId: str | None
    customer: TokenCustomerDocument
    createdAt: Time
    expiresAt: Time
    bytes: int
    requests: int
    reasons: list[ReasonDocument]
    networks: list[str] = Field(description="IPv4 /24 and IPv6 /48, the most used first.")
    programs: list[str] = Field(description="Kinds of programs, the most used first.")


class SharedLinksResponse(ResponseModel):
    """One page, by the tokens' expiry, the latest first. A page can be short, even empty, and have a next."""

    success: Literal[True]
    sharedLinks: list[SharedLinkDocument]
    nextCursor: str | None

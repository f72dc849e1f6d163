# ruff: noqa: N815 - the fields are named as the API names them
"""The parameters and documents of the admin API about usage."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

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

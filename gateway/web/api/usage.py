"""/api/reports and /api/analytics: what was downloaded, as a table for spreadsheets and as sums."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

from aiohttp import web

from gateway.config.units import LAST_MOMENT
from gateway.usage.downloads import COMPLETED, UNDER_WAY
from gateway.usage.queries import (
    DAY_MS,
    ReportFilter,
    ReportPosition,
    position_of,
    report_page,
    sum_up,
)
from gateway.usage.repository import read_download
from gateway.web.api.context import AdminContext
from gateway.web.api.usage_models import Analyse, ReportDownloads, SumsResponse
from gateway.web.csv_files import Cells, send_csv
from gateway.web.documents import sum_document
from gateway.web.problems import invalid
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.times import format_time
from gateway.web.validation import validate_query

_log = logging.getLogger("gateway.web")

COLUMNS: Final = (
    "startedAt",
    "lastAt",
    "productId",
    "version",
    "file",
    "size",
    "bytes",
    "attempts",
    "status",
    "tokenId",
    "orderNumber",
    "customerEmail",
    "clientAddress",
    "userAgent",
    "country",
)
PAGE: Final = 500
"""Rows that are read at once: each page is a transaction, so that a slow client holds none open."""
DEFAULT_DAYS: Final = 30
MAX_PERIODS: Final = 400
"""Periods of one answer. Each takes a query of its own for its customers."""


async def report_downloads(request: web.Request, context: AdminContext) -> web.StreamResponse:
    """Answer with the report as CSV, page after page. Raises Problem, DatabaseError."""
    query = validate_query(ReportDownloads, request)
    only = ReportFilter(query.start, query.end, query.productId, query.status)
    left = query.limit if query.limit is not None else 2**62
    return await send_csv(request, "downloads", COLUMNS, _report_pages(context, only, left), _log)


async def _report_pages(
    context: AdminContext, only: ReportFilter, left: int
) -> AsyncGenerator[Iterable[Cells]]:
    after: ReportPosition | None = None
    while left:
        async with context.database.reading() as sql:
            rows = await report_page(sql, only, after, min(left, PAGE))
        if rows:
            yield map(_cells, rows)
        if len(rows) < PAGE:
            return
        after = position_of(rows[-1])
        left -= len(rows)


def _cells(row: Any) -> tuple[str | int | None, ...]:
    last = read_download(row).attempts[-1]
    return (
        format_time(row.first),
        format_time(row.last),
        row.product,
        row.version,
        row.name,
        row.size,
        row.bytes,
        row.times,
        UNDER_WAY if row.completed is None else COMPLETED,
        row.token_id,
        row.order_number or row.order_id,
        row.customer_email or row.email,
        last.client,
        last.agent,
        row.country,
    )


async def analyse(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with sums for each period. Raises Problem."""
    query = validate_query(Analyse, request)
    now = time.time_ns() // 1_000_000
    end = now if query.end is None else query.end
    stop = min(-(-max(end, 1) // DAY_MS), LAST_MOMENT // DAY_MS + 1)
    first = stop - DEFAULT_DAYS if query.start is None else query.start // DAY_MS
    first = max(0, first)
    if first >= stop:
        raise invalid([("from", "must be before `to`")])
    days = {"day": 1, "week": 7, "month": 28}[query.period]
    if (stop - first) / days > MAX_PERIODS:
        raise invalid([("from", f"asks for more than {MAX_PERIODS} periods: choose a longer period")])
    async with context.database.reading() as sql:
        sums = await sum_up(sql, first, stop, query.period, query.groupBy, query.productId)
    return json_response({"success": True, "rows": [sum_document(each) for each in sums]})


USAGE_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        "/reports/downloads",
        report_downloads,
        "reportDownloads",
        "Downloads as CSV",
        None,
        query=ReportDownloads,
        media="text/csv",
    ),
    Route(
        "GET",
        "/analytics/downloads",
        analyse,
        "analyseDownloads",
        "Downloads by period",
        SumsResponse,
        query=Analyse,
    ),
    Route(
        "GET",
        "/analytics/bandwidth",
        analyse,
        "analyseBandwidth",
        "Bytes sent by period",
        SumsResponse,
        query=Analyse,
    ),
)

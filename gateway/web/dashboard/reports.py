"""*Paid and never downloaded*, *Links that look shared*, and the receipt of a token: what the API reports."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row

from gateway.database.types import now
from gateway.tokens.index import is_token_id
from gateway.usage.never_downloaded import DEFAULT_DAYS, NeverFilter, search_never_downloaded
from gateway.usage.queries import DAY_MS
from gateway.usage.sharing import COPIES, NETWORKS, OVERLAP, PROGRAMS
from gateway.usage.sharing_report import SharedLink, SharingFilter, search_shared
from gateway.usage.token_search import TokenPosition
from gateway.web.csv_files import Cells, send_csv
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, show
from gateway.web.dashboard.listing import CSV_ROWS, ROWS, read_listing
from gateway.web.documents import MOST_NAMED
from gateway.web.problems import Problem
from gateway.web.receipt_pages import show_receipt
from gateway.web.receipts import make_receipt, signed_receipt
from gateway.web.times import format_time

COLUMNS: Final = ("email", "name", "productId", "order", "placedAt", "quantity")
PAGE_LOOKS: Final = 1
"""Transactions of a page, which is answered in a tenth of a second; then the reader goes on with the next."""
REASONS: Final = (NETWORKS, OVERLAP, PROGRAMS, COPIES)
SHARED_COLUMNS: Final = (
    *("tokenId", "productId", "version", "email", "name", "createdAt", "expiresAt", "bytes", "requests"),
    *REASONS,
    *("networkNames", "programNames"),
)
SHARED_DAYS: Final = ("7", "30", "90", "365")
"""How long ago a link that is looked at may have expired."""
DEFAULT_SHARED_DAYS: Final = 30
CSV_LOOKS: Final = 100
"""Transactions for one file: 20,000 links. Who has more asks the API."""
_log = logging.getLogger("gateway.web")
_POSITION: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})")


async def list_never(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what was paid for some days ago and never downloaded. Raises DatabaseError."""
    listing = read_listing(request, "product", "missing")
    missing = listing.filters["missing"]
    only = NeverFilter(
        now() - DEFAULT_DAYS * DAY_MS,
        "completed" if missing == "completed" else "started",
        listing.filters["product"] or None,
    )
    after = listing.after or None
    if listing.wants_csv:
        pages = _never_pages(context, only, after)
        return await send_csv(request, "never-downloaded", COLUMNS, pages, _log)
    page = await search_never_downloaded(context.work.database, only, ROWS, after, PAGE_LOOKS)
    listing = replace(listing, rows=page.rows, next=page.after or "")
    return await context.show(request, "dashboard/never.html", listing=listing, days=DEFAULT_DAYS)


async def _never_pages(
    context: DashboardContext, only: NeverFilter, after: str | None
) -> AsyncGenerator[Iterable[Cells]]:
    left = CSV_ROWS
    while left:
        page = await search_never_downloaded(context.work.database, only, left, after, PAGE_LOOKS)
        yield map(_cells, page.rows)
        left -= len(page.rows)
        after = page.after
        if after is None:
            return


def _cells(row: Row[Any]) -> tuple[str | int | None, ...]:
    return (
        row.email,
        row.name,
        row.product_id,
        row.number or row.external_id,
        format_time(row.placed),
        row.quantity,
    )


async def list_shared(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show links that look shared, and why. Raises DatabaseError."""
    listing = read_listing(request, "product", "days")
    days = int(listing.filters["days"]) if listing.filters["days"] in SHARED_DAYS else DEFAULT_SHARED_DAYS
    only = SharingFilter(now() - days * DAY_MS, None, listing.filters["product"] or None)
    after = None
    if position := _POSITION.fullmatch(listing.after):
        after = int(position[1]), position[2]
    if listing.wants_csv:
        pages = _shared_pages(context, only, after)
        return await send_csv(request, "links-that-look-shared", SHARED_COLUMNS, pages, _log)
    page = await search_shared(context.work.database, only, context.work.sharing, after, ROWS, PAGE_LOOKS)
    further = "" if page.after is None else f"{page.after[0]}-{page.after[1]}"
    listing = replace(listing, rows=page.links, next=further)
    return await context.show(
        request, "dashboard/shared.html", listing=listing, periods=SHARED_DAYS, days=DEFAULT_SHARED_DAYS
    )


async def _shared_pages(
    context: DashboardContext, only: SharingFilter, after: TokenPosition | None
) -> AsyncGenerator[Iterable[Cells]]:
    left = CSV_ROWS
    for _ in range(CSV_LOOKS):
        page = await search_shared(context.work.database, only, context.work.sharing, after, left, PAGE_LOOKS)
        yield map(_shared_cells, page.links)
        left -= len(page.links)
        after = page.after
        if after is None or not left:
            return


def _shared_cells(link: SharedLink) -> tuple[str | int | None, ...]:
    token = link.token
    return (
        token.id,
        token.product,
        token.version,
        token.email,
        token.name,
        format_time(token.created),
        format_time(token.expires),
        link.bytes,
        link.requests,
        *({each.name: each.value for each in link.found.reasons}.get(name) for name in REASONS),
        " ".join(link.found.networks[:MOST_NAMED]),
        " ".join(link.found.programs),
    )


async def show_token_receipt(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the receipt of a token, for a dispute. Raises Problem, StoreUnavailable, DatabaseError."""
    identifier, receipt = request.match_info["token"], None
    if is_token_id(identifier):
        record = await context.work.store.tokens.get(identifier)
        receipt = await make_receipt(context.work.database, identifier, record, context.work.base_url)
    if receipt is None:
        raise Problem("token_unknown", "There is no such token, and never was.")
    answer = await signed_receipt(receipt, context.work.signing)
    return show_receipt(context.pages, request, answer, f"{context.pages.prefix}/tokens/{identifier}")


REPORT_SCREENS: Final = (
    show("/usage/never", list_never, EVERYBODY),
    show("/usage/never.csv", list_never, EVERYBODY),
    show("/usage/shared", list_shared, EVERYBODY),
    show("/usage/shared.csv", list_shared, EVERYBODY),
    show("/tokens/{token}/receipt", show_token_receipt, EVERYBODY),
)

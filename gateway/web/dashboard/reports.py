"""*Paid and never downloaded*, and the receipt of a token: what the API reports, as pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row

from gateway.database.types import now
from gateway.tokens.index import is_token_id
from gateway.usage.never_downloaded import DEFAULT_DAYS, NeverFilter, look_for_never_downloaded
from gateway.usage.queries import DAY_MS
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, show
from gateway.web.dashboard.listing import ROWS, read_listing
from gateway.web.problems import Problem
from gateway.web.receipt_pages import show_receipt
from gateway.web.receipts import make_receipt, signed_receipt
from gateway.web.times import format_time

COLUMNS: Final = ("email", "name", "productId", "order", "placedAt", "quantity")


async def list_never(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what was paid for some days ago and never downloaded. Raises DatabaseError."""
    listing = read_listing(request, "product", "missing")
    missing = listing.filters["missing"]
    only = NeverFilter(
        now() - DEFAULT_DAYS * DAY_MS,
        "completed" if missing == "completed" else "started",
        listing.filters["product"] or None,
    )
    most = listing.limit if listing.wants_csv else ROWS
    rows: list[Row[Any]] = []
    after = listing.after or None
    while True:
        async with context.work.database.reading() as sql:
            page = await look_for_never_downloaded(sql, only, most - len(rows), after)
        rows += page.rows
        after = page.after
        if after is None or not listing.wants_csv or len(rows) >= most:
            break
    listing = replace(listing, rows=rows, next=after or "")
    if listing.wants_csv:
        return context.csv("never-downloaded", COLUMNS, map(_cells, listing.rows))
    return await context.show(request, "dashboard/never.html", listing=listing, days=DEFAULT_DAYS)


def _cells(row: Row[Any]) -> tuple[str | int | None, ...]:
    return (
        row.email,
        row.name,
        row.product_id,
        row.number or row.external_id,
        format_time(row.placed),
        row.quantity,
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
    return show_receipt(context.pages, request, answer)


REPORT_SCREENS: Final = (
    show("/usage/never", list_never, EVERYBODY),
    show("/usage/never.csv", list_never, EVERYBODY),
    show("/tokens/{token}/receipt", show_token_receipt, EVERYBODY),
)

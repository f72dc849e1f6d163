"""*Orders*: found by number and address; one with its lines, what they granted, and why."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row

from gateway.orders.entitlements import entitlements_of_order
from gateway.orders.order_queries import get_order
from gateway.orders.searching import OrderSearch, Position, lines_of, order_name, search_orders
from gateway.orders.states import OrderStatus
from gateway.web.dashboard.answers import moment
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.problems import Problem
from gateway.web.times import format_time

STATUSES: Final = tuple(each.value for each in OrderStatus)
COLUMNS: Final = ("number", "orderId", "source", "status", "placedAt", "email", "name", "country", "test")


async def list_orders(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the orders that were looked for, the latest first. Raises DatabaseError."""
    listing = read_listing(request, "q", "status", "product", "from", "to")
    filters = listing.filters
    only = OrderSearch(
        filters["q"],
        filters["status"] if filters["status"] in STATUSES else None,
        filters["product"] or None,
        moment(filters["from"]),
        moment(filters["to"], is_end=True),
    )
    async with context.work.database.reading() as sql:
        rows = await search_orders(sql, only, listing.limit, _position(listing.after))
        listing = listing.with_rows(rows, lambda row: f"{row.placed}-{row.id}")
        lines = {} if listing.wants_csv else await lines_of(sql, [row.id for row in listing.rows])
    if listing.wants_csv:
        return context.csv("orders", COLUMNS, map(_cells, listing.rows))
    return await context.show(
        request, "dashboard/orders.html", listing=listing, lines=lines, statuses=STATUSES
    )


def _position(after: str) -> Position | None:
    placed, _, identifier = after.partition("-")
    return (int(placed), identifier) if placed.isascii() and placed.isdigit() and len(placed) < 16 else None


def _cells(row: Row[Any]) -> tuple[str | int | None, ...]:
    return (
        row.number,
        row.external_id,
        row.source,
        row.status,
        format_time(row.placed),
        row.email,
        row.name,
        row.country,
        "yes" if row.test else "no",
    )


async def show_order(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one order. Raises Problem, DatabaseError."""
    identifier = request.match_info["order"]
    async with context.work.database.reading() as sql:
        name = await order_name(sql, identifier)
        found = None if name is None else await get_order(sql, *name)
        granted = [] if found is None else await entitlements_of_order(sql, identifier)
    if found is None:
        raise Problem("order_unknown", "There is no such order.")
    connections = {each.id: each.name for each in await context.work.desk.connections.list_all()}
    by_line: dict[str, list[Any]] = {}
    for each in granted:
        by_line.setdefault(each.line_id, []).append(each)
    return await context.show(
        request,
        "dashboard/order.html",
        order=found.row,
        lines=found.lines,
        granted=by_line,
        source=connections.get(found.row.source, found.row.source),
    )


ORDER_SCREENS: Final = (
    show("/orders", list_orders, EVERYBODY),
    show("/orders.csv", list_orders, EVERYBODY),
    show("/orders/{order}", show_order, EVERYBODY),
)

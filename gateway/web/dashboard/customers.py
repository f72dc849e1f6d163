"""*Customers*: found by address and order number; one with orders, rights and why, downloads, and links."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.types import now
from gateway.orders.customer_store import Customer
from gateway.orders.entitlements import latest_entitlements, latest_ids, links_of_customer
from gateway.orders.purchases import find_holder
from gateway.orders.searching import customer_orders, search_customers
from gateway.usage.received import downloads_of, tokens_of_address
from gateway.web.api.customer_export import export_document
from gateway.web.api.customer_work import find_one
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.responses import json_response
from gateway.web.times import format_time

SHOWN: Final = 20
"""Rows of each table of a customer's page, the latest ones. The export has all."""
RIGHTS_SHOWN: Final = 15
"""Of most customers that is all of them. Each takes 1,200 bytes of the page."""
RIGHTS_READ: Final = 200
"""The latest ones, whose downloads are looked for."""
CHOICES_SHOWN: Final = 100
"""Products to choose from for a grant. Where there are more, the id of one is typed."""
COLUMNS: Final = ("id", "email", "name", "createdAt", "erasedAt")


async def list_customers(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the customers that were looked for, the newest first. Raises DatabaseError."""
    listing = read_listing(request, "q")
    async with context.work.database.reading() as sql:
        rows = await search_customers(sql, listing.filters["q"], listing.limit, listing.after or None)
    listing = listing.with_rows(rows, lambda row: str(row.id))
    if listing.wants_csv:
        return context.csv("customers", COLUMNS, map(_cells, listing.rows))
    return await context.show(request, "dashboard/customers.html", listing=listing)


def _cells(row: Row[Any]) -> tuple[str | None, ...]:
    erased = None if row.erased is None else format_time(row.erased)
    return row.id, row.email, row.name, format_time(row.created), erased


async def find(sql: AsyncConnection, request: web.Request) -> Customer:
    """The customer that the path names. Raises Problem: customer_unknown."""
    return await find_one(sql, request.match_info["customer"].encode("utf-8", "replace").decode())


async def show_customer(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one customer. Raises Problem, DatabaseError."""
    return await show_one(request, context)


async def show_one(
    request: web.Request,
    context: DashboardContext,
    status: int = 200,
    *,
    given: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    form: str = "",
) -> web.StreamResponse:
    """Show the customer that the path names. form: which form of the page `given` and `faults` belong to."""
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
        rights = await latest_entitlements(sql, customer.id, RIGHTS_SHOWN + 1, request.query.get("rights"))
        earlier = rights[RIGHTS_SHOWN - 1].id if len(rights) > RIGHTS_SHOWN else ""
        rights = rights[:RIGHTS_SHOWN]
        orders = await customer_orders(sql, customer.id, SHOWN)
        links = await links_of_customer(sql, customer.id, SHOWN)
        holder = await find_holder(sql, customer.id)
        emails = holder.emails if holder else ()
        holders = await latest_ids(sql, customer.id, RIGHTS_READ)
        holders += await tokens_of_address(sql, emails)
        downloads = await downloads_of(sql, holders, SHOWN)
    products = {each.id: each.name for each in await context.work.catalogue.list_names()}
    return await context.show(
        request,
        "dashboard/customer.html",
        status,
        customer=customer,
        emails=emails,
        rights=rights,
        earlier=earlier,
        choices_shown=CHOICES_SHOWN,
        orders=orders,
        links=links,
        downloads=downloads,
        products=products,
        moment_now=now(),
        given=given or {},
        faults=faults or {},
        form=form,
    )


async def export(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Answer with a file of everything that is known of a customer. Raises Problem, DatabaseError."""
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
        document = await export_document(sql, customer, context.work.store)
    note_change(request, customer=customer.id)
    response = json_response(document)
    response.headers["Content-Disposition"] = f'attachment; filename="customer-{customer.id}.json"'
    response.headers["Cache-Control"] = "no-store"
    return response


CUSTOMER_SCREENS: Final = (
    show("/customers", list_customers, EVERYBODY),
    show("/customers.csv", list_customers, EVERYBODY),
    show("/customers/{customer}", show_customer, EVERYBODY),
    change("/customers/{customer}/export", export, EVERYBODY, audit="customer.export"),
)

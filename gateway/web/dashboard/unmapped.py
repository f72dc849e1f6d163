"""*Unmapped*: items of platforms that nobody has said the product of, with how many customers wait."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from gateway.orders.mapping_store import get_mappings
from gateway.orders.order_queries import list_unmapped
from gateway.web.api.mappings import mapping_documents, put_mappings
from gateway.web.api.order_models import PutMappings
from gateway.web.auditing import note_change
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, OWNERS, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.forms import read_form
from gateway.web.problems import Problem
from gateway.web.validation import validate

_ = str

UNMAPPED: Final = "/unmapped"
NOTHING: Final = "-"
"""In the place of a product: the item is nothing to download, and nobody waits for it."""
MOST_PRODUCTS: Final = 200
"""Products to choose from. The id of any other one can be typed."""
MOST_CHOICES: Final = 300
"""Products of all lists of a page together. With more, there is one list, for fields to type in: each choice
takes 80 bytes, and a page has 60 KB at most."""


async def show_unmapped(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the items, the most waited for first."""
    listing = read_listing(request)
    offset = int(listing.after) if listing.after.isascii() and listing.after.isdigit() else 0
    async with context.work.database.reading() as sql:
        rows = await list_unmapped(sql, listing.limit, min(offset, 10**9))
    names = {each.id: each.name for each in await context.work.desk.connections.list_all()}
    if listing.wants_csv:
        cells = (
            (names.get(row.source, row.source), row.item_key, row.item_value, row.title, row.customers)
            for row in rows
        )
        return context.csv("unmapped", ("source", "key", "value", "title", "customers"), cells)
    products = [each for each in await context.work.catalogue.list_names() if each.status == "active"]
    return await context.show(
        request,
        "dashboard/unmapped.html",
        listing=listing.with_rows(rows, lambda _row: str(offset + len(rows) - 1)),
        names=names,
        products=products[:MOST_PRODUCTS],
        is_short=len(products) * len(rows) <= MOST_CHOICES,
        nothing=NOTHING,
    )


async def map_item(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Say which product an item is; whoever waits gets it. Raises Problem."""
    form = await read_form(request)
    product = form.text("product")
    products: list[Any] = [] if product == NOTHING else [{"productId": product, "scope": "all"}]
    item: dict[str, Any] = {"key": form.text("key"), "value": form.text("value"), "products": products}
    identifier = form.text("connection")
    changed = await _change(context, identifier, item, adds=True)
    note_change(request, connection=identifier, key=item["key"], value=item["value"], product=product)
    text = _("The item is mapped; orders that were looked at again: %(count)s.")
    return await context.go(request, UNMAPPED, text, count=changed)


async def unmap_item(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Take a mapping away; what it granted is revoked. Raises Problem."""
    form = await read_form(request)
    identifier = request.match_info["connection"]
    item: dict[str, Any] = {"key": form.text("key"), "value": form.text("value"), "products": []}
    changed = await _change(context, identifier, item, adds=False)
    note_change(request, connection=identifier, key=item["key"], value=item["value"], product="")
    text = _("The mapping is removed; orders that were looked at again: %(count)s.")
    return await context.go(request, f"/connections/{identifier}", text, count=changed)


async def _change(context: DashboardContext, identifier: str, item: dict[str, Any], *, adds: bool) -> int:
    """Replace the mapping of one item. Returns how many orders changed. Raises Problem."""
    work = context.work
    async with work.database.reading() as sql:
        former = mapping_documents(await get_mappings(sql, identifier))
    kept = [each for each in former if (each["key"], each["value"]) != (item["key"], item["value"])]
    if not adds and len(kept) == len(former):
        raise Problem("not_found", "There is no such mapping.")
    body = validate(PutMappings, {"mappings": [*kept, item] if adds else kept})
    _mappings, changed = await put_mappings(work.database, work.store, identifier, body)
    work.enforcer.wake()
    work.desk.applier.wake()
    return changed


UNMAPPED_SCREENS: Final = (
    show(UNMAPPED, show_unmapped, EVERYBODY),
    show("/unmapped.csv", show_unmapped, EVERYBODY),
    change("/unmapped/map", map_item, EVERYBODY, audit="mappings.put"),
    change("/connections/{connection}/unmap", unmap_item, OWNERS, audit="mappings.put"),
)

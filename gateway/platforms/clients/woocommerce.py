"""WooCommerce's REST API: refunds with their lines, and the orders that changed (wc/v3)."""

from __future__ import annotations

import json
from typing import Final

from gateway.orders.facts import Fact
from gateway.platforms.clients.api import MAX_PAGES, Access, Api, ApiRefused, check_address, segment
from gateway.platforms.clients.interface import Client, Page
from gateway.platforms.clients.times import to_rfc3339
from gateway.platforms.fields import Fields
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.reading import Ignored
from gateway.platforms.reconciliation import Cursor
from gateway.platforms.woocommerce import PLATFORM, TOPIC, read_order, read_refund

PAUSE: Final = 0.2
"""Seconds. The shop is the seller's own machine, often a small one."""
PER_PAGE: Final = 20
"""Orders. One of 500 lines has 300 KiB."""


def access(key: str, shop: str | None, _live: bool, loopback: bool) -> Access:
    """The API of a shop. key: `ck_…:cs_…`. shop: its address. Raises ApiRefused."""
    if not shop:
        raise ApiRefused("Give the shop's address, such as https://shop.example.")
    base = check_address(shop, allow_loopback=loopback)
    return Access(PLATFORM.title, f"{base}/wp-json/wc/v3", key, PAUSE, basic=True)


async def look_up(api: Api, wanted: LookUp, now: int) -> tuple[Fact, ...]:
    """An order and its refunds, with the lines of these. Raises ApiError, FieldFault."""
    if wanted.wanted is not Wanted.REFUNDS:
        return ()
    path = f"/orders/{segment(wanted.id)}"
    order = await api.get_object(path)
    try:
        facts = list(read_order(order, now))
    except Ignored:
        return ()
    currency = order.currency("currency")
    for number in range(1, MAX_PAGES + 1):
        value, _ = await api.get(f"{path}/refunds", {"per_page": "100", "page": str(number)})
        refunds = list(Fields({"refunds": value}).children("refunds"))
        facts += [read_refund(each, wanted.id, currency, now) for each in refunds]
        if len(refunds) < 100:
            return tuple(facts)
    raise ApiRefused("The order has too many refunds.")


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Orders, as webhooks with the topic `order.updated`. Raises ApiError, FieldFault."""
    number = int(cursor.page) if cursor.page and cursor.page.isdecimal() else 1
    query = {
        "modified_after": to_rfc3339(cursor.since or 0),
        "modified_before": to_rfc3339((now if cursor.until is None else cursor.until) + 1000),
        "dates_are_gmt": "true",
        "orderby": "modified",
        "order": "asc",
        "status": "any",
        "per_page": str(PER_PAGE),
        "page": str(number),
    }
    value, _ = await api.get("/orders", query)
    orders = list(Fields({"orders": value}).children("orders"))
    return Page(
        tuple(Message(((TOPIC, "order.updated"),), json.dumps(each.values).encode(), now) for each in orders),
        str(number + 1) if len(orders) == PER_PAGE else None,
    )


CLIENT: Final = Client("woocommerce", access, look_up, list_changes, needs_shop=True)

"""Stripe's API: line items, and the events of the last 30 days (docs.stripe.com/api)."""

from __future__ import annotations

import json
from typing import Final

from gateway.orders.facts import Fact, Line, OrderLines
from gateway.platforms.clients.api import MAX_PAGES, Access, Api, ApiRefused, segment
from gateway.platforms.clients.interface import Client, Page
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.reconciliation import Cursor
from gateway.platforms.stripe import PLATFORM, read_line_items
from gateway.platforms.stripe_invoices import INVOICE_PREFIX, read_invoice_lines

PAUSE: Final = 0.05
"""Seconds. Stripe allows 100 reads a second, 25 in test mode."""


def access(key: str, _shop: str | None, _live: bool, _loopback: bool) -> Access:
    """The API of an account. key: `rk_…` or `sk_…`."""
    return Access(PLATFORM.title, "https://api.stripe.com", key, PAUSE)


async def look_up(api: Api, wanted: LookUp, now: int) -> tuple[Fact, ...]:
    """The lines of a session or of an invoice. Raises ApiError."""
    if wanted.wanted is not Wanted.LINES:
        return ()
    invoice = wanted.id.startswith(INVOICE_PREFIX)
    path = f"/v1/invoices/{segment(wanted.id)}/lines"
    if not invoice:
        path = f"/v1/checkout/sessions/{segment(wanted.id)}/line_items"
    lines: list[Line] = []
    query, seen = {"limit": "100"}, 0
    for _ in range(MAX_PAGES):
        page = await api.get_object(path, query)
        items = list(page.children("data"))
        lines += (read_invoice_lines if invoice else read_line_items)(page, seen)
        seen += len(items)
        if page.values.get("has_more") is not True or not items:
            return (OrderLines(wanted.id, now, tuple(lines)),)
        query = {"limit": "100", "starting_after": items[-1].id("id")}
    raise ApiRefused("The order has too many lines.")


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Events, the newest first: the same that webhooks bring. Raises ApiError, FieldFault."""
    query = {
        "limit": "100",
        "created[gte]": str((cursor.since or 0) // 1000),
        "created[lte]": str((now if cursor.until is None else cursor.until) // 1000),
    }
    query |= {f"types[{place}]": each for place, each in enumerate(PLATFORM.events)}
    if cursor.page:
        query["starting_after"] = cursor.page
    page = await api.get_object("/v1/events", query)
    events = list(page.children("data"))
    more = page.values.get("has_more") is True and events
    return Page(
        tuple(Message((), json.dumps(each.values).encode(), now) for each in events),
        events[-1].id("id") if more else None,
    )


CLIENT: Final = Client("stripe", access, look_up, list_changes)

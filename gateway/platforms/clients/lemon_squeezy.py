"""Lemon Squeezy's API: the newest orders (docs.lemonsqueezy.com/api/orders/list-all-orders)."""

from __future__ import annotations

import json
from typing import Final

from gateway.platforms.clients.api import Access, Api
from gateway.platforms.clients.interface import Client, Page, nothing_to_look_up
from gateway.platforms.interface import Message
from gateway.platforms.lemon_squeezy import PLATFORM
from gateway.platforms.reconciliation import Cursor

PAUSE: Final = 0.3
"""Seconds. Lemon Squeezy allows 300 requests a minute."""
_TYPE: Final = "application/vnd.api+json"
"""It asks for both fields with every request (docs.lemonsqueezy.com/api)."""


def access(key: str, _shop: str | None, _live: bool, _loopback: bool) -> Access:
    """The API of a store."""
    return Access(
        PLATFORM.title,
        "https://api.lemonsqueezy.com",
        key,
        PAUSE,
        headers=(("Accept", _TYPE), ("Content-Type", _TYPE)),
    )


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Orders, the newest first, as webhooks. Raises ApiError, FieldFault.

    Refunds of orders from before the run are not found.
    """
    number = int(cursor.page) if cursor.page and cursor.page.isdecimal() else 1
    answer = await api.get_object(
        "/v1/orders", {"page[size]": "50", "page[number]": str(number), "sort": "-createdAt"}
    )
    orders = list(answer.children("data"))
    new = [
        each for each in orders if (each.maybe("attributes").time("updated_at") or now) >= (cursor.since or 0)
    ]
    old = [
        each for each in orders if (each.maybe("attributes").time("created_at") or now) < (cursor.since or 0)
    ]
    messages = [
        Message((), json.dumps({"meta": {"event_name": "order_created"}, "data": each.values}).encode(), now)
        for each in new
    ]
    last = answer.maybe("meta").maybe("page").values.get("lastPage")
    more = bool(orders) and not old and type(last) is int and number < last
    return Page(tuple(messages), str(number + 1) if more else None)


CLIENT: Final = Client("lemonsqueezy", access, nothing_to_look_up, list_changes)

"""Paddle's API: customers, and all events in their order (developer.paddle.com/api-reference)."""

from __future__ import annotations

import json
from typing import Final

from gateway.orders.facts import Fact
from gateway.platforms.clients.api import Access, Api, segment
from gateway.platforms.clients.interface import Client, Page
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.paddle import PLATFORM, read_customer
from gateway.platforms.reconciliation import Cursor

PAUSE: Final = 0.3
"""Seconds. Paddle allows 240 requests a minute."""


def access(key: str, _shop: str | None, live: bool, _loopback: bool) -> Access:
    """The API of an account. Sandbox accounts have an address of their own."""
    return Access(PLATFORM.title, f"https://{'api' if live else 'sandbox-api'}.paddle.com", key, PAUSE)


async def look_up(api: Api, wanted: LookUp, now: int) -> tuple[Fact, ...]:
    """Who a customer is. Raises ApiError, FieldFault."""
    if wanted.wanted is not Wanted.CUSTOMER:
        return ()
    answer = await api.get_object(f"/customers/{segment(wanted.id)}")
    return (read_customer(answer.child("data"), now),)


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Events after the last one seen, the oldest first, as webhooks. Raises ApiError, FieldFault."""
    query = {"order_by": "id[ASC]", "per_page": "100"}
    if after := cursor.page or cursor.mark:
        query["after"] = after
    answer = await api.get_object("/events", query)
    events = list(answer.children("data"))
    new = [each for each in events if (each.time("occurred_at") or now) >= (cursor.since or 0)]
    last = events[-1].id("event_id") if events else None
    more = answer.maybe("meta").maybe("pagination").values.get("has_more") is True
    return Page(
        tuple(Message((), json.dumps(each.values).encode(), now) for each in new),
        last if more else None,
        last,
    )


CLIENT: Final = Client("paddle", access, look_up, list_changes)

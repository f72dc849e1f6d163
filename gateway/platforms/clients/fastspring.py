"""FastSpring's API: orders, and events that were not taken (developer.fastspring.com/reference)."""

from __future__ import annotations

import json
from typing import Final

from gateway.orders.facts import Fact
from gateway.platforms.clients.api import Access, Api, segment
from gateway.platforms.clients.interface import Client, Page
from gateway.platforms.fastspring import PLATFORM, read_order
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.reconciliation import Cursor

PAUSE: Final = 0.3
"""Seconds. FastSpring allows 250 requests a minute."""


def access(key: str, _shop: str | None, _live: bool, _loopback: bool) -> Access:
    """The API of a store. key: user and password, with a colon between them."""
    return Access(PLATFORM.title, "https://api.fastspring.com", key, PAUSE, basic=True)


async def look_up(api: Api, wanted: LookUp, now: int) -> tuple[Fact, ...]:
    """An order. It may be alone in the answer, or in a list. Raises ApiError, FieldFault."""
    if wanted.wanted is not Wanted.ORDER:
        return ()
    answer = await api.get_object(f"/orders/{segment(wanted.id)}")
    order = next(answer.children("orders"), answer) if answer.has("orders") else answer
    return (read_order(order, now, order.flag("live", missing=True) is False),)


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Events that were not taken, 25 at a time: the same that webhooks bring. Raises ApiError, FieldFault."""
    since = cursor.since or 0
    start = int(cursor.page) if cursor.page and cursor.page.isdecimal() else since
    until = now if cursor.until is None else cursor.until
    answer = await api.get_object("/events/unprocessed", {"begin": str(start), "end": str(until)})
    events = list(answer.children("events"))
    times = [moment for each in events if (moment := each.milliseconds("created")) is not None]
    more = bool(answer.values.get("more")) and times
    return Page(
        tuple(Message((), json.dumps({"events": [each.values]}).encode(), now) for each in events),
        str(max(*times, start + 1)) if more else None,
    )


CLIENT: Final = Client("fastspring", access, look_up, list_changes)

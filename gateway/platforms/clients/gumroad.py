"""Gumroad's API: sales (gumroad.com/api, sales)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from gateway.orders.facts import Fact
from gateway.platforms.clients.api import Access, Api, ApiRefused, segment
from gateway.platforms.clients.interface import Client, Page
from gateway.platforms.gumroad import PLATFORM, read_sale
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.reconciliation import Cursor

PAUSE: Final = 0.5
"""Seconds. Gumroad does not say how many requests it allows."""


def access(key: str, _shop: str | None, _live: bool, _loopback: bool) -> Access:
    """The API of an account. key: an access token with the scope `view_sales`."""
    return Access(PLATFORM.title, "https://api.gumroad.com", key, PAUSE)


async def look_up(api: Api, wanted: LookUp, now: int) -> tuple[Fact, ...]:
    """A sale and what became of it. Raises ApiError, FieldFault."""
    if wanted.wanted is not Wanted.ORDER:
        return ()
    answer = await api.get_object(f"/v2/sales/{segment(wanted.id)}")
    if answer.values.get("success") is not True:
        raise ApiRefused("Gumroad knows no such sale.")
    sale = answer.child("sale")
    if sale.id("id") != wanted.id:
        raise ApiRefused("Gumroad answered with another sale.")
    return read_sale(sale, now)


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Sales since a day, as pings, each of which is looked up. Raises ApiError, FieldFault."""
    day = datetime.fromtimestamp((cursor.since or 0) // 1000 - 86400, UTC).strftime("%Y-%m-%d")
    query = {"after": day} | ({"page_key": cursor.page} if cursor.page else {})
    answer = await api.get_object("/v2/sales", query)
    pings = [
        urlencode({"resource_name": "sale", "sale_id": sale.id("id")}).encode()
        for sale in answer.children("sales")
    ]
    return Page(tuple(Message((), ping, now) for ping in pings), answer.maybe_id("next_page_key"))


CLIENT: Final = Client("gumroad", access, look_up, list_changes)

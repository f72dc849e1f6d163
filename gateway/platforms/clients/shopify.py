"""Shopify's Admin API: the orders that changed (shopify.dev/docs/api/admin-rest, resources/order)."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import unquote

from gateway.platforms.clients.api import Access, Api, ApiRefused, check_address
from gateway.platforms.clients.interface import Client, Page, nothing_to_look_up
from gateway.platforms.clients.times import to_rfc3339
from gateway.platforms.fields import Fields
from gateway.platforms.interface import Message
from gateway.platforms.reconciliation import Cursor
from gateway.platforms.shopify import PLATFORM, TOPIC

VERSION: Final = "2026-10"
"""Shopify knows a version for a year, and then answers as its oldest one (docs/api/usage/versioning)."""
PAUSE: Final = 0.5
"""Seconds. A shop allows two requests a second."""

_NEXT: Final = re.compile(r'<[^<>]*[?&]page_info=([\w%=+/.~-]{1,2000})[^<>]*>;\s*rel="?next"?', re.ASCII)


def access(key: str, shop: str | None, _live: bool, loopback: bool) -> Access:
    """The API of a shop. shop: `acme.myshopify.com`, with or without https://. Raises ApiRefused."""
    if not shop:
        raise ApiRefused("Give the shop's address, such as acme.myshopify.com.")
    address = shop if "://" in shop else f"https://{shop}"
    base = check_address(address, allow_loopback=loopback)
    headers = (("X-Shopify-Access-Token", key),)
    return Access(PLATFORM.title, f"{base}/admin/api/{VERSION}", "", PAUSE, headers=headers)


async def list_changes(api: Api, cursor: Cursor, now: int) -> Page:
    """Orders, with their refunds, as webhooks of `orders/updated`. Raises ApiError, FieldFault."""
    query = {"limit": "50"}
    if cursor.page:
        query["page_info"] = cursor.page  # allows no other parameter but `limit`
    else:
        query |= {
            "status": "any",
            "updated_at_min": to_rfc3339(cursor.since or 0),
            "updated_at_max": to_rfc3339(now if cursor.until is None else cursor.until),
            "order": "updated_at asc",
        }
    value, headers = await api.get("/orders.json", query)
    orders = Fields(value if isinstance(value, dict) else {}).children("orders")
    link = _NEXT.search(headers.get("Link", "")[:8192])
    return Page(
        tuple(
            Message(((TOPIC[0], "orders/updated"),), json.dumps(each.values).encode(), now) for each in orders
        ),
        unquote(link[1]) if link else None,
    )


CLIENT: Final = Client("shopify", access, nothing_to_look_up, list_changes, needs_shop=True)

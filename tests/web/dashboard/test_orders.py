"""*Orders* in the dashboard: found, shown with what they granted and why, and as text whatever they have."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.support.control_plane import Api
from tests.support.dashboard import Visitor

NAUGHTY = "\"><script>alert(1)</script>'\u202e"


async def tell(api: Api, order: str = "A-1", **changes: Any) -> None:
    """An order of drums, and of something that nobody has mapped."""
    body = {
        "customer": {"email": "ann@example.com", "name": NAUGHTY},
        "status": "paid",
        "number": "#1001",
        "placedAt": "2026-09-28T12:00:00Z",
        "lines": [
            {"id": "1", "productId": "drums", "quantity": 2, "title": NAUGHTY},
            {"id": "2", "sku": NAUGHTY, "quantity": 1},
        ],
        **changes,
    }
    status, answer, _ = await api.ask("PUT", f"/api/orders/zapier/{order}", body)
    assert status in (200, 201), answer


async def numbers(owner: Visitor, query: str = "") -> list[str]:
    found = await owner.get(f"/orders.csv{query}")
    return [row["orderId"] for row in csv.DictReader(io.StringIO(found.text))]


async def test_orders_are_found_and_shown_as_text(api: Api, owner: Visitor) -> None:
    await tell(api)
    await tell(api, "A-2", number="#1002", customer={"email": "ben@example.com"}, status="refunded",
               placedAt="2026-09-29T12:00:00Z")  # fmt: skip
    assert await numbers(owner) == ["A-2", "A-1"]
    assert await numbers(owner, "?q=1001") == ["A-1"]
    assert await numbers(owner, "?q=ben@") == ["A-2"]
    assert await numbers(owner, "?status=refunded") == ["A-2"]
    assert await numbers(owner, "?from=2026-09-29") == ["A-2"]
    assert await numbers(owner, "?to=2026-09-28") == ["A-1"]
    assert await numbers(owner, "?from=never&to=2026-13-45") == ["A-2", "A-1"]
    assert await numbers(owner, "?product=bass") == []
    page = await owner.get("/orders")
    for text in ("#1001", "ann@example.com", "Refunded", "not mapped"):
        assert text in page.text
    assert "<script>" not in page.text
    assert "Nothing here fits" in (await owner.get("/orders?q=nobody")).text


async def test_an_order_shows_what_it_grants_and_why(api: Api, owner: Visitor) -> None:
    await tell(api)
    path = (await owner.get("/orders")).text.partition('href="/dashboard/orders/')[2].partition('"')[0]
    page = await owner.get(f"/orders/{path}")
    assert page.status == 200
    for text in ("#1001", "A-1", "zapier", "drums", "Active", "not mapped", "Paid"):
        assert text in page.text
    assert "<script>" not in page.text
    assert "\u202e" not in page.text
    await tell(api, status="disputed")
    page = await owner.get(f"/orders/{path}")
    assert "The payment is disputed." in page.text
    assert "Suspended" in page.text


async def test_an_unknown_order_is_not_found(api: Api, owner: Visitor) -> None:
    for path in ("none", "A-1", "%00", "%ff"):
        assert (await owner.get(f"/orders/{path}")).status == 404


async def test_without_orders_the_page_says_what_to_do(api: Api, owner: Visitor) -> None:
    assert "Connect your shop" in (await owner.get("/orders")).text


async def test_cells_are_no_formulas(api: Api, owner: Visitor) -> None:
    await tell(api, number="=HYPERLINK(1)", customer={"email": "ann@example.com", "name": "@SUM(1)"})
    text = (await owner.get("/orders.csv")).text
    assert "'=HYPERLINK(1)" in text
    assert "'@SUM(1)" in text

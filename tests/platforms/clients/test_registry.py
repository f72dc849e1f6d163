"""Each platform's API against a server on loopback that is made from the vendor's documents."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from gateway.orders.facts import (
    CustomerFact,
    Identifier,
    ItemKey,
    Line,
    OrderLines,
    OrderSnapshot,
    Refund,
    RefundedLine,
)
from gateway.platforms.clients.api import Access, ApiRefused
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.fields import FieldFault
from gateway.platforms.interface import LookUp, Message, Wanted
from gateway.platforms.reconciliation import Cursor, advance, begin
from gateway.platforms.registry import PLATFORMS
from tests.support.platform_api import numbered_list, paddle_list, platform_api, stripe_list
from tests.support.webhooks import NOW_MS, changed, fixture

CURSOR = begin(Cursor(done=NOW_MS - 3_600_000), NOW_MS)


def access(kind: str, key: str = "user:secret", shop: str | None = "https://shop.example") -> Access:
    return CLIENTS[kind].access(key, shop, True, False)


async def walk(kind: str, answers: dict[str, Any]) -> tuple[list[Message], Cursor, list[dict[str, str]]]:
    """A whole run: the messages, the cursor after it, and the queries."""
    found: list[Message] = []
    cursor = CURSOR
    list_changes = CLIENTS[kind].list_changes
    assert list_changes
    async with platform_api(access(kind), answers) as (api, server):
        while cursor.since is not None:
            page = await list_changes(api, cursor, NOW_MS)
            found += page.messages
            cursor = advance(cursor, page.next, page.mark, NOW_MS)
        return found, cursor, server.queries


def types(kind: str, messages: list[Message]) -> list[str]:
    """The types of the events in the messages; none of them may have a fault."""
    readings = [reading for message in messages for reading in PLATFORMS[kind].read(message)]
    assert [reading.fault for reading in readings if reading.fault] == []
    return [reading.event.type for reading in readings]


def test_the_table() -> None:
    assert set(CLIENTS) == set(PLATFORMS) - {"polar"}
    assert [kind for kind, client in CLIENTS.items() if client.needs_shop] == ["shopify", "woocommerce"]
    assert access("paddle").base == "https://api.paddle.com"
    assert CLIENTS["paddle"].access("k", None, False, False).base == "https://sandbox-api.paddle.com"
    assert access("shopify", shop="acme.myshopify.com").base == "https://acme.myshopify.com/admin/api/2026-10"
    for kind in ("shopify", "woocommerce"):
        for shop in (None, "", "http://shop.example"):
            with pytest.raises(ApiRefused):
                access(kind, shop=shop)


async def test_stripes_line_items_over_several_pages() -> None:
    items = [
        {"id": f"li_{number}", "description": "Drums", "quantity": 3, "price": {"id": "p", "product": "q"}}
        for number in range(250)
    ]
    answers = {"/v1/checkout/sessions/cs_1/line_items": stripe_list(items)}
    async with platform_api(access("stripe"), answers) as (api, server):
        [found] = await CLIENTS["stripe"].look_up(api, LookUp(Wanted.LINES, "cs_1"), 7)
        assert len(server.requests) == 3
    assert isinstance(found, OrderLines)
    assert (found.order_id, found.as_of, len(found.lines)) == ("cs_1", 7, 250)
    known = (Identifier(ItemKey.PRICE, "p"), Identifier(ItemKey.PRODUCT, "q"))
    assert found.lines[249] == Line("li_249", known, "Drums", 3)


async def test_the_lines_of_an_invoice_of_stripe() -> None:
    lines = fixture("stripe", "invoice_paid")["data"]["object"]["lines"]["data"]
    async with platform_api(access("stripe"), {"/v1/invoices/in_1/lines": stripe_list(lines)}) as (api, _):
        [found] = await CLIENTS["stripe"].look_up(api, LookUp(Wanted.LINES, "in_1"), 7)
    assert isinstance(found, OrderLines)
    assert [line.id for line in found.lines] == ["il_1"]


async def test_a_fault_in_an_answer_names_the_field() -> None:
    answers = {"/v1/checkout/sessions/cs_1/line_items": {"data": [{"id": "li_1", "quantity": "3"}]}}
    async with platform_api(access("stripe"), answers) as (api, _):
        with pytest.raises(FieldFault, match=r"data\[0\]\.quantity must be a whole number"):
            await CLIENTS["stripe"].look_up(api, LookUp(Wanted.LINES, "cs_1"), 7)


async def test_an_id_cannot_lead_to_another_path() -> None:
    async with platform_api(access("stripe"), {}) as (api, server):
        with pytest.raises(ApiRefused):
            await CLIENTS["stripe"].look_up(api, LookUp(Wanted.LINES, "../../x?y"), 7)
        assert server.requests[0].raw_path.startswith("/v1/checkout/sessions/..%2F..%2Fx%3Fy/line_items")


async def test_stripes_events_are_those_of_its_webhooks() -> None:
    event = fixture("stripe", "checkout_session_completed")
    events = [changed(event, id=f"evt_{number}") for number in range(150)]
    found, cursor, queries = await walk("stripe", {"/v1/events": stripe_list(events)})
    assert types("stripe", found) == ["checkout.session.completed"] * 150
    assert len({PLATFORMS["stripe"].read(each)[0].event.dedupe_key for each in found}) == 150
    assert (cursor.done, cursor.finished) == (NOW_MS, NOW_MS)
    assert queries[0]["created[gte]"] == str((CURSOR.since or 0) // 1000)
    assert queries[0]["types[0]"] == "checkout.session.completed"
    assert queries[1]["starting_after"] == "evt_99"


async def test_woocommerces_refunds_with_their_lines() -> None:
    refunds = fixture("woocommerce", "refunds")
    order = changed(fixture("woocommerce", "order_updated"), refunds=[{"id": 726, "total": "-29.00"}])
    base = "/wp-json/wc/v3/orders/727"
    answers = {base: order, f"{base}/refunds": numbered_list(refunds)}
    async with platform_api(access("woocommerce"), answers) as (api, _):
        found = await CLIENTS["woocommerce"].look_up(api, LookUp(Wanted.REFUNDS, "727"), 7)
    told = [each for each in found if isinstance(each, Refund) and each.lines]
    assert [(each.refund_id, each.lines) for each in told] == [("726", (RefundedLine(1, line_id="315"),))]
    assert isinstance(found[0], OrderSnapshot)


async def test_woocommerces_orders_over_several_pages() -> None:
    order = fixture("woocommerce", "order_updated")
    orders = [changed(order, id=number) for number in range(1, 46)]
    found, _, queries = await walk("woocommerce", {"/wp-json/wc/v3/orders": numbered_list(orders)})
    assert types("woocommerce", found) == ["order.updated"] * 45
    assert [query["page"] for query in queries] == ["1", "2", "3"]
    assert (queries[0]["orderby"], queries[0]["dates_are_gmt"]) == ("modified", "true")


async def test_shopifys_orders_by_its_links() -> None:
    order = fixture("shopify", "order_paid")

    def answer(request: web.BaseRequest) -> web.Response:
        second = request.query.get("page_info") == "abc/1=="
        link = '<https://shop.example/orders.json?limit=50&page_info=abc%2F1%3D%3D>; rel="next"'
        previous = '<https://shop.example/orders.json?limit=50&page_info=x>; rel="previous"'
        return web.json_response(
            {"orders": [changed(order, id=2 if second else 1)]},
            headers={"Link": previous if second else link},
        )

    found, _, queries = await walk("shopify", {"/admin/api/2026-10/orders.json": answer})
    assert types("shopify", found) == ["orders/updated"] * 2
    assert queries[1] == {"limit": "50", "page_info": "abc/1=="}
    assert queries[0]["status"] == "any"


async def test_fastsprings_order_and_its_lost_events() -> None:
    order = fixture("fastspring", "order_completed")["events"][0]["data"]
    for answer in (order, {"orders": [order]}):
        async with platform_api(access("fastspring"), {"/orders/o1": answer}) as (api, _):
            [found] = await CLIENTS["fastspring"].look_up(api, LookUp(Wanted.ORDER, "o1"), 7)
        assert isinstance(found, OrderSnapshot)
        assert (len(found.lines or ()), found.test) == (2, False)
    [event] = fixture("fastspring", "return_created")["events"]

    def events(request: web.BaseRequest) -> dict[str, Any]:
        first = request.query["begin"] == str(CURSOR.since)
        return {"events": [event], "more": True} if first else {"events": []}

    lost, _, queries = await walk("fastspring", {"/events/unprocessed": events})
    assert types("fastspring", lost) == ["return.created"]
    assert queries[0] == {"begin": str(CURSOR.since), "end": str(NOW_MS)}
    assert len(queries) == 2


async def test_paddles_customers_and_events() -> None:
    customer = fixture("paddle", "customer_updated")["data"]
    async with platform_api(access("paddle"), {"/customers/ctm_1": {"data": customer}}) as (api, _):
        found = await CLIENTS["paddle"].look_up(api, LookUp(Wanted.CUSTOMER, "ctm_1"), 7)
    assert found == (
        CustomerFact("ctm_01hv6y1jedq4p1n0yqn5ba3ky4", 1789995619000, "ann@example.com", "Ann Example"),
    )
    event = fixture("paddle", "transaction_completed")
    old = changed(event, event_id="evt_old", occurred_at="2026-01-01T00:00:00Z")
    recent = [changed(event, event_id=f"evt_{n}", occurred_at="2026-09-21T14:00:00Z") for n in range(150)]
    messages, cursor, queries = await walk("paddle", {"/events": paddle_list([old, *recent])})
    assert types("paddle", messages) == ["transaction.completed"] * 150
    assert (cursor.mark, queries[1]["after"]) == ("evt_149", "evt_98")


async def test_lemon_squeezys_newest_orders() -> None:
    order = fixture("lemonsqueezy", "order_created")["data"]
    new = changed(
        order, attributes__created_at="2026-09-21T14:00:00Z", attributes__updated_at="2026-09-21T14:00:00Z"
    )
    old = changed(
        order, attributes__created_at="2026-01-01T00:00:00Z", attributes__updated_at="2026-01-01T00:00:00Z"
    )

    def orders(request: web.BaseRequest) -> dict[str, Any]:
        number = int(request.query["page[number]"])
        return {"data": [new, new] if number == 1 else [new, old], "meta": {"page": {"lastPage": 9}}}

    found, _, queries = await walk("lemonsqueezy", {"/v1/orders": orders})
    assert types("lemonsqueezy", found) == ["order_created"] * 3
    assert len(queries) == 2


async def test_gumroads_sales_are_looked_up() -> None:
    sale = fixture("gumroad", "sale")
    wanted = LookUp(Wanted.ORDER, sale["id"], required=True)
    for answer, right in (
        ({"success": True, "sale": sale}, True),
        ({"success": False}, False),
        ({"success": True, "sale": changed(sale, id="another")}, False),
    ):
        path = f"/v2/sales/{sale['id']}"
        async with platform_api(access("gumroad"), {path: answer}) as (api, _):
            if right:
                assert len(await CLIENTS["gumroad"].look_up(api, wanted, 7)) == 2
            else:
                with pytest.raises(ApiRefused):
                    await CLIENTS["gumroad"].look_up(api, wanted, 7)


async def test_gumroads_lost_sales_are_pings() -> None:
    sale = fixture("gumroad", "sale")

    def sales(request: web.BaseRequest) -> dict[str, Any]:
        first = "page_key" not in request.query
        return {"success": True, "sales": [sale], **({"next_page_key": "2026-1"} if first else {})}

    found, _, _ = await walk("gumroad", {"/v2/sales": sales})
    assert types("gumroad", found) == ["sale", "sale"]
    assert parse_qs(found[0].body.decode()) == {"resource_name": ["sale"], "sale_id": [sale["id"]]}


async def test_what_other_platforms_are_asked_is_nothing() -> None:
    for kind, client in CLIENTS.items():
        async with platform_api(access(kind), {}) as (api, server):
            wanted = Wanted.CUSTOMER if kind != "paddle" else Wanted.LINES
            assert await client.look_up(api, LookUp(wanted, "x"), 7) == ()
            assert server.requests == []


def test_what_a_run_finds_reads_as_what_webhooks_brought() -> None:
    """The same event has the same dedupe key, whichever way it came."""
    for kind, name in (
        ("stripe", "refund_created"),
        ("paddle", "adjustment_updated"),
        ("fastspring", "return_created"),
    ):
        event = fixture(kind, name)
        [one] = PLATFORMS[kind].read(Message((), json.dumps(event).encode(), 1))
        [other] = PLATFORMS[kind].read(Message((), json.dumps(event, indent=2).encode(), 2))
        assert one.event.dedupe_key == other.event.dedupe_key

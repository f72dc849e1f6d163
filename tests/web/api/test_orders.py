"""Orders, customers, entitlements and mappings by the admin API, on both engines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.database.tables import CONNECTION
from gateway.orders.applying import tell
from gateway.orders.order_writer import Source
from tests.support.facts import line, snapshot
from tests.support.sales import Sales

SHOP = "0123456789abcdefghjkmnpqrs"


async def connect(sales: Sales) -> None:
    """Make a connection, and an order of it with an item that nobody has mapped."""
    async with sales.database.writing() as sql:
        await sql.execute(
            CONNECTION.insert().values(
                id=SHOP, kind="shopify", name="shop", live=True, secrets=b"", options={}, created=1
            )
        )
    order = snapshot(1000, line("7", "variant:42", "sku:DR", quantity=2, title="Drums"))
    await tell(sales.database, Source(SHOP, SHOP), [order])


async def test_an_order_is_told_shown_and_told_again(sales: Sales) -> None:
    status, told = await sales.put(number="#7", country="DE")
    assert status == 201
    order = told["order"]
    assert (order["source"], order["orderId"], order["number"]) == ("zapier", "A-1", "#7")
    assert order["customer"] == {"id": order["customer"]["id"], "email": "ann@example.com", "name": "Ann"}
    [shown] = order["lines"]
    assert shown["item"] == {"key": "product", "value": "drums"}
    assert (shown["quantity"], shown["refunded"], len(shown["entitlementIds"])) == (3, 0, 1)
    assert (await sales.put(number="#7", country="DE"))[0] == 200
    assert await sales.ask("GET", "/orders/zapier/A-1") == (200, told)
    refunded = [{"id": "1", "productId": "drums", "quantity": 3, "refunded": 1}]
    _, told = await sales.put(lines=refunded)
    assert told["order"]["status"] == "paid"
    _, listed = await sales.ask("GET", "/entitlements?email=ann@EXAMPLE.com&status=active&productId=drums")
    [entitlement] = listed["entitlements"]
    assert (entitlement["quantity"], entitlement["reasons"]) == (2, [])
    assert entitlement["order"] == {"source": "zapier", "orderId": "A-1", "number": None}
    _, told = await sales.put(status="refunded", lines=refunded)
    assert (told["order"]["status"], told["order"]["lines"][0]["refunded"]) == ("refunded", 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [{"id": "1", "productId": "drums"}] * 2}, "body"),
        ({"lines": [{"id": "1", "productId": "drums", "refunded": 2}]}, "lines[0]"),
        ({"lines": [{"id": "1"}]}, "lines[0]"),
        ({"lines": [{"id": "1", "productId": "drums", "sku": "D"}]}, "lines[0]"),
        ({"lines": [{"id": "1", "productId": "drums", "quantity": 0}]}, "lines[0].quantity"),
        ({"status": "lost"}, "status"),
        ({"customer": {"email": "ann@example.com\r\nBcc: x@y.z"}}, "customer.email"),
        ({"customer": {"email": "ann"}}, "customer.email"),
        ({"more": 1}, "more"),
    ],
)
async def test_an_order_that_is_wrong_is_refused_and_changes_nothing(
    sales: Sales, changes: dict[str, Any], field: str
) -> None:
    status, problem = await sales.put(**changes)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert field in [each["field"] for each in problem["errors"]]
    assert (await sales.ask("GET", "/orders"))[1]["orders"] == []


@pytest.mark.slow
async def test_why_an_order_is_not_taken(sales: Sales) -> None:
    await connect(sales)
    assert (await sales.put(source=SHOP))[1]["code"] == "source_taken"
    assert (await sales.put(source="Big_Words"))[0] == 400
    assert (await sales.put(lines=[{"id": "1", "productId": "nothing"}]))[1]["code"] == "product_unknown"
    assert (await sales.ask("GET", "/orders/zapier/nothing"))[1]["code"] == "order_unknown"
    assert (await sales.ask("GET", "/orders/zapier/%00"))[1]["code"] == "order_unknown"


async def test_orders_are_found_by_filters_and_pages(sales: Sales) -> None:
    for number, moment in (("1", "2026-01-01T00:00:00Z"), ("2", "2026-02-01T00:00:00Z")):
        await sales.put(number, placedAt=moment)
    await sales.put("3", customer={"email": "bob@example.com"}, status="cancelled")

    async def ids(query: str) -> list[str]:
        status, found = await sales.ask("GET", f"/orders?{query}")
        assert status == 200, found
        return [each["orderId"] for each in found["orders"]]

    assert await ids("") == ["1", "2", "3"]
    assert await ids("email=ann@example.com") == ["1", "2"]
    assert await ids("status=cancelled") == ["3"]
    assert await ids("productId=drums") == ["1", "2"], "the cancelled one never was paid"
    assert await ids("from=2026-01-15T00:00:00Z&to=2026-02-01T00:00:00Z") == []
    assert await ids("from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z") == ["1"]
    _, page = await sales.ask("GET", "/orders?limit=2")
    _, rest = await sales.ask("GET", f"/orders?limit=2&cursor={page['nextCursor']}")
    assert [each["orderId"] for each in (*page["orders"], *rest["orders"])] == ["1", "2", "3"]
    assert rest["nextCursor"] is None


async def test_a_url_is_made_from_what_is_active_and_its_token_ends_with_it(sales: Sales) -> None:
    _, told = await sales.put()
    [entitlement] = told["order"]["lines"][0]["entitlementIds"]
    path = f"/entitlements/{entitlement}/download-url"
    status, url = await sales.ask("POST", path, {"expiresIn": 60, "version": "2.0.0"})
    assert (status, url["version"]) == (200, "2.0.0")
    assert url["downloadUrl"].endswith(f"/download?token={url['downloadToken']}")
    assert (await sales.ask("POST", path, {"expiresIn": 10**9}))[0] == 400
    assert (await sales.ask("POST", path, {"version": "9"}))[1]["code"] == "version_not_included"
    _, tokens = await sales.ask("GET", "/downloads/tokens")
    [token] = tokens["tokens"]
    assert (token["status"], token["customer"]["email"]) == ("active", "ann@example.com")
    await sales.put(status="disputed")

    async def is_ended() -> bool:
        record = await sales.api.store.tokens.get(token["tokenId"])
        return record is None or record.revoked is not None

    async with asyncio.timeout(60):
        while not await is_ended():  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.02)
    assert (await sales.ask("POST", path, {}))[1]["code"] == "entitlement_not_active"
    assert (await sales.ask("POST", path))[1]["code"] == "entitlement_not_active"  # the body may be left out


async def test_the_seller_grants_and_overrides(sales: Sales) -> None:
    body = {"email": "Bob@example.com", "productId": "drums", "reason": "a review copy", "quantity": 2}
    status, made = await sales.ask("POST", "/entitlements", body)
    granted = made["entitlement"]
    assert (status, granted["email"], granted["order"]) == (201, "Bob@example.com", None)
    path = f"/entitlements/{granted['id']}"
    _, changed = await sales.ask("PATCH", path, {"override": "revoke", "reason": "shared"})
    assert changed["entitlement"]["status"] == "revoked"
    assert changed["entitlement"]["reasons"] == ["seller_revoked"]
    assert await sales.ask("GET", path) == (200, changed)
    for null in (None, ""):
        await sales.ask("PATCH", path, {"override": "revoke"})
        _, changed = await sales.ask("PATCH", path, {"override": null})
        assert changed["entitlement"]["status"] == "active"
        assert changed["entitlement"]["override"] is None
    assert (await sales.ask("PATCH", path, {"reason": "x"}))[0] == 400
    assert (await sales.ask("POST", "/entitlements", {**body, "productId": "no"}))[0] == 404
    assert (await sales.ask("POST", "/entitlements", {**body, "scope": "version"}))[0] == 400
    assert (await sales.ask("POST", "/entitlements", {**body, "until": "2026-01-01T00:00:00Z"}))[0] == 400
    until = {**body, "scope": "until", "until": "2030-01-01T00:00:00Z"}
    _, made = await sales.ask("POST", "/entitlements", until)
    assert made["entitlement"]["updatesUntil"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.slow
async def test_what_is_unmapped_is_listed_and_granted_when_it_is_mapped(sales: Sales) -> None:
    await connect(sales)
    _, waiting = await sales.ask("GET", "/unmapped")
    assert waiting["unmapped"] == [
        {"connectionId": SHOP, "key": "variant", "value": "42", "title": "Drums", "customers": 1}
    ]
    path = f"/connections/{SHOP}/mappings"
    mapping = {
        "key": "sku",
        "value": "DR",
        "products": [{"productId": "drums", "scope": "until", "until": "P1Y"}],
    }
    status, put = await sales.ask("PUT", path, {"mappings": [mapping]})
    assert (status, put["mappings"]) == (200, [mapping])
    assert await sales.ask("GET", path) == (200, put)
    assert (await sales.ask("GET", "/unmapped"))[1]["unmapped"] == []
    _, order = await sales.ask("GET", f"/orders/{SHOP}/1001")
    assert order["order"]["lines"][0]["item"] == {"key": "sku", "value": "DR"}
    _, listed = await sales.ask("GET", "/entitlements?email=ann@example.com")
    assert [each["updatesUntil"] for each in listed["entitlements"]] == ["1971-01-01T00:00:01.000Z"]
    assert (await sales.ask("PUT", path, {"mappings": [mapping] * 2}))[0] == 400
    unknown = {**mapping, "products": [{"productId": "no"}]}
    assert (await sales.ask("PUT", path, {"mappings": [unknown]}))[1]["code"] == "product_unknown"
    assert (await sales.ask("GET", f"/connections/{SHOP[::-1]}/mappings"))[1]["code"] == "connection_unknown"


@pytest.mark.slow
async def test_a_customer_is_found_exported_moved_and_erased(sales: Sales) -> None:
    _, told = await sales.put()
    [entitlement] = told["order"]["lines"][0]["entitlementIds"]
    await sales.ask("POST", f"/entitlements/{entitlement}/download-url", {})
    _, found = await sales.ask("GET", "/customers?email=ann@EXAMPLE.COM")
    [customer] = found["customers"]
    path = f"/customers/{customer['id']}"
    _, moved = await sales.ask("POST", f"{path}/email", {"email": "Ann@New.example"})
    assert moved["customer"]["email"] == "Ann@new.example"
    assert (await sales.ask("GET", "/customers?email=ann@example.com"))[1]["customers"] == []
    await sales.put()
    _, export = await sales.ask("GET", f"{path}/export")
    assert [each["orderId"] for each in export["orders"]] == ["A-1"]
    assert [each["id"] for each in export["entitlements"]] == [entitlement]
    assert len(export["tokens"]) == 1
    assert {each["kind"] for each in export["facts"]} == {"order", "lines", "paid"}
    assert (await sales.ask("DELETE", path))[0] == 204
    await sales.put()
    _, order = await sales.ask("GET", "/orders/zapier/A-1")
    assert order["order"]["customer"] == {"id": customer["id"], "email": None, "name": None}
    _, erased = await sales.ask("GET", path)
    assert (erased["customer"]["email"], erased["customer"]["name"]) == (None, None)
    assert erased["customer"]["erasedAt"] is not None

    async def are_live() -> bool:
        _, listed = await sales.ask("GET", "/downloads/tokens?status=active")
        return bool(listed["tokens"])

    async with asyncio.timeout(60):
        while await are_live():  # noqa: ASYNC110 - nothing announces what is waited for
            await asyncio.sleep(0.02)
    assert (await sales.ask("GET", "/customers/nobody"))[1]["code"] == "customer_unknown"


@pytest.mark.slow
async def test_tokens_of_who_is_erased_end_and_forget_them(sales: Sales) -> None:
    await sales.put()
    minted = await sales.api.store.tokens.create(
        "drums", email="ann@example.com", name="Ann", metadata={"a": "b"}
    )
    _, found = await sales.ask("GET", "/customers?email=ann@example.com")
    assert (await sales.ask("DELETE", f"/customers/{found['customers'][0]['id']}"))[0] == 204
    record = await sales.api.store.tokens.get(minted.record.id)
    assert record is not None
    assert record.revoked is not None
    assert (record.email, record.name, record.metadata) == (None, None, {})

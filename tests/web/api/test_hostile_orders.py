"""Orders in odd and hostile forms: the API and the import of a file follow one contract."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.orders.limits import MAX_LINES
from tests.support.past_customers import read
from tests.support.sales import Sales

LONGEST = f"{'a' * 64}@{'.'.join(['b' * 60] * 3)}.{'c' * 6}"

ADDRESSES: tuple[tuple[str, str | None], ...] = (
    ("jo@example.com", "jo@example.com"),
    ("Jo@EXAMPLE.com", "Jo@example.com"),
    (" jo@example.com\u00a0", "jo@example.com"),
    ("jo+tag@example.com", "jo+tag@example.com"),
    ('"jo"@example.com', "jo@example.com"),
    ('"jo doe"@example.com', '"jo doe"@example.com'),
    ('"a@b"@example.com', '"a@b"@example.com'),
    ("o'brien@example.com", "o'brien@example.com"),
    ("=cmd()@example.com", None),
    ("=cmd@example.com", "=cmd@example.com"),
    ("jö@exämple.com", "jö@xn--exmple-cua.com"),
    ("jo\u0308@example.com", "jö@example.com"),
    (LONGEST, LONGEST),
    ("a" + LONGEST, None),
    (LONGEST + "c", None),
    ("jo@example.com\r\nBcc: x@example.com", None),
    ("jo@example.com\nX: y", None),
    ("jo\0@example.com", None),
    ("jo\u202e@example.com", None),
    ("jo@example.com,ann@example.com", None),
    ("Jo <jo@example.com>", None),
    ("jo@@example.com", None),
    ("jo@example", "jo@example"),
    ("jo@[10.0.0.1]", None),
    ("jo@-example.com", None),
    ("jo doe@example.com", None),
    ("", None),
)
"""What is told, and the address that the customer has then; None: it is refused."""


@pytest.mark.slow
async def test_addresses_in_every_shape(sales: Sales) -> None:
    for place, (told, known) in enumerate(ADDRESSES):
        status, body = await sales.put(f"E-{place}", customer={"email": told})
        cell = '"' + told.replace('"', '""') + '"'
        faults = read(f"productId,email\ndrums,{cell}\n").faults
        if known is None:
            assert (status, body["code"]) == (400, "invalid_request"), told
            assert [each["field"] for each in body["errors"]] == ["customer.email"], told
            assert [where for where, _ in faults] == ["line 2, column 2 (email)"], told
        else:
            assert (status, body["order"]["customer"]["email"]) == (201, known), told
            assert faults == [], told


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"customer": {"email": "jo@example.com", "name": "x" * 201}}, "customer.name"),
        ({"customer": {"email": "jo@example.com", "name": "a\0b"}}, "customer.name"),
        ({"customer": {"name": "Jo"}}, "customer.email"),
        ({"number": "x" * 501}, "number"),
        ({"country": "de"}, "country"),
        ({"country": "Germany"}, "country"),
        ({"placedAt": "2026-02-30T00:00:00Z"}, "placedAt"),
        ({"placedAt": 1}, "placedAt"),
        ({"test": "yes"}, "test"),
        ({"status": "pending"}, "status"),
        ({"lines": None}, "lines"),
        ({"lines": [{"id": "", "productId": "drums"}]}, "lines[0].id"),
        ({"lines": [{"id": "x" * 256, "productId": "drums"}]}, "lines[0].id"),
        ({"lines": [{"id": "1", "productId": "dr/ums"}]}, "lines[0].productId"),
        ({"lines": [{"id": "1", "sku": "x" * 501}]}, "lines[0].sku"),
        ({"lines": [{"id": "1", "productId": "drums", "quantity": 1.5}]}, "lines[0].quantity"),
        ({"lines": [{"id": "1", "productId": "drums", "quantity": "1"}]}, "lines[0].quantity"),
        ({"lines": [{"id": "1", "productId": "drums", "quantity": 1_000_001}]}, "lines[0].quantity"),
        ({"lines": [{"id": "1", "productId": "drums", "quantity": True}]}, "lines[0].quantity"),
        ({"lines": [{"id": "1", "productId": "drums", "refunded": -1}]}, "lines[0].refunded"),
        ({"lines": [{"id": str(each), "productId": "drums"} for each in range(MAX_LINES + 1)]}, "lines"),
    ],
)
async def test_what_is_refused_names_its_field(sales: Sales, changes: dict[str, Any], field: str) -> None:
    status, problem = await sales.put(**changes)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert field in [each["field"] for each in problem["errors"]]


@pytest.mark.slow
async def test_an_order_of_500_lines_is_taken_shrinks_and_grows(sales: Sales) -> None:
    lines = [{"id": f"line {each}", "productId": "drums", "quantity": each % 5 + 1} for each in range(500)]
    status, told = await sales.put(lines=lines)
    assert (status, len(told["order"]["lines"])) == (201, 500)
    assert all(len(line["entitlementIds"]) == 1 for line in told["order"]["lines"])
    assert await sales.put(lines=lines) == (200, told)
    _, told = await sales.put(lines=lines[:10])
    assert len(told["order"]["lines"]) == 10
    _, told = await sales.put(lines=[{**line, "refunded": 1} for line in lines])
    assert [line["refunded"] for line in told["order"]["lines"]] == [1] * 500
    _, page = await sales.ask("GET", "/entitlements?email=ann@example.com&status=active&limit=200")
    assert len(page["entitlements"]) == 200


@pytest.mark.slow
async def test_ids_of_orders_that_need_quoting(sales: Sales) -> None:
    for written, order_id in (
        ("%231001", "#1001"),
        ("a%20b", "a b"),
        ("%E2%82%AC", "€"),
        ("..%2e", "..."),
        ("a:b;c", "a:b;c"),
    ):
        status, told = await sales.put(written)
        assert (status, told["order"]["orderId"]) == (201, order_id)
        assert (await sales.ask("GET", f"/orders/zapier/{written}"))[0] == 200


@pytest.mark.slow
async def test_texts_are_kept_as_they_are(sales: Sales) -> None:
    for place, name in enumerate(
        ("=1+1", "+49 1", "-x", "@sum", "<b>Jo</b>", "'; DROP TABLE x;--", "\u202eoJ", "a\tb")
    ):
        status, told = await sales.put(
            f"T-{place}", customer={"email": f"t{place}@example.com", "name": name}
        )
        assert (status, told["order"]["customer"]["name"]) == (201, name)

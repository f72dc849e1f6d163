"""Customers and orders are found by what a person types, by indexes, on both engines."""

from __future__ import annotations

import pytest

from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.orders.searching import (
    OrderSearch,
    address_beginning,
    count_orders,
    lines_of,
    search_customers,
    search_orders,
    typed,
)
from tests.support.plans import noted_statements, whole_tables

PEOPLE = ("ann@example.com", "anna@example.com", "Ben@example.com", "o_neil@example.com", "o%neil@b.example")


@pytest.fixture
async def shop(database: Database) -> Database:
    """A customer of each address, each with one order; those with an even number got a product."""
    async with database.writing() as sql:
        for number, email in enumerate(PEOPLE):
            owner = f"c{number}"
            await sql.execute(insert(sql, CUSTOMER).values(id=owner, name=f"Name {number}", created=number))
            await sql.execute(
                insert(sql, CUSTOMER_EMAIL).values(
                    email=email, customer_id=owner, written=email, main=True, created=0
                )
            )
            await sql.execute(
                insert(sql, ORDER).values(
                    id=f"o{number}",
                    source="shop",
                    external_id=f"gid-{number}",
                    customer_id=owner,
                    recipient_id=owner,
                    number=f"#100{number}",
                    status="refunded" if number == 3 else "paid",
                    placed=1000 - number,
                    details={},
                    created=0,
                    updated=0,
                )
            )
            await sql.execute(
                insert(sql, ORDER_LINE).values(
                    id=f"l{number}", order_id=f"o{number}", external_id="1", position=0, quantity=1
                )
            )
            if number % 2 == 0:
                await sql.execute(
                    insert(sql, ENTITLEMENT).values(
                        id=f"e{number}",
                        customer_id=owner,
                        line_id=f"l{number}",
                        product_id="drums",
                        scope="all",
                        bought=1,
                        base=["active", [], 1],
                        quantity=1,
                        status="active",
                        reasons=[],
                        enforced="active",
                        created=0,
                        updated=0,
                    )
                )
    return database


async def customers(shop: Database, text: str | None, limit: int = 50, after: str | None = None) -> list[str]:
    async with shop.reading() as sql:
        return [row.id for row in await search_customers(sql, text, limit, after)]


async def orders(shop: Database, text: str | None = None, limit: int = 50, **only: object) -> list[str]:
    after = only.pop("after", None)
    async with shop.reading() as sql:
        rows = await search_orders(sql, OrderSearch(text, **only), limit, after)  # type: ignore[arg-type]
        return [row.id for row in rows]


async def test_customers_are_found_by_what_is_typed(shop: Database) -> None:
    cases = {
        None: ["c4", "c3", "c2", "c1", "c0"],
        "  ": ["c4", "c3", "c2", "c1", "c0"],
        "ann": ["c1", "c0"],
        "ann@": ["c0"],
        " ann@EXAMPLE.com ": ["c0"],
        "ann@EXA": ["c0"],
        "ben@": [],  # the part before the @ is kept as it is
        "Ben": ["c2"],
        "o_neil": ["c3"],  # neither is a wildcard
        "o%": ["c4"],
        "#1002": ["c2"],
        "1002": ["c2"],
        "gid-1": ["c1"],
        "c3": ["c3"],
        "nobody": [],
        "x\0\ud800'; --": [],
        "a" * 10_000: [],
    }
    for text, expected in cases.items():
        assert await customers(shop, text) == expected, text


async def test_customers_come_in_pages(shop: Database) -> None:
    first = await customers(shop, None, 2)
    assert first == ["c4", "c3"]
    assert await customers(shop, None, 2, first[-1]) == ["c2", "c1"]


async def test_orders_are_found_by_number_address_and_filters(shop: Database) -> None:
    assert await orders(shop) == ["o0", "o1", "o2", "o3", "o4"]
    assert await orders(shop, "1001") == await orders(shop, "#1001") == await orders(shop, "gid-1") == ["o1"]
    assert await orders(shop, "ann") == ["o0", "o1"]
    assert await orders(shop, "o4") == ["o4"]
    assert await orders(shop, "x\0\ud800") == []
    assert await orders(shop, status="refunded") == ["o3"]
    assert await orders(shop, product_id="drums") == ["o0", "o2", "o4"]
    assert await orders(shop, "ann", product_id="drums") == ["o0"]
    assert await orders(shop, start=998, end=1000) == ["o1", "o2"]
    assert await orders(shop, limit=2, after=(999, "o1")) == ["o2", "o3"]


async def test_lines_and_counts_of_orders(shop: Database) -> None:
    async with shop.reading() as sql:
        found = await lines_of(sql, ["o0", "o1"])
        assert {order: [line.id for line in lines] for order, lines in found.items()} == {
            "o0": ["l0"],
            "o1": ["l1"],
        }
        assert await count_orders(sql, 998) == {"paid": 3}
        assert await count_orders(sql, 0) == {"paid": 4, "refunded": 1}


async def test_every_search_goes_by_an_index(shop: Database) -> None:
    with noted_statements(shop) as statements:
        for text in (None, "ann", "1002"):
            await customers(shop, text)
            await orders(shop, text)
            await orders(shop, text, status="paid", product_id="drums", start=1, end=2000, after=(999, "o1"))
        async with shop.reading() as sql:
            await count_orders(sql, 998)
    assert len(statements) > 20
    assert await whole_tables(shop, statements) == []


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("ann", "ann"),
        ("Ann@Exa", "Ann@exa"),
        ("Ann@EXAMPLE.com", "Ann@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("@EXAMPLE.com", "@example.com"),
    ],
)
def test_the_beginning_of_an_address(text: str, beginning: str) -> None:
    assert address_beginning(text) == beginning


def test_what_is_typed_loses_white_space_and_nul() -> None:
    assert typed(" a\0 ") == "a"
    assert typed("\0 ") is None
    assert typed(None) is None

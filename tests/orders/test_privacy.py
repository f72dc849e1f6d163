"""Erasing a customer: the person is nowhere, the order stays, and nothing told again brings them back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, METADATA, ORDER
from gateway.orders.applying import tell
from gateway.orders.customer_store import (
    find_customer,
    get_customer,
    keep_customer,
    list_customers,
    move_customer,
)
from gateway.orders.facts import CustomerFact, Fact, Person
from gateway.orders.order_writer import Source
from gateway.orders.privacy import erase_customer
from gateway.orders.traces import Traces
from tests.support.facts import line, snapshot
from tests.support.orders import entitlements, orders

WORD = Source("zapier")
DRUMS = line("7", "product:drums")
PERSON = ("ann@example.com", "Ann", "192.0.2.77", "Ann Lee")
FACTS: tuple[Fact, ...] = (
    snapshot(1000, DRUMS, customer=Person("cus_1", "ann@example.com", "Ann Lee"), ip="192.0.2.77"),
    CustomerFact("cus_1", 1000, "ann@example.com", "Ann Lee"),
)


async def everything(database: Database) -> str:
    async with database.reading() as sql:
        rows = [list(await sql.execute(select(table))) for table in METADATA.sorted_tables]
    return str(rows)


async def test_the_person_is_gone_and_the_order_stays(database: Database) -> None:
    await tell(database, WORD, FACTS)
    found = await everything(database)
    assert [each for each in PERSON if each in found] == [*PERSON]
    async with database.writing() as sql:
        customer = await find_customer(sql, "ann@example.com")
        assert customer is not None
        await erase_customer(sql, customer, 5000, Traces(["ann@example.com"]))
    for _ in range(2):
        found = await everything(database)
        assert not [each for each in PERSON if each in found]
        assert [each[:3] for each in await orders(database)] == [("1001", "paid", None)]
        assert await entitlements(database) == [("drums", "active", [], 1)]
        for fact in (
            *FACTS,
            snapshot(9000, DRUMS, ip="192.0.2.77"),
            CustomerFact("cus_1", 9000, "ann@example.com"),
        ):
            await tell(database, WORD, [fact])
    async with database.reading() as sql:
        [erased] = await list_customers(sql, None, 10, None)
        [row] = await sql.execute(select(ENTITLEMENT.c.enforced))
    assert (erased.id, erased.email, erased.name, erased.erased) == (customer, None, None, 5000)
    assert row.enforced == "erased", "its tokens are ended"


async def test_who_buys_again_is_a_new_customer(database: Database) -> None:
    await tell(database, WORD, FACTS)
    async with database.writing() as sql:
        customer = await find_customer(sql, "ann@example.com")
        assert customer is not None
        await erase_customer(sql, customer, 5000, Traces(["ann@example.com"]))
    again = snapshot(9000, DRUMS, order_id="1002", references=(), customer=Person("cus_1", "ann@example.com"))
    await tell(database, WORD, [again])
    async with database.reading() as sql:
        assert await find_customer(sql, "ann@example.com") not in (None, customer)


async def test_a_customer_who_was_moved_stays_moved_when_the_order_is_told_again(database: Database) -> None:
    await tell(database, WORD, FACTS)
    async with database.writing() as sql:
        customer = await find_customer(sql, "ann@example.com")
        assert customer is not None
        assert await move_customer(sql, customer, "ann@example.org", "ann@example.org", 5000) == customer
    await tell(database, WORD, [snapshot(9000, DRUMS)])
    assert [each[2] for each in await orders(database)] == ["ann@example.org"]
    changed = snapshot(9500, DRUMS, customer=Person(email="new@example.com"))
    await tell(database, WORD, [changed])
    assert [each[2] for each in await orders(database)] == ["new@example.com"]


async def test_a_customer_who_is_moved_to_anothers_address_becomes_that_customer(database: Database) -> None:
    await tell(database, WORD, FACTS)
    async with database.writing() as sql:
        bob = await keep_customer(sql, "bob@example.com", "bob@example.com", "Bob", 1)
        ann = await find_customer(sql, "ann@example.com")
        assert ann is not None
        assert await move_customer(sql, ann, "bob@example.com", "bob@example.com", 5000) == bob
        assert await get_customer(sql, ann) is None
        owners: list[Any] = [
            *(await sql.execute(select(ORDER.c.customer_id))),
            *(await sql.execute(select(ENTITLEMENT.c.customer_id))),
        ]
        assert [tuple(each) for each in owners] == [(bob,), (bob,)]
        assert len(list(await sql.execute(select(CUSTOMER.c.id)))) == 1
        assert len(list(await sql.execute(select(CUSTOMER_EMAIL.c.email)))) == 1

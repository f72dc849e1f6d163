"""Facts applied to a database, on both engines: any order has one end, and mappings may come later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice, permutations
from typing import Any

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import CONNECTION, ENTITLEMENT, LINE_ITEM, ORDER, ORDER_LINE
from gateway.orders.applying import put_snapshot, remap, tell
from gateway.orders.facts import (
    CustomerFact,
    Deleted,
    Dispute,
    Fact,
    OrderSnapshot,
    Person,
    Refund,
    RefundSnapshot,
)
from gateway.orders.mappings import MappedProduct, Scope
from gateway.orders.order_writer import Source
from gateway.orders.states import DisputeState, OrderStatus
from tests.support.facts import ORDER as ORDER_REFERENCE
from tests.support.facts import ORDER_ID, PAYMENT, item, line, returned, snapshot
from tests.support.orders import entitlements, orders

SHOP = Source("shop-1", "shop-1")
ZAPIER = Source("zapier")
DRUMS = line("7", "variant:42", "product:drums", quantity=3)
BASS = line("8", "sku:BASS")
MAPPINGS = {item("product:drums"): (MappedProduct("drums"),), item("sku:BASS"): (MappedProduct("bass"),)}


@pytest.fixture
async def shop(database: Database) -> Database:
    """A database with two connections that have no mappings."""
    async with database.writing() as sql:
        for name in ("shop-1", "shop-2"):
            await sql.execute(
                CONNECTION.insert().values(
                    id=name, kind="shopify", name=name, live=True, secrets=b"", options={}, created=1
                )
            )
    return database


async def tell_all(database: Database, facts: Iterable[Fact]) -> None:
    for fact in facts:
        await tell(database, SHOP, [fact])


STORY: tuple[Fact, ...] = (
    snapshot(1000, DRUMS, BASS, status=OrderStatus.PENDING),
    snapshot(2000, DRUMS, BASS),
    Refund("r", PAYMENT, 3000, lines=(returned("7"), returned("8"))),
    Dispute("d", PAYMENT, 4000, DisputeState.OPEN),
    CustomerFact("cus_1", 1000, "ann@example.com", "Ann"),
)


@pytest.mark.slow
async def test_every_order_of_events_has_one_end(shop: Database, databases: Any) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    ends = set()
    for number, told in enumerate(islice(permutations(STORY), 0, None, 11)):
        source = Source(f"source-{number}", "shop-1")
        for fact in (*told, *told[:2]):
            await tell(shop, source, [fact])
        ends.add(str([await orders(shop, source.name), await entitlements(shop, source.name)]))
    assert len(ends) == 1, ends
    assert "order_disputed" in next(iter(ends))


async def test_a_refund_that_comes_first_waits_for_its_order(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    applied = await tell(shop, SHOP, [RefundSnapshot(PAYMENT, 3000, whole=True)])
    assert applied.waits == {"order"}
    assert await orders(shop) == []
    assert (await tell(shop, SHOP, [snapshot(1000, BASS)])).waits == frozenset()
    assert await entitlements(shop) == [("bass", "revoked", ["order_refunded"], 0)]


async def test_what_nobody_has_mapped_waits_and_is_granted_when_it_is_mapped(shop: Database) -> None:
    assert (await tell(shop, SHOP, [snapshot(1000, DRUMS, BASS)])).waits == {"mapping"}
    assert await entitlements(shop) == []
    assert await remap(shop, "shop-1", MAPPINGS) == 1
    assert await entitlements(shop) == [("bass", "active", [], 1), ("drums", "active", [], 3)]
    assert await remap(shop, "shop-1", MAPPINGS) == 0, "nothing has changed"


async def test_another_connections_mappings_do_not_count(shop: Database) -> None:
    await remap(shop, "shop-2", MAPPINGS)
    assert (await tell(shop, SHOP, [snapshot(1000, BASS)])).waits == {"mapping"}


async def test_a_changed_mapping_moves_the_right_to_another_product(shop: Database) -> None:
    await remap(shop, "shop-1", {item("sku:BASS"): (MappedProduct("bass"), MappedProduct("amp"))})
    await tell(shop, SHOP, [snapshot(1000, BASS)])
    await remap(shop, "shop-1", {item("sku:BASS"): (MappedProduct("amp", Scope.VERSION, "1.0"),)})
    assert await entitlements(shop) == [
        ("amp", "active", [], 1),
        ("bass", "revoked", ["mapping_changed"], 0),
    ]
    await remap(shop, "shop-1", {item("sku:BASS"): (MappedProduct("bass"),)})
    assert await entitlements(shop) == [
        ("amp", "revoked", ["mapping_changed"], 0),
        ("bass", "active", [], 1),
    ]


async def test_the_most_specific_mapping_replaces_the_other_when_it_comes(shop: Database) -> None:
    await remap(shop, "shop-1", {item("product:drums"): (MappedProduct("drums"),)})
    await tell(shop, SHOP, [snapshot(1000, DRUMS)])
    both = {
        item("product:drums"): (MappedProduct("drums"),),
        item("variant:42"): (MappedProduct("drums-pro"),),
    }
    await remap(shop, "shop-1", both)
    assert [each[:2] for each in await entitlements(shop)] == [("drums", "revoked"), ("drums-pro", "active")]


async def test_a_line_that_is_gone_takes_what_it_granted_and_brings_it_back(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    await tell_all(shop, [snapshot(1000, DRUMS, BASS), snapshot(2000, BASS)])
    assert await entitlements(shop) == [
        ("bass", "active", [], 1),
        ("drums", "revoked", ["line_removed"], 0),
    ]
    async with shop.reading() as sql:
        first = set(await sql.execute(select(ENTITLEMENT.c.id)))
    await tell(shop, SHOP, [snapshot(3000, DRUMS, BASS)])
    assert await entitlements(shop) == [("bass", "active", [], 1), ("drums", "active", [], 3)]
    async with shop.reading() as sql:
        assert set(await sql.execute(select(ENTITLEMENT.c.id))) == first


async def test_a_customer_who_is_told_later_gets_what_waited(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    told = await tell(shop, SHOP, [snapshot(1000, BASS, customer=Person("cus_9"))])
    assert told.waits == {"customer"}
    await tell(shop, SHOP, [CustomerFact("cus_9", 1, "Bob@EXAMPLE.com", "Bob")])
    assert await entitlements(shop) == [("bass", "active", [], 1)]
    [found] = await orders(shop)
    assert found[2:] == ("Bob@example.com", "Bob")


async def test_one_customer_by_any_spelling_of_the_domain_and_two_by_case_of_the_name(shop: Database) -> None:
    for number, email in enumerate(
        ("ann@example.com", "ann@EXAMPLE.COM", '"ann"@example.com', "Ann@example.com")
    ):
        order = snapshot(1, BASS, order_id=str(number), customer=Person(email=email), references=())
        await tell(shop, SHOP, [order])
    async with shop.reading() as sql:
        customers = [
            each for (each,) in await sql.execute(select(ORDER.c.customer_id).order_by(ORDER.c.external_id))
        ]
    assert customers[0] == customers[1] == customers[2] != customers[3]


async def test_a_gift_is_its_recipients(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    await tell(shop, SHOP, [snapshot(1000, BASS, recipients=(Person(email="bob@example.com"),))])
    async with shop.reading() as sql:
        [(buyer, recipient)] = await sql.execute(select(ORDER.c.customer_id, ORDER.c.recipient_id))
        [(owner,)] = await sql.execute(select(ENTITLEMENT.c.customer_id))
    assert owner == recipient != buyer


async def test_a_deleted_order_is_cancelled_and_a_newer_snapshot_restores_it(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    await tell_all(shop, [Deleted(ORDER_ID, 5000), snapshot(1000, BASS)])
    assert await entitlements(shop) == [("bass", "revoked", ["order_cancelled"], 1)]
    await tell(shop, SHOP, [snapshot(6000, BASS)])
    assert await entitlements(shop) == [("bass", "active", [], 1)]


@pytest.mark.slow
async def test_an_order_of_five_hundred_lines(shop: Database) -> None:
    lines = [line(str(number), f"sku:S{number}", f"product:P{number % 7}") for number in range(500)]
    mappings = {item(f"sku:S{number}"): (MappedProduct(f"p{number}"),) for number in range(500)}
    await tell(shop, SHOP, [snapshot(1000, *lines)])
    await remap(shop, "shop-1", mappings)
    assert len(await entitlements(shop)) == 500
    everything = tuple(returned(str(number)) for number in range(500))
    await tell(shop, SHOP, [Refund("r", ORDER_REFERENCE, 2000, lines=everything)])
    assert {each[1] for each in await entitlements(shop)} == {"revoked"}
    async with shop.reading() as sql:
        assert len(list(await sql.execute(select(LINE_ITEM)))) == 1000


async def test_a_word_of_put_names_products_by_themselves_and_skus_of_all_connections(shop: Database) -> None:
    await remap(shop, "shop-1", {item("sku:BASS"): (MappedProduct("bass"),)})
    await remap(
        shop, "shop-2", {item("sku:AMP"): (MappedProduct("amp"),), item("sku:BASS"): (MappedProduct("bass"),)}
    )
    lines = (line("1", "product:drums"), line("2", "sku:BASS"), line("3", "sku:AMP"), line("4", "sku:X"))
    await tell(shop, ZAPIER, [snapshot(1, *lines)])
    assert [each[0] for each in await entitlements(shop)] == ["amp", "bass", "drums"]
    await remap(shop, "shop-2", {item("sku:BASS"): (MappedProduct("bass-2"),)})
    after = {each[0]: each[1] for each in await entitlements(shop)}
    assert after == {"amp": "revoked", "bass": "revoked", "drums": "active"}, "the two disagree"


async def test_a_snapshot_without_a_time_is_newer_than_the_one_before(shop: Database) -> None:
    def make(status: OrderStatus) -> Any:
        def made(moment: int) -> OrderSnapshot:
            return snapshot(moment, BASS, status=status, order_id="A", references=())

        return made

    far = snapshot(4_000_000_000_000, BASS, order_id="A", references=())
    await tell(shop, ZAPIER, [far])
    for status in (OrderStatus.REFUNDED, OrderStatus.PAID, OrderStatus.CANCELLED):
        told, is_new = await put_snapshot(shop, ZAPIER, make(status))
        assert (told.status, is_new) == (status, False)
        assert [each[1] for each in await orders(shop)] == [status]


async def test_two_processes_may_tell_the_same_at_once(shop: Database) -> None:
    await remap(shop, "shop-1", MAPPINGS)
    async with Database.of(shop.location) as other:
        await asyncio.gather(*(tell(each, SHOP, [fact]) for fact in STORY for each in (shop, other)))
    assert len(await orders(shop)) == 1
    assert [each[:2] for each in await entitlements(shop)] == [("bass", "revoked"), ("drums", "suspended")]
    async with shop.reading() as sql:
        assert len(list(await sql.execute(select(ORDER_LINE)))) == 2

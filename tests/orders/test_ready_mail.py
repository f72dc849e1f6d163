"""Whether a buyer is told that an order is ready: once, and only of what is news."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select, update

from gateway.database.engine import Database
from gateway.database.migrating import CHAIN, upgrade
from gateway.database.tables import CONNECTION, ORDER, OUTBOX_MAIL
from gateway.orders.applying import apply_facts, remap, tell
from gateway.orders.facts import Fact, Person, Reference, Refund
from gateway.orders.mappings import MappedProduct
from gateway.orders.order_writer import Source
from gateway.orders.states import OrderStatus
from tests.support.facts import ORDER as ORDER_REFERENCE
from tests.support.facts import item, line, snapshot

SHOP, SILENT, ZAPIER = Source("shop", "shop"), Source("silent", "silent"), Source("zapier")
DRUMS = line("7", "product:drums")
MAPPINGS = {item("product:drums"): (MappedProduct("drums"),)}
MADE = 1_000_000_000
LATER = MADE + 1_000_000


@pytest.fixture
async def shops(database: Database) -> Database:
    """A database with a connection that tells buyers, and one that does not. Both know the product."""
    async with database.writing() as sql:
        for name, mail in (("shop", True), ("silent", False)):
            values = {
                "id": name,
                "kind": "shopify",
                "name": name,
                "live": True,
                "secrets": b"",
                "options": {},
            }
            await sql.execute(CONNECTION.insert().values(**values, created=MADE, mail=mail))
    for name in ("shop", "silent"):
        await remap(database, name, MAPPINGS)
    return database


async def queued(database: Database) -> list[tuple[str, str]]:
    """The orders that mails are about, by the platform's ids, and where they came from."""
    async with database.reading() as sql:
        orders = {row.id: (row.source, row.external_id) for row in await sql.execute(select(ORDER))}
        rows = (await sql.execute(select(OUTBOX_MAIL).order_by(OUTBOX_MAIL.c.id))).all()
    assert all(row.recipient is None and row.customer_id and row.kind == "ready" for row in rows)
    return [orders[row.about["order"]] for row in rows]


def order(as_of: int = 1, /, *lines: Any, **fields: Any) -> Fact:
    return snapshot(LATER + as_of, *(lines or (DRUMS,)), placed_at=fields.pop("placed_at", LATER), **fields)


RENEWED = (Reference("subscription", "sub_1"),)
CASES: dict[str, tuple[Source, Sequence[Fact], list[str]]] = {
    "an order that is paid": (SHOP, [order()], ["1001"]),
    "told again, and changed": (SHOP, [order(), order(2), order(3, number="#1")], ["1001"]),
    "a pending order": (SHOP, [order(status=OrderStatus.PENDING)], []),
    "pending, then paid": (SHOP, [order(status=OrderStatus.PENDING), order(2)], ["1001"]),
    "refunded before it was told": (SHOP, [Refund("r1", ORDER_REFERENCE, LATER, whole=True), order()], []),
    "refunded afterwards, and told again": (
        SHOP,
        [order(), Refund("r1", ORDER_REFERENCE, LATER + 5, whole=True), order(9)],
        ["1001"],
    ),
    "a test order": (SHOP, [order(test=True)], []),
    "an order without an address": (SHOP, [order(customer=Person("cus_1"))], []),
    "an address that comes later": (SHOP, [order(customer=Person("cus_1")), order(2)], ["1001"]),
    "another address later": (
        SHOP,
        [order(), order(2, customer=Person("cus_1", "bob@example.com"))],
        ["1001"],
    ),
    "something that nobody has mapped": (SHOP, [order(1, line("8", "product:other"))], []),
    "of years ago, found by looking for it": (SHOP, [order(placed_at=MADE - 10_000_000)], []),
    "a connection that says nothing": (SILENT, [order()], []),
    "a connection that says nothing, whatever the order says": (SILENT, [order(mail=True)], []),
    "told by a script": (ZAPIER, [order(1, line("7", "product:drums"))], []),
    "told by a script that wants it": (ZAPIER, [order(1, line("7", "product:drums"), mail=True)], ["1001"]),
    "two orders": (SHOP, [order(), order(order_id="1002", references=())], ["1001", "1002"]),
    "two orders of one subscription": (
        SHOP,
        [order(references=RENEWED), order(order_id="1002", references=RENEWED)],
        ["1001"],
    ),
    "two orders that are one purchase": (
        SHOP,
        [order(beside=True), order(order_id="1002")],
        ["1001"],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_who_is_told(shops: Database, name: str) -> None:
    source, facts, told = CASES[name]
    for fact in facts:
        await tell(shops, source, [fact])
    assert await queued(shops) == [(source.name, each) for each in told]


async def test_what_has_waited_for_a_mapping_is_told_when_it_is_mapped(shops: Database) -> None:
    await tell(shops, SHOP, [order(1, line("8", "sku:BASS"))])
    assert await queued(shops) == []
    for _ in range(2):
        await remap(shops, "shop", {item("sku:BASS"): (MappedProduct("bass"),)})
        await remap(shops, "shop", {})
    assert await queued(shops) == [("shop", "1001")]


async def test_switching_it_on_tells_nobody_of_earlier_orders(shops: Database) -> None:
    await tell(shops, SILENT, [order()])
    async with shops.writing() as sql:
        await sql.execute(update(CONNECTION).values(mail=True))
    await tell(shops, SILENT, [order(2)])
    assert await queued(shops) == []
    await tell(shops, SILENT, [order(order_id="1002", references=())])
    assert await queued(shops) == [("silent", "1002")]


async def test_the_mail_is_in_the_same_transaction_as_the_order(shops: Database) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop):  # noqa: PT012 - it is about the transaction
        async with shops.writing() as sql:
            await apply_facts(sql, SHOP, [order()])
            raise Stop
    assert await queued(shops) == []


def test_orders_from_before_the_migration_were_ready(tmp_path: Path) -> None:
    before = tmp_path / "chain"
    shutil.copytree(CHAIN, before)
    [step] = (before / "versions").glob("v*_mails.py")
    for file in (before / "versions").glob("v*.py"):
        if file.name >= step.name:
            file.unlink()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/db.sqlite")
    with engine.begin() as connection:
        upgrade(connection, before)
        insert = (
            'INSERT INTO "order" (id, source, external_id, status, placed, test, details, created, updated) '
        )
        connection.exec_driver_sql(insert + "VALUES ('o1', 's', '1', 'paid', 1, 0, '{}', 7, 1)")
        connection.exec_driver_sql(insert + "VALUES ('o2', 's', '2', 'pending', 1, 0, '{}', 8, 1)")
        connection.exec_driver_sql("INSERT INTO customer (id, created) VALUES ('c1', 1)")
        connection.exec_driver_sql(
            "INSERT INTO order_line (id, order_id, external_id, position, quantity, refunded, waits, gone) "
            "VALUES ('l1', 'o1', '1', 0, 1, 0, 0, 0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO entitlement (id, customer_id, line_id, product_id, scope, bought, base, quantity, "
            "status, reasons, test, enforced, created, updated) "
            "VALUES ('e1', 'c1', 'l1', 'drums', 'all', 1, '[]', 1, 'active', '[]', 0, 'active', 1, 1)"
        )
        upgrade(connection)
        found = connection.exec_driver_sql('SELECT id, ready FROM "order" ORDER BY id').all()
    engine.dispose()
    assert [tuple(row) for row in found] == [("o1", 7), ("o2", None)]

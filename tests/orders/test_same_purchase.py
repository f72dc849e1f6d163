"""Two orders of one purchase, such as a Checkout session and its invoice: one of them grants."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import ENTITLEMENT, ORDER, ORDER_LINE
from gateway.orders.applying import tell
from gateway.orders.facts import INVOICE, Alias, Fact, OrderSnapshot, Reference
from gateway.orders.order_writer import Source
from gateway.platforms.registry import PLATFORMS
from tests.support.facts import line, snapshot
from tests.support.webhooks import changed, fixture, message

WORD = Source("stripe-shop")
PAYMENT = Reference("payment_intent", "pi_9")
DRUMS = line("li_1", "product:drums", quantity=2)


def session(*references: Reference) -> OrderSnapshot:
    return snapshot(1000, DRUMS, order_id="cs_1", references=references)


def invoice(*references: Reference) -> OrderSnapshot:
    drums = line("il_1", "product:drums", quantity=2)
    return snapshot(2000, drums, order_id="in_1", references=references, beside=True)


async def granted(database: Database) -> list[tuple[Any, ...]]:
    async with database.reading() as sql:
        rows = await sql.execute(
            select(ORDER.c.external_id, ENTITLEMENT.c.status)
            .select_from(ENTITLEMENT.join(ORDER_LINE).join(ORDER))
            .where(ENTITLEMENT.c.status == "active")
            .order_by(ORDER.c.external_id)
        )
        return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "facts",
    [
        (session(Reference(INVOICE, "in_1")), invoice()),
        (session(PAYMENT), invoice(PAYMENT)),
        (session(PAYMENT), invoice(), Alias("in_1", PAYMENT)),
    ],
    ids=["the session names the invoice", "one payment", "the payment is told apart"],
)
async def test_one_purchase_is_granted_once_in_any_order(database: Database, facts: tuple[Fact, ...]) -> None:
    for number, order in enumerate(permutations(facts)):
        word = Source(f"shop-{number}")
        for fact in order:
            await tell(database, word, [fact])
    expected = [("cs_1", "active")] * (number + 1)
    assert await granted(database) == expected


async def test_an_invoice_without_a_session_grants(database: Database) -> None:
    await tell(database, WORD, [invoice(PAYMENT)])
    other = snapshot(1, DRUMS, order_id="cs_2", references=(Reference("payment_intent", "pi_other"),))
    await tell(database, WORD, [other])
    assert await granted(database) == [("cs_2", "active"), ("in_1", "active")]


def test_stripe_tells_which_invoice_a_session_has_and_which_invoices_may_have_one() -> None:
    def read(event: dict[str, Any]) -> OrderSnapshot:
        [reading] = PLATFORMS["stripe"].read(message("stripe", json.dumps(event).encode()))
        found = reading.event.facts[0]
        assert isinstance(found, OrderSnapshot)
        return found

    made = fixture("stripe", "checkout_session_completed")
    assert Reference(INVOICE, "in_7") in read(changed(made, data__object__invoice="in_7")).references
    of_subscription = changed(made, data__object__invoice="in_7", data__object__subscription="sub_1")
    assert Reference(INVOICE, "in_7") not in read(of_subscription).references
    assert not read(made).beside
    assert not read(fixture("stripe", "invoice_paid")).beside, "it is of a subscription"
    alone = changed(fixture("stripe", "invoice_paid_2024"), data__object__subscription=None)
    assert isinstance(read(alone).beside, bool)

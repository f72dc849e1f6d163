"""Gumroad's pings: they name a sale, and the API tells what became of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    Dispute,
    Identifier,
    ItemKey,
    Money,
    OrderSnapshot,
    Person,
    RefundSnapshot,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus
from gateway.platforms.fields import Fields
from gateway.platforms.gumroad import MAX_FIELDS, PLATFORM, read, read_sale
from gateway.platforms.interface import LookUp, Reading, Wanted
from tests.support.webhooks import FIXTURES, changed, fixture, message

PING = (FIXTURES / "gumroad/sale.txt").read_bytes().strip()
SALE = fixture("gumroad", "sale")
ID = "FO8TXN-dbxYaBdahG97Y-Q=="


def reading(body: bytes) -> Reading:
    [found] = read(message("gumroad", body))
    return found


def test_a_ping_is_no_fact_and_asks_for_the_sale() -> None:
    found = reading(PING)
    assert (found.event.dedupe_key, found.event.type) == (f"{ID}:sale", "sale")
    assert (found.event.facts, found.ignored, found.fault) == ((), None, None)
    assert found.look_ups == (LookUp(Wanted.ORDER, ID, required=True),)
    assert PLATFORM.needs_api_key


@pytest.mark.parametrize("event", ["sale", "refund", "dispute", "dispute_won"])
def test_each_kind_is_an_event_of_its_own(event: str) -> None:
    found = reading(f"sale_id=s1&resource_name={event}&test=true".encode())
    assert (found.event.dedupe_key, found.event.test) == (f"s1:{event}", True)
    assert found.look_ups == (LookUp(Wanted.ORDER, "s1", required=True),)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"resource_name=sale", "sale_id must be an id"),
        (b"", "sale_id must be an id"),
        (b"sale_id=%00", "sale_id must be an id"),
        (b"sale_id=1&sale_id=2", "The body has a field twice"),
        (b"\xff", "The body is not UTF-8"),
        (b"&".join([b"a=1"] * (MAX_FIELDS + 1)), "The body is not a form"),
    ],
)
def test_a_fault_names_the_field(body: bytes, fault: str) -> None:
    found = reading(body)
    assert found.fault is not None
    assert found.fault.startswith(fault)


def test_other_kinds_are_ignored() -> None:
    assert reading(b"resource_name=subscription_updated&sale_id=1").ignored
    assert reading(b"resource_name=cancellation&subscription_id=1").ignored


def test_a_sale() -> None:
    snapshot, refunds = read_sale(Fields(SALE), 7)
    assert isinstance(snapshot, OrderSnapshot)
    assert (snapshot.order_id, snapshot.status, snapshot.as_of) == (ID, OrderStatus.PAID, 7)
    assert snapshot.customer == Person("5550321502811", "ann@example.com", "Ann Example")
    assert snapshot.lines is not None
    [line] = snapshot.lines
    assert (line.id, line.quantity, line.title) == ("Tier=Full#1", 2, "Drums")
    assert line.identifiers == (
        Identifier(ItemKey.VARIANT, "Tier=Full"),
        Identifier(ItemKey.PRODUCT, "32-nPAicqbLj8B_WswVlMw=="),
        Identifier(ItemKey.SKU, "drums"),
    )
    assert snapshot.total == Money(Decimal(29), "USD")
    assert refunds == RefundSnapshot(order_reference(ID), 7)


@pytest.mark.parametrize(
    ("changes", "status", "dispute"),
    [
        ({}, OrderStatus.PAID, None),
        ({"refunded": True}, OrderStatus.REFUNDED, None),
        ({"partially_refunded": True}, OrderStatus.PAID, None),
        ({"disputed": True}, OrderStatus.PAID, DisputeState.OPEN),
        ({"disputed": True, "dispute_won": True}, OrderStatus.PAID, DisputeState.WON),
        ({"chargedback": True}, OrderStatus.PAID, DisputeState.LOST),
        ({"disputed": True, "chargedback": True, "dispute_won": True}, OrderStatus.PAID, DisputeState.WON),
    ],
)
def test_what_became_of_a_sale(
    changes: dict[str, Any], status: OrderStatus, dispute: DisputeState | None
) -> None:
    snapshot, *others = read_sale(Fields(changed(SALE, **changes)), 7)
    assert isinstance(snapshot, OrderSnapshot)
    assert snapshot.status is status
    assert [each.state for each in others if isinstance(each, Dispute)] == ([dispute] if dispute else [])

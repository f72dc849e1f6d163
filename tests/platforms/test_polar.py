"""Polar's webhooks, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    RefundSnapshot,
    order_reference,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.interface import Reading
from gateway.platforms.polar import read
from tests.support.webhooks import NOW_MS, changed, fixture, message

ORDER = fixture("polar", "order_paid")
ID = "5f0d4a2c-0c8e-4d1e-9b1a-1c6f4c2a7e11"


def reading(payload: Any) -> Reading:
    [found] = read(message("polar", json.dumps(payload).encode(), identity="msg_7"))
    return found


def test_an_order() -> None:
    found = reading(ORDER)
    assert (found.event.dedupe_key, found.event.type, found.event.test) == ("msg_7", "order.paid", None)
    assert found.event.facts == (
        OrderSnapshot(
            order_id=ID,
            as_of=1789995601000,
            status=OrderStatus.PAID,
            customer=Person("c1", "ann@example.com", "Ann Example"),
            number="ACME-0001",
            identifiers=(Identifier(ItemKey.METADATA, "pack=drums"),),
            placed_at=1789995600000,
            country="AT",
            total=Money(Decimal(29), "USD"),
            lines=(
                Line(
                    "item-1",
                    (Identifier(ItemKey.PRICE, "price-drums"), Identifier(ItemKey.PRODUCT, "prod-drums")),
                    "Drums",
                ),
            ),
        ),
        RefundSnapshot(order_reference(ID), 1789995601000, False, Money(Decimal(0), "USD")),
    )


def test_an_order_without_items_is_its_product() -> None:
    snapshot = reading(changed(ORDER, data__items=[])).event.facts[0]
    assert isinstance(snapshot, OrderSnapshot)
    assert snapshot.lines == (Line("prod-drums#1", (Identifier(ItemKey.PRODUCT, "prod-drums"),)),)


@pytest.mark.parametrize(
    ("event", "status", "state", "amount"),
    [
        ("order.refunded", "refunded", OrderStatus.REFUNDED, 2900),
        ("order.refunded", "partially_refunded", OrderStatus.PAID, 500),
        ("order.updated", "pending", OrderStatus.PENDING, 0),
        ("order.updated", ..., OrderStatus.PENDING, 0),
        ("order.paid", ..., OrderStatus.PAID, 0),
    ],
)
def test_the_states_of_an_order(event: str, status: Any, state: OrderStatus, amount: int) -> None:
    payload = changed(ORDER, type=event, data__status=status, data__refunded_amount=amount)
    snapshot, refunds = reading(payload).event.facts
    assert isinstance(snapshot, OrderSnapshot)
    assert isinstance(refunds, RefundSnapshot)
    assert (snapshot.status, refunds.whole) == (state, state is OrderStatus.REFUNDED)


def test_the_time_is_the_events_or_that_of_the_signature() -> None:
    assert reading(ORDER).event.occurred_at == 1789995602000
    assert reading(changed(ORDER, timestamp=...)).event.occurred_at == NOW_MS


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("type", ..., "type must be a text"),
        ("data", [], "data must be an object"),
        ("data__id", [], "data.id must be an id"),
        ("data__status", "odd", "data.status must be one of"),
        ("data__items", [1], "data.items[0] must be an object"),
    ],
)
def test_a_fault_names_the_field(path: str, value: Any, fault: str) -> None:
    found = reading(changed(ORDER, **{path: value}))
    assert found.fault is not None
    assert found.fault.startswith(fault)


def test_other_types_are_ignored() -> None:
    assert reading(changed(ORDER, type="benefit.created")).ignored

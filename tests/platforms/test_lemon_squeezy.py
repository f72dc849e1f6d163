"""Lemon Squeezy's webhooks, read to facts."""

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
from gateway.platforms.lemon_squeezy import read
from tests.support.webhooks import changed, fixture, message

ORDER = fixture("lemonsqueezy", "order_created")


def reading(payload: Any) -> Reading:
    [found] = read(message("lemonsqueezy", json.dumps(payload).encode()))
    return found


def test_an_order_and_its_item() -> None:
    found = reading(ORDER)
    assert found.event.dedupe_key.startswith("sha256:")
    assert (found.event.type, found.event.test) == ("order_created", False)
    assert found.event.facts == (
        OrderSnapshot(
            order_id="1234",
            as_of=1789995601000,
            status=OrderStatus.PAID,
            customer=Person("77", "ann@example.com", "Ann Example"),
            number="9",
            identifiers=(Identifier(ItemKey.METADATA, "pack=drums"),),
            placed_at=1789995600000,
            total=Money(Decimal(29), "USD"),
            lines=(
                Line(
                    "500",
                    (
                        Identifier(ItemKey.VARIANT, "12"),
                        Identifier(ItemKey.PRICE, "13"),
                        Identifier(ItemKey.PRODUCT, "11"),
                    ),
                    "Drums",
                    2,
                ),
            ),
        ),
        RefundSnapshot(order_reference("1234"), 1789995601000, False, Money(Decimal(0), "USD")),
    )


@pytest.mark.parametrize(
    ("event", "status", "state", "amount", "whole"),
    [
        ("order_created", "pending", OrderStatus.PENDING, 0, False),
        ("order_created", "failed", OrderStatus.CANCELLED, 0, False),
        ("order_refunded", "refunded", OrderStatus.REFUNDED, 2900, True),
        ("order_refunded", "partial_refund", OrderStatus.PAID, 500, False),
        ("order_refunded", "paid", OrderStatus.PAID, 500, False),
    ],
)
def test_the_states_of_an_order(
    event: str, status: str, state: OrderStatus, amount: int, whole: bool
) -> None:
    attributes = {"status": status, "refunded_amount": amount}
    changes = {f"data__attributes__{name}": value for name, value in attributes.items()}
    snapshot, refunds = reading(changed(ORDER, meta__event_name=event, **changes)).event.facts
    assert isinstance(snapshot, OrderSnapshot)
    assert isinstance(refunds, RefundSnapshot)
    assert (snapshot.status, refunds.whole) == (state, whole)
    assert refunds.money == Money(Decimal(amount) / 100, "USD")


def test_the_mode_is_told_in_two_places() -> None:
    assert reading(changed(ORDER, meta__test_mode=True)).event.test
    assert reading(changed(ORDER, meta__test_mode=..., data__attributes__test_mode=True)).event.test
    assert reading(changed(ORDER, meta__test_mode=..., data__attributes__test_mode=...)).event.test is None


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("meta", ..., "meta must be an object"),
        ("meta__event_name", None, "meta.event_name must be a text"),
        ("data__id", 0, "data.id must be an id"),
        ("data__attributes", None, "data.attributes must be an object"),
        ("data__attributes__status", "odd", "data.attributes.status must be one of"),
        ("data__attributes__first_order_item", 5, "data.attributes.first_order_item must be an object"),
    ],
)
def test_a_fault_names_the_field(path: str, value: Any, fault: str) -> None:
    found = reading(changed(ORDER, **{path: value}))
    assert found.fault is not None
    assert found.fault.startswith(fault)


def test_other_types_are_ignored() -> None:
    assert reading(changed(ORDER, meta__event_name="license_key_created")).ignored

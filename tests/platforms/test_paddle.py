"""Paddle's events, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    CustomerFact,
    Dispute,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Refund,
    RefundedLine,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState
from gateway.platforms.fields import MAX_QUANTITY
from gateway.platforms.interface import LookUp, Reading, Wanted
from gateway.platforms.paddle import read
from tests.support.webhooks import changed, fixture, message

TRANSACTION = fixture("paddle", "transaction_completed")
ADJUSTMENT = fixture("paddle", "adjustment_updated")
ORDER = order_reference("txn_01hv8wptq8987qeep44cyrewp9")


def reading(payload: Any) -> Reading:
    [found] = read(message("paddle", json.dumps(payload).encode()))
    return found


def test_a_transaction_is_an_order_without_an_address() -> None:
    found = reading(TRANSACTION)
    assert found.event.dedupe_key == "evt_01hv8wptq8987qeep44cyrewp9"
    assert found.look_ups == (LookUp(Wanted.CUSTOMER, "ctm_01hv6y1jedq4p1n0yqn5ba3ky4"),)
    assert found.event.facts == (
        OrderSnapshot(
            order_id="txn_01hv8wptq8987qeep44cyrewp9",
            as_of=1789995609000,
            status=OrderStatus.PAID,
            customer=Person("ctm_01hv6y1jedq4p1n0yqn5ba3ky4"),
            number="325-10566",
            placed_at=1789995605000,
            total=Money(Decimal(117), "USD"),
            lines=(
                Line(
                    "txnitm_01hv8wt98jahpbm1t1tzr06z6n",
                    (
                        Identifier(ItemKey.PRICE, "pri_01gsz8x8sawmvhz1pv30nge1ke"),
                        Identifier(ItemKey.PRODUCT, "pro_01gsz4t5hdjse780zja8vvr7jg"),
                    ),
                    "Drums, full",
                    3,
                ),
                Line(
                    "txnitm_01hv8wt98jahpbm1t1v1sd067y",
                    (
                        Identifier(ItemKey.PRICE, "pri_01h1vjfevh5etwq3rb416a23h2"),
                        Identifier(ItemKey.PRODUCT, "pro_01h1vjes1y163xfj1rh1tkfb65"),
                    ),
                    "Gift wrap",
                    1,
                ),
            ),
        ),
    )


def test_lines_without_details_are_numbered() -> None:
    [found] = reading(changed(TRANSACTION, data__details=None)).event.facts
    assert isinstance(found, OrderSnapshot)
    assert [line.id for line in found.lines or ()] == [
        "pri_01gsz8x8sawmvhz1pv30nge1ke#1",
        "pri_01h1vjfevh5etwq3rb416a23h2#2",
    ]


def test_who_a_customer_is() -> None:
    assert reading(fixture("paddle", "customer_updated")).event.facts == (
        CustomerFact("ctm_01hv6y1jedq4p1n0yqn5ba3ky4", 1789995619000, "ann@example.com", "Ann Example"),
    )


def test_a_refund_returns_whole_items_only() -> None:
    assert reading(ADJUSTMENT).event.facts == (
        Refund(
            "adj_01hvgf2s84dr6reszzg29zbvcm",
            ORDER,
            1789999200000,
            lines=(RefundedLine(MAX_QUANTITY, line_id="txnitm_01hv8wt98jahpbm1t1v1sd067y"),),
            money=Money(Decimal(31), "USD"),
        ),
    )
    [whole] = reading(changed(ADJUSTMENT, data__type="full")).event.facts
    assert isinstance(whole, Refund)
    assert whole.whole


@pytest.mark.parametrize(
    ("action", "status", "state"),
    [
        ("refund", "rejected", RefundState.FAILED),
        ("refund", "reversed", RefundState.FAILED),
        ("chargeback", "approved", DisputeState.LOST),
        ("chargeback_reverse", "approved", DisputeState.WON),
        ("refund", "pending_approval", None),
        ("chargeback", "rejected", None),
        ("chargeback_warning", "approved", None),
        ("credit", "approved", None),
    ],
)
def test_what_an_adjustment_does(action: str, status: str, state: RefundState | DisputeState | None) -> None:
    found = reading(changed(ADJUSTMENT, data__action=action, data__status=status))
    if state is None:
        assert (found.event.facts, found.fault) == ((), None)
        assert found.ignored
    else:
        [only] = found.event.facts
        assert isinstance(only, Refund | Dispute)
        assert (only.state, only.order) == (state, ORDER)


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("event_id", ..., "event_id must be an id"),
        ("data__id", None, "data.id must be an id"),
        ("data__items__0__price", None, None),
        ("data__items__0__quantity", "3", "data.items[0].quantity must be a whole number"),
        ("data__details__line_items", [{"price_id": "p"}], "data.details.line_items[0].id must be an id"),
        ("occurred_at", "x", "occurred_at must be a time"),
    ],
)
def test_a_fault_names_the_field(path: str, value: Any, fault: str | None) -> None:
    found = reading(changed(TRANSACTION, **{path: value}))
    assert (found.fault or "").startswith(fault or "")
    assert bool(found.fault) is bool(fault)


def test_other_types_are_ignored() -> None:
    assert reading(changed(TRANSACTION, event_type="transaction.paid")).ignored

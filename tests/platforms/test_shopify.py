"""Shopify's webhooks, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    Deleted,
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
from gateway.orders.states import DisputeState, OrderStatus
from gateway.platforms.interface import Reading
from gateway.platforms.shopify import read
from tests.support.rows import each_row
from tests.support.webhooks import NOW_MS, changed, fixture, message

ORDER = fixture("shopify", "order_paid")
REFUND = fixture("shopify", "refund_created")
ID = "820982911946154508"  # more than a double holds
TRIGGERED_AT = 1789995606500
GIVEN_BACK = {"kind": "refund", "status": "success", "amount": "9", "currency": "EUR"}


def reading(payload: Any, topic: str = "orders/paid", prefix: str = "x-shopify-") -> Reading:
    headers = {
        f"{prefix}topic": topic,
        f"{prefix}webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        f"{prefix}triggered-at": "2026-09-21T13:00:06.5Z",
        f"{prefix}shop-domain": "acme.myshopify.com",
    }
    [found] = read(message("shopify", json.dumps(payload).encode(), headers))
    return found


def order(payload: Any, topic: str = "orders/paid") -> OrderSnapshot:
    found = reading(payload, topic)
    assert (found.ignored, found.fault) == (None, None)
    first = found.event.facts[0]
    assert isinstance(first, OrderSnapshot)
    return first


@pytest.mark.parametrize("prefix", ["x-shopify-", "shopify-"])
def test_a_paid_order(prefix: str) -> None:
    found = reading(ORDER, prefix=prefix)
    assert found.event.dedupe_key == "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"
    assert (found.event.type, found.event.test, found.event.occurred_at) == (
        "orders/paid",
        False,
        1789995606500,
    )
    assert found.event.facts == (
        OrderSnapshot(
            order_id=ID,
            as_of=1789995605000,
            status=OrderStatus.PAID,
            customer=Person("115310627314723954", "ann@example.com", "Ann Example"),
            number="#1001",
            placed_at=1789995600000,
            country="AT",
            ip="192.0.2.7",
            total=Money(Decimal("117.00"), "EUR"),
            lines=(
                Line(
                    "466157049",
                    (
                        Identifier(ItemKey.VARIANT, "39072856"),
                        Identifier(ItemKey.PRODUCT, "632910392"),
                        Identifier(ItemKey.SKU, "DRUMS-FULL"),
                    ),
                    "Drums - Full",
                    3,
                ),
                Line("518995019", (), "Gift wrap", 1),
            ),
        ),
    )


@each_row(
    ("topic", "financial", "cancelled", "status"),
    [
        ("orders/paid", "paid", None, OrderStatus.PAID),
        ("orders/paid", ..., None, OrderStatus.PAID),
        ("orders/updated", "partially_refunded", None, OrderStatus.PAID),
        ("orders/updated", "refunded", None, OrderStatus.REFUNDED),
        ("orders/create", "pending", None, OrderStatus.PENDING),
        ("orders/create", "authorized", None, OrderStatus.PENDING),
        ("orders/create", ..., None, OrderStatus.PENDING),
        ("orders/cancelled", "refunded", "2026-09-21T17:00:00Z", OrderStatus.CANCELLED),
        ("orders/cancelled", ..., None, OrderStatus.CANCELLED),
        ("orders/updated", "voided", None, OrderStatus.CANCELLED),
        # nothing signs the topic: the body decides
        ("orders/paid", "pending", None, OrderStatus.PENDING),
        ("orders/paid", "paid", "2026-09-21T17:00:00Z", OrderStatus.CANCELLED),
    ],
)
def test_what_an_order_says_of_itself(
    topic: str, financial: Any, cancelled: str | None, status: OrderStatus
) -> None:
    assert order(changed(ORDER, financial_status=financial, cancelled_at=cancelled), topic).status is status


def test_personal_data_may_be_null() -> None:
    found = order(changed(ORDER, email=None, contact_email=None, customer=None, billing_address=None))
    assert (found.customer, found.country) == (Person(), None)
    found = order(changed(ORDER, email="", contact_email="second@example.com", customer__first_name=None))
    assert (found.customer.email, found.customer.name) == ("second@example.com", "Example")


def test_refunds_are_told_by_themselves_and_listed_by_the_order() -> None:
    refund = Refund(
        "509562969",
        order_reference(ID),
        1789999200000,
        lines=(RefundedLine(1, line_id="466157049"),),
        money=Money(Decimal("29.00"), "EUR"),
    )
    assert reading(REFUND, "refunds/create").event.facts == (refund,)
    assert reading(changed(ORDER, refunds=[REFUND]), "orders/updated").event.facts[1:] == (refund,)


def test_a_refund_of_an_amount_names_no_lines() -> None:
    [found] = reading(changed(REFUND, refund_line_items=[]), "refunds/create").event.facts
    assert isinstance(found, Refund)
    assert (found.lines, found.money) == (None, Money(Decimal("29.00"), "EUR"))


@pytest.mark.parametrize(
    ("payments", "money"),
    [
        ([], None),
        ([{**GIVEN_BACK, "status": "failure"}], None),
        (
            [{"kind": "refund", "status": "success", "amount": "9", "currency": "EUR"}] * 2,
            Money(Decimal(18), "EUR"),
        ),
        ([{**GIVEN_BACK, "kind": "void"}], None),
        (
            [
                {"kind": "refund", "status": "success", "amount": "9", "currency": each}
                for each in ("EUR", "USD")
            ],
            None,
        ),
    ],
)
def test_what_a_refund_gave_back(payments: list[dict[str, str]], money: Money | None) -> None:
    [found] = reading(changed(REFUND, transactions=payments), "refunds/create").event.facts
    assert isinstance(found, Refund)
    assert found.money == money


@pytest.mark.parametrize(
    ("payload", "test"),
    [
        (ORDER, False),
        (changed(ORDER, test=True), True),
        (REFUND, False),
        (changed(REFUND, transactions__0__test=True), True),
        (changed(REFUND, transactions=[]), None),
    ],
)
def test_the_mode_is_told_where_it_is_known(payload: Any, test: bool | None) -> None:
    assert reading(payload, "refunds/create" if "order_id" in payload else "orders/paid").event.test is test


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("needs_response", DisputeState.OPEN),
        ("under_review", DisputeState.OPEN),
        ("won", DisputeState.WON),
        ("lost", DisputeState.LOST),
        ("accepted", DisputeState.LOST),
    ],
)
def test_the_states_of_a_dispute(status: str, state: DisputeState) -> None:
    payload = changed(fixture("shopify", "dispute_created"), status=status)
    expected = Dispute("285332461850802050", order_reference(ID), 1789995606500, state)
    assert reading(payload, "disputes/update").event.facts == (expected,)


def test_a_deleted_order() -> None:
    assert reading({"id": int(ID)}, "orders/delete").event.facts == (Deleted(ID, 1789995606500),)


def test_times_in_header_fields_are_only_a_help() -> None:
    [found] = read(
        message(
            "shopify",
            json.dumps(ORDER).encode(),
            {"x-shopify-topic": "orders/paid", "x-shopify-triggered-at": "?"},
        )
    )
    assert found.event.occurred_at is None
    assert found.event.dedupe_key.startswith("sha256:")
    assert order(changed(ORDER, updated_at=None)).as_of == TRIGGERED_AT
    [found] = read(
        message(
            "shopify",
            json.dumps(changed(ORDER, updated_at=None)).encode(),
            {"x-shopify-topic": "orders/paid"},
        )
    )
    assert isinstance(found.event.facts[0], OrderSnapshot)
    assert found.event.facts[0].as_of == NOW_MS


@pytest.mark.parametrize(
    "topic", ["app/uninstalled", "customers/update", "products/create", "checkouts/create"]
)
def test_other_topics_are_ignored(topic: str) -> None:
    assert reading({"id": 1}, topic).ignored == "events of this type are not used"


@pytest.mark.parametrize(
    ("topic", "path", "value", "fault"),
    [
        ("orders/paid", "id", None, "id must be an id"),
        ("orders/paid", "line_items", {}, "line_items must be an array"),
        ("orders/paid", "line_items__1__quantity", -1, "line_items[1].quantity must be a whole number"),
        ("orders/paid", "line_items__0__id", ..., "line_items[0].id must be an id"),
        ("orders/paid", "updated_at", "yesterday", "updated_at must be a time"),
        ("orders/paid", "financial_status", "strange", "financial_status must be one of"),
        ("orders/paid", "test", "no", "test must be true or false"),
        ("orders/paid", "refunds", [{"refund_line_items": []}], "refunds[0].id must be an id"),
        ("refunds/create", "id", ..., "order_id must be an id"),
    ],
)
def test_a_fault_names_the_field(topic: str, path: str, value: Any, fault: str) -> None:
    found = reading(changed(ORDER, **{path: value}), topic)
    assert found.fault is not None
    assert found.fault.startswith(fault)


def test_a_missing_topic_is_a_fault() -> None:
    [found] = read(message("shopify", json.dumps(ORDER).encode()))
    assert found.fault == "x-shopify-topic must be a text."

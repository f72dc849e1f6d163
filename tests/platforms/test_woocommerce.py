"""WooCommerce's webhooks, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    Deleted,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Refund,
    RefundedLine,
    RefundSnapshot,
    order_reference,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.fields import FieldFault, Fields
from gateway.platforms.interface import LookUp, Message, Reading, Wanted
from gateway.platforms.woocommerce import is_ping, read, read_refund
from tests.support.rows import each_row
from tests.support.webhooks import NOW_MS, changed, fixture, message

ORDER = fixture("woocommerce", "order_updated")
LIST = [{"id": 726, "reason": "", "total": "-29.00"}, {"id": 725, "reason": "late", "total": "-5.00"}]


def reading(payload: Any, topic: str | None = "order.updated") -> Reading:
    headers = {"x-wc-webhook-topic": topic} if topic else {}
    headers["x-wc-webhook-delivery-id"] = "always the same"
    [found] = read(message("woocommerce", json.dumps(payload).encode(), headers))
    return found


def test_an_order_is_a_snapshot() -> None:
    found = reading(ORDER)
    assert (found.event.type, found.event.test, found.event.occurred_at) == (
        "order.updated",
        None,
        1789995605000,
    )
    assert found.event.facts == (
        OrderSnapshot(
            order_id="727",
            as_of=1789995605000,
            status=OrderStatus.PAID,
            customer=Person("12", "ann@example.com", "Ann Example"),
            number="727",
            placed_at=1789995604000,
            country="AT",
            ip="192.0.2.7",
            total=Money(Decimal("117.00"), "EUR"),
            lines=(
                Line(
                    "315",
                    (
                        Identifier(ItemKey.VARIANT, "94"),
                        Identifier(ItemKey.PRODUCT, "93"),
                        Identifier(ItemKey.SKU, "DRUMS-FULL"),
                    ),
                    "Drums - Full",
                    3,
                ),
                Line("316", (Identifier(ItemKey.PRODUCT, "22"),), "Gift wrap", 1),
            ),
        ),
        RefundSnapshot(order_reference("727"), 1789995605000, refund_ids=()),
    )
    assert found.look_ups == ()


def test_the_dedupe_key_is_the_bodys_digest() -> None:
    """Two orders of one second have the same delivery id."""
    one, other = reading(ORDER), reading(changed(ORDER, id=728))
    assert one.event.dedupe_key != other.event.dedupe_key
    assert one.event.dedupe_key.startswith("sha256:")


@each_row(
    ("status", "state"),
    [
        ("pending", OrderStatus.PENDING),
        ("on-hold", OrderStatus.PENDING),
        ("processing", OrderStatus.PAID),
        ("completed", OrderStatus.PAID),
        ("refunded", OrderStatus.REFUNDED),
        ("cancelled", OrderStatus.CANCELLED),
        ("failed", OrderStatus.CANCELLED),
        ("trash", OrderStatus.CANCELLED),
    ],
)
@each_row("topic", ["order.created", "order.updated", "order.restored", None])
def test_the_body_says_what_the_state_is(status: str, state: OrderStatus, topic: str | None) -> None:
    snapshot = reading(changed(ORDER, status=status), topic).event.facts[0]
    assert isinstance(snapshot, OrderSnapshot)
    assert snapshot.status is state


def test_a_status_of_a_plug_in_changes_nothing() -> None:
    found = reading(changed(ORDER, status="shipped"))
    assert (found.event.facts, found.ignored) == ((), "its status is none of WooCommerce's own")


def test_refunds_are_listed_without_lines_and_looked_up() -> None:
    found = reading(changed(ORDER, refunds=LIST))
    assert found.look_ups == (LookUp(Wanted.REFUNDS, "727"),)
    reference = order_reference("727")
    assert found.event.facts[1:] == (
        Refund("726", reference, 1789995600000, money=Money(Decimal("29.00"), "EUR")),
        Refund("725", reference, 1789995600000, money=Money(Decimal("5.00"), "EUR")),
        RefundSnapshot(reference, 1789995605000, refund_ids=("726", "725")),
    )


def test_the_api_tells_a_refund_with_its_lines_and_is_newer() -> None:
    listed = reading(changed(ORDER, refunds=LIST)).event.facts[1]
    first, second = (Fields(each) for each in fixture("woocommerce", "refunds"))
    told = read_refund(first, "727", "EUR", NOW_MS)
    assert told == Refund(
        "726",
        order_reference("727"),
        1789999200000,
        lines=(RefundedLine(1, line_id="315"),),  # of the other line, only an amount
        money=Money(Decimal("29.00"), "EUR"),
    )
    assert told.key == listed.key
    assert told.precedence > listed.precedence
    assert read_refund(second, "727", "EUR", NOW_MS).lines is None
    with pytest.raises(FieldFault, match="quantity must be a whole number"):
        read_refund(Fields({"id": 1, "line_items": [{"quantity": "1"}]}), "727", "EUR", NOW_MS)


def test_a_deleted_order_has_only_its_id() -> None:
    assert reading({"id": 727}, "order.deleted").event.facts == (Deleted("727", NOW_MS),)
    assert reading({"id": 93}, "product.deleted").event.facts == ()


def test_variations_and_products_that_are_gone_have_the_id_0() -> None:
    found = reading(changed(ORDER, line_items__0__product_id=0, line_items__0__variation_id=0, customer_id=0))
    snapshot = found.event.facts[0]
    assert isinstance(snapshot, OrderSnapshot)
    assert snapshot.lines is not None
    assert snapshot.lines[0].identifiers == (Identifier(ItemKey.SKU, "DRUMS-FULL"),)
    assert snapshot.customer.platform_id is None


def test_personal_data_may_be_missing() -> None:
    for billing in (None, {}, {"first_name": "", "last_name": "", "email": "", "country": ""}):
        snapshot = reading(changed(ORDER, billing=billing)).event.facts[0]
        assert isinstance(snapshot, OrderSnapshot)
        assert (snapshot.customer, snapshot.country) == (Person("12"), None)


@pytest.mark.parametrize("topic", ["product.updated", "coupon.created", "customer.created", "action.x"])
def test_other_topics_are_ignored(topic: str) -> None:
    assert reading({"id": 93, "status": "publish"}, topic).ignored == "events of this type are not used"


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("id", ..., "id must be an id"),
        ("status", None, "status must be a text"),
        ("date_modified_gmt", 5, "date_modified_gmt must be a time"),
        ("line_items", "none", "line_items must be an array"),
        ("line_items__0__quantity", 1.5, "line_items[0].quantity must be a whole number"),
        ("line_items__1__id", {}, "line_items[1].id must be an id"),
        ("refunds", [{"total": "-1"}], "refunds[0].id must be an id"),
        ("refunds", [{"id": 1, "total": []}], "refunds[0].total must be an amount"),
    ],
)
def test_a_fault_names_the_field(path: str, value: Any, fault: str) -> None:
    found = reading(changed(ORDER, **{path: value}))
    assert found.fault is not None
    assert found.fault.startswith(fault)


@each_row(
    ("body", "headers", "ping"),
    [
        (b"webhook_id=1", (), True),
        (b"webhook_id=12345678901234567890", (), True),
        (b"webhook_id=123456789012345678901", (), False),
        (b"webhook_id=", (), False),
        (b"webhook_id=1&x=1", (), False),
        (b"webhook_id=1\n", (), False),
        (b"webhook_id=-1", (), False),
        (b"{}", (), False),
        (b"", (), False),
        (b"webhook_id=1", (("x-wc-webhook-signature", "x"),), False),
    ],
)
def test_the_greeting(body: bytes, headers: tuple[tuple[str, str], ...], ping: bool) -> None:
    assert is_ping(Message(headers, body, 0)) is ping

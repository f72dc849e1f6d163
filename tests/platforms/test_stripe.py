"""Stripe's events, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
    Alias,
    Dispute,
    Fact,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Reference,
    Refund,
    RefundSnapshot,
    Subscription,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from gateway.platforms.interface import LookUp, Reading, Wanted
from gateway.platforms.stripe import read
from tests.support.rows import each_row
from tests.support.webhooks import changed, fixture, message

PAYMENT = Reference("payment_intent", "pi_Ann")
SESSION = fixture("stripe", "checkout_session_completed")


def reading(payload: Any) -> Reading:
    [found] = read(message("stripe", json.dumps(payload).encode()))
    return found


def fact(name: str, **changes: Any) -> Fact:
    """The one fact of a fixture with changes in its object."""
    payload = changed(
        fixture("stripe", name), **{f"data__object__{path}": new for path, new in changes.items()}
    )
    found = reading(payload)
    assert (found.ignored, found.fault) == (None, None)
    [only] = found.event.facts
    return only


def order(name: str = "checkout_session_completed", **changes: Any) -> OrderSnapshot:
    found = fact(name, **changes)
    assert isinstance(found, OrderSnapshot)
    return found


def priced(price: str, product: str) -> tuple[Identifier, ...]:
    return (Identifier(ItemKey.PRICE, price), Identifier(ItemKey.PRODUCT, product))


def test_a_session_is_an_order() -> None:
    found = reading(SESSION)
    assert (found.event.dedupe_key, found.event.type) == ("evt_1Session", "checkout.session.completed")
    assert (found.event.test, found.event.occurred_at, found.platform_id) == (
        False,
        1789999000000,
        "evt_1Session",
    )
    assert found.event.facts == (
        OrderSnapshot(
            order_id="cs_live_a1",
            as_of=1789999000000,
            status=OrderStatus.PAID,
            customer=Person("cus_Ann", "ann@example.com", "Ann Example"),
            references=(PAYMENT,),
            identifiers=(
                Identifier(ItemKey.PAYMENT_LINK, "plink_Drums"),
                Identifier(ItemKey.METADATA, "campaign=autumn"),
                Identifier(ItemKey.METADATA, "pack=drums"),
            ),
            placed_at=1789998700000,
            country="AT",
            total=Money(Decimal(97), "EUR"),
            lines=None,
        ),
    )
    assert found.look_ups == (LookUp(Wanted.LINES, "cs_live_a1"),)


@pytest.mark.parametrize(
    ("event", "payment", "status"),
    [
        ("checkout.session.completed", "paid", OrderStatus.PAID),
        ("checkout.session.completed", "no_payment_required", OrderStatus.PAID),
        ("checkout.session.completed", "unpaid", OrderStatus.PENDING),
        ("checkout.session.async_payment_succeeded", "paid", OrderStatus.PAID),
        ("checkout.session.async_payment_succeeded", "unpaid", OrderStatus.PAID),
        ("checkout.session.async_payment_failed", "unpaid", OrderStatus.CANCELLED),
    ],
)
def test_a_session_that_is_not_paid_yet_is_pending(event: str, payment: str, status: OrderStatus) -> None:
    [found] = reading(changed(SESSION, type=event, data__object__payment_status=payment)).event.facts
    assert isinstance(found, OrderSnapshot)
    assert found.status is status


def test_line_items_that_are_in_the_event_are_taken() -> None:
    items = [
        {
            "id": "li_1",
            "description": "Drums",
            "quantity": 3,
            "price": {"id": "price_1", "product": "prod_1"},
        },
        {"description": "Wrap", "quantity": None, "price": {"id": "price_2", "product": {"id": "prod_2"}}},
    ]
    found = reading(changed(SESSION, data__object__line_items={"data": items, "has_more": False}))
    assert found.look_ups == ()
    [only] = found.event.facts
    assert isinstance(only, OrderSnapshot)
    assert only.lines == (
        Line(
            "li_1", (Identifier(ItemKey.PRICE, "price_1"), Identifier(ItemKey.PRODUCT, "prod_1")), "Drums", 3
        ),
        Line(
            "price_2#2",
            (Identifier(ItemKey.PRICE, "price_2"), Identifier(ItemKey.PRODUCT, "prod_2")),
            "Wrap",
            1,
        ),
    )
    part = reading(changed(SESSION, data__object__line_items={"data": items, "has_more": True}))
    assert part.look_ups == (LookUp(Wanted.LINES, "cs_live_a1"),)


def test_personal_data_may_be_null() -> None:
    found = order(customer_details=None, customer=None, payment_link=None, metadata=None, amount_total=None)
    assert (found.customer, found.identifiers, found.country, found.total) == (Person(), (), None, None)
    assert (
        order(customer_details__email=None, customer_email="old@example.com").customer.email
        == "old@example.com"
    )


def test_objects_may_stand_where_ids_are() -> None:
    found = order(payment_intent={"id": "pi_Ann", "object": "payment_intent"}, customer={"id": "cus_Ann"})
    assert (found.references, found.customer.platform_id) == ((PAYMENT,), "cus_Ann")


def test_the_session_of_a_subscription_has_no_lines_of_its_own() -> None:
    found = reading(changed(SESSION, data__object__mode="subscription", data__object__subscription="sub_1"))
    assert found.look_ups == ()
    [only] = found.event.facts
    assert isinstance(only, OrderSnapshot)
    assert only.references == (PAYMENT, Reference("subscription", "sub_1"))
    assert reading(changed(SESSION, data__object__mode="setup")).ignored


def test_amounts_are_in_whole_units() -> None:
    assert order(currency="jpy").total == Money(Decimal(9700), "JPY")
    assert order(currency="kwd").total == Money(Decimal("9.7"), "KWD")


def test_an_invoice_is_an_order() -> None:
    found = order("invoice_paid")
    assert (found.order_id, found.customer) == ("in_1", Person("cus_Bob", "bob@example.com", "Bob Example"))
    assert found.references == (Reference("subscription", "sub_1"),)
    assert found.identifiers == (Identifier(ItemKey.METADATA, "plan=club"),)
    assert found.lines == (
        Line(
            "il_1",
            (Identifier(ItemKey.PRICE, "price_Club"), Identifier(ItemKey.PRODUCT, "prod_Club")),
            "1 × Club",
        ),
    )  # the correction of an earlier line sells nothing


def test_an_invoice_of_an_older_version_of_the_api() -> None:
    found = order("invoice_paid_2024")
    assert found.test
    assert found.references == (
        Reference("subscription", "sub_2"),
        Reference("payment_intent", "pi_2"),
        Reference("charge", "ch_2"),
    )
    assert found.lines is not None
    assert (found.lines[0].quantity, found.lines[0].identifiers[0].value) == (2, "price_Club")
    assert found.total == Money(Decimal(5800), "JPY")


def test_an_invoice_with_more_lines_asks_for_them() -> None:
    found = reading(changed(fixture("stripe", "invoice_paid"), data__object__lines__has_more=True))
    assert found.look_ups == (LookUp(Wanted.LINES, "in_1"),)


def test_the_payment_of_an_invoice_leads_to_it() -> None:
    payment = {"type": "payment_intent", "payment_intent": "pi_3"}
    event = {"id": "evt_9", "type": "invoice_payment.paid", "livemode": True, "created": 5}
    found = reading({**event, "data": {"object": {"id": "inpay_1", "invoice": "in_1", "payment": payment}}})
    assert found.event.facts == (Alias("in_1", Reference("payment_intent", "pi_3")),)
    assert reading({**event, "data": {"object": {"invoice": "in_1", "payment": {"type": "charge"}}}}).ignored


def test_a_refund_is_told_by_its_own_id_and_as_a_sum() -> None:
    assert fact("refund_created") == Refund("re_1", PAYMENT, 1789999200000, money=Money(Decimal(29), "EUR"))
    assert fact("charge_refunded") == RefundSnapshot(PAYMENT, 1789999300000, False, Money(Decimal(29), "EUR"))
    whole = fact("charge_refunded", refunded=True, amount_refunded=9700)
    assert isinstance(whole, RefundSnapshot)
    assert whole.whole


@pytest.mark.parametrize(
    ("event", "status", "state"),
    [
        ("refund.created", "pending", RefundState.PENDING),
        ("refund.updated", "requires_action", RefundState.PENDING),
        ("refund.updated", "succeeded", RefundState.SUCCEEDED),
        ("charge.refund.updated", "canceled", RefundState.FAILED),
        ("refund.failed", "failed", RefundState.FAILED),
        ("refund.failed", "pending", RefundState.FAILED),
    ],
)
def test_the_states_of_a_refund(event: str, status: str, state: RefundState) -> None:
    payload = changed(fixture("stripe", "refund_created"), type=event, data__object__status=status)
    [found] = reading(payload).event.facts
    assert isinstance(found, Refund)
    assert found.state is state


@pytest.mark.parametrize(
    ("event", "status", "state"),
    [
        ("created", "needs_response", DisputeState.OPEN),
        ("created", "warning_needs_response", DisputeState.OPEN),
        ("updated", "under_review", DisputeState.OPEN),
        ("closed", "won", DisputeState.WON),
        ("closed", "warning_closed", DisputeState.WON),
        ("closed", "lost", DisputeState.LOST),
    ],
)
def test_the_states_of_a_dispute(event: str, status: str, state: DisputeState) -> None:
    payload = fixture("stripe", "dispute_created")
    found = reading(changed(payload, type=f"charge.dispute.{event}", data__object__status=status))
    assert found.event.facts == (Dispute("dp_1", PAYMENT, 1789999400000, state),)


def test_a_payment_without_an_intent_is_named_by_its_charge() -> None:
    for name in ("refund_created", "dispute_created", "charge_refunded"):
        found = fact(name, payment_intent=None)
        assert isinstance(found, Refund | Dispute | RefundSnapshot)
        assert found.order == Reference("charge", "ch_Ann")


def test_a_subscription_that_ended() -> None:
    ended = Subscription(Reference("subscription", "sub_1"), 1789999500000, SubscriptionState.ENDED)
    assert fact("subscription_deleted") == ended


def test_the_mode_is_told() -> None:
    for live, test in ((True, False), (False, True), (None, None)):
        assert reading(changed(SESSION, livemode=live)).event.test is test


@pytest.mark.parametrize(
    "kind", ["customer.created", "checkout.session.expired", "product.updated", "x" * 255]
)
def test_other_types_are_ignored(kind: str) -> None:
    found = reading(changed(SESSION, type=kind))
    assert (found.ignored, found.event.facts, found.event.dedupe_key) == (
        "events of this type are not used",
        (),
        "evt_1Session",
    )


@each_row(
    ("path", "value", "fault"),
    [
        ("id", ..., "id must be an id"),
        ("id", 1.5, "id must be an id"),
        ("type", None, "type must be a text"),
        ("type", ["a"], "type must be a text"),
        ("livemode", "yes", "livemode must be true or false"),
        ("created", "now", "created must be a time"),
        ("created", 10**30, "created must be a time"),
        ("data", ..., "data must be an object"),
        ("data", [], "data must be an object"),
        ("data__object", "cs_1", "data.object must be an object"),
        ("data__object__id", None, "data.object.id must be an id"),
        ("data__object__id", "x" * 256, "data.object.id must be an id"),
        ("data__object__id", "a\u0000b", "data.object.id must be an id"),
        ("data__object__payment_status", ..., "data.object.payment_status must be a text"),
        ("data__object__payment_intent", ["pi"], "data.object.payment_intent must be an id"),
        ("data__object__created", -1, "data.object.created must be a time"),
        ("data__object__amount_total", "much", "data.object.amount_total must be an amount"),
        ("data__object__amount_total", "1e999999", "data.object.amount_total must be an amount"),
        ("data__object__line_items", {"data": [1]}, "data.object.line_items.data[0] must be an object"),
        (
            "data__object__line_items",
            {"data": [{"quantity": 1.5}]},
            "data.object.line_items.data[0].quantity must be a whole number",
        ),
        (
            "data__object__line_items",
            {"data": [{"quantity": 10**9}]},
            "data.object.line_items.data[0].quantity must be a whole number",
        ),
    ],
)
def test_a_fault_names_the_field(path: str, value: Any, fault: str) -> None:
    found = reading(changed(SESSION, **{path: value}))
    assert found.fault is not None
    assert found.fault.startswith(fault)
    assert found.event.facts == ()

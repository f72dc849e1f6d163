"""FastSpring's batches, read to facts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.orders.facts import (
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
    RefundedLine,
    Subscription,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from gateway.platforms.fastspring import MAX_EVENTS, answer, read
from gateway.platforms.interface import Answer, LookUp, Reading, Wanted
from tests.support.rows import each_row
from tests.support.webhooks import changed, fixture, message

ORDER = fixture("fastspring", "order_completed")
RETURN = fixture("fastspring", "return_created")
CHARGE = fixture("fastspring", "subscription_charge_completed")
ID = "9qflPQrkR76oKDLObXguyg"
PATH = Identifier(ItemKey.PRODUCT, "drums-full")
ACCOUNT = {
    "id": "NbNDzguWR5-Dv9Rlxg7xsw",
    "account": "NbNDzguWR5-Dv9Rlxg7xsw",
    "contact": {"first": "Ann", "last": "Example", "email": "ann@example.com"},
}
SUBSCRIPTION = Reference("subscription", "WX6mZq5eTzyBq0AXAMbJ5w")


def readings(payload: Any) -> tuple[Reading, ...]:
    return read(message("fastspring", json.dumps(payload).encode()))


def fact(payload: Any, **changes: Any) -> Fact:
    """The one fact of a batch of one, with changes in its data."""
    inner = {f"events__0__data__{path}": new for path, new in changes.items()}
    [found] = readings(changed(payload, **inner))
    assert (found.ignored, found.fault) == (None, None)
    [only] = found.event.facts
    return only


def test_an_order() -> None:
    [found] = readings(ORDER)
    assert (found.event.dedupe_key, found.platform_id) == ("J5MhLkZdQmGgPOI2Fb1Xhw", "J5MhLkZdQmGgPOI2Fb1Xhw")
    assert (found.event.type, found.event.test) == ("order.completed", False)
    assert found.event.facts == (
        OrderSnapshot(
            order_id=ID,
            as_of=1789998999638,
            status=OrderStatus.PAID,
            customer=Person("NbNDzguWR5-Dv9Rlxg7xsw", "ann@example.com", "Ann Example"),
            number="ACM260921-7652-55291",
            references=(Reference("reference", "ACM260921-7652-55291"),),
            recipients=(Person(None, "ann@example.com", "Ann Example"),),
            placed_at=1789998999638,
            country="AT",
            ip="192.0.2.7",
            total=Money(Decimal("117.0"), "EUR"),
            lines=(
                Line("drums-full#1", (PATH, Identifier(ItemKey.SKU, "DRUMS-FULL")), "Drums, full", 3),
                Line(
                    "gift-wrap#2",
                    (Identifier(ItemKey.PRODUCT, "gift-wrap"),),
                    "Gift wrap",
                    1,
                    subscription=SUBSCRIPTION,
                ),
            ),
        ),
    )


def test_two_lines_of_one_product_have_ids_of_their_own() -> None:
    item = {"product": "drums-full", "quantity": 1}
    found = fact(ORDER, items=[item, item])
    assert isinstance(found, OrderSnapshot)
    assert [line.id for line in found.lines or ()] == ["drums-full#1", "drums-full#2"]


def test_a_gift_is_for_its_recipient() -> None:
    recipient = {"first": "Bob", "last": None, "email": "bob@example.com"}
    found = fact(ORDER, recipients=[{"recipient": recipient}, {"recipient": {"email": None}}, {}])
    assert isinstance(found, OrderSnapshot)
    assert (found.customer.email, found.recipients) == (
        "ann@example.com",
        (Person(None, "bob@example.com", "Bob"),),
    )


def test_expansion_puts_objects_where_ids_are() -> None:
    plain = fact(ORDER)
    expanded = fact(
        ORDER,
        account=ACCOUNT,
        items__0__product={"product": "drums-full", "sku": "DRUMS-FULL", "display": {"en": "Drums"}},
        items__1__subscription={"id": SUBSCRIPTION.value, "subscription": SUBSCRIPTION.value},
    )
    assert expanded == plain


@each_row(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"return": ..., "id": "r1"}, {"refund_id": "r1"}),
        ({"original__id": None}, {}),  # `order` has the same
        (
            {"original__id": None, "original__order": None},
            {"order": Reference("reference", "ACM260921-7652-55291")},
        ),
        ({"items__0__quantity": 3}, {"lines": (RefundedLine(3, identifier=PATH),)}),
        ({"items__0__quantity": 0}, {"lines": None}),
        ({"items__0__refundType": "Partial Refund"}, {"lines": None}),
        ({"items__0__refundType": None}, {}),
        ({"items__0__product": {"product": "drums-full"}}, {}),
        ({"items": None}, {"lines": None}),
        ({"completed": False}, {"state": RefundState.FAILED}),
        ({"totalReturn": 117.0}, {"whole": True, "money": Money(Decimal("117.0"), "EUR")}),
        (
            {"totalReturn": 117.0, "currency": "USD"},
            {"whole": False, "money": Money(Decimal("117.0"), "USD")},
        ),
    ],
)
def test_a_return_by_product_and_quantity(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "refund_id": "qWIaFaLlRgu6NYs7MgHkGA",
        "order": order_reference(ID),
        "as_of": 1789999500207,
        "lines": (RefundedLine(1, identifier=PATH),),
        "money": Money(Decimal("29.0"), "EUR"),
    }
    assert fact(RETURN, **changes) == Refund(**{**values, **expected})


def test_a_return_of_tax_alone_returns_nothing() -> None:
    data = {"totalReturn": 5.0, "tax": 5.0, "subtotal": 0.0}
    [found] = readings(changed(RETURN, **{f"events__0__data__{name}": new for name, new in data.items()}))
    assert (found.ignored, found.event.facts) == ("only tax was returned", ())


def test_what_a_subscription_charged() -> None:
    [found] = readings(CHARGE)
    assert found.look_ups == (LookUp(Wanted.ORDER, "NRlOHP0TSM6MwxzPMoc-dg"),)
    [plain] = found.event.facts
    assert isinstance(plain, OrderSnapshot)
    assert (plain.order_id, plain.references, plain.lines) == (
        "NRlOHP0TSM6MwxzPMoc-dg",
        (SUBSCRIPTION,),
        None,
    )
    order = {**ORDER["events"][0]["data"], "id": "o2", "order": "o2", "customer": None}
    [expanded] = readings(changed(CHARGE, events__0__data__order=order, events__0__data__account=ACCOUNT))
    assert expanded.look_ups == ()
    [whole] = expanded.event.facts
    assert isinstance(whole, OrderSnapshot)
    assert (whole.order_id, len(whole.lines or ())) == ("o2", 2)
    assert whole.customer.email == "ann@example.com"
    assert SUBSCRIPTION in whole.references


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", DisputeState.OPEN),
        ("WON", DisputeState.WON),
        ("lost", DisputeState.LOST),
        (None, DisputeState.OPEN),
    ],
)
def test_a_chargeback(status: str | None, state: DisputeState) -> None:
    payload = fixture("fastspring", "chargeback_created")
    expected = Dispute("dsp_6dtaqbtq3cee7fqg3522hjgeqi", order_reference(ID), 1789999700299, state)
    assert fact(payload, status=status) == expected


def test_a_subscription_that_ended() -> None:
    payload = fixture("fastspring", "subscription_deactivated")
    assert fact(payload) == Subscription(SUBSCRIPTION, 1789999800299, SubscriptionState.ENDED)


def test_a_batch_is_one_event_for_each_element() -> None:
    batch = {"events": [*ORDER["events"], *RETURN["events"], {"id": "x", "type": "order.failed"}, 7, {}]}
    found = readings(batch)
    assert [each.event.type for each in found] == [
        "order.completed",
        "return.created",
        "order.failed",
        "unknown",
        "unknown",
    ]
    assert [bool(each.fault) for each in found] == [False, False, False, True, True]
    assert found[2].ignored
    assert len({each.event.dedupe_key for each in found}) == 5
    for each in found:  # what the inbox keeps reads the same
        assert read(each.message) == (each,)


def test_an_event_sent_again_by_hand_has_the_same_facts() -> None:
    [again] = readings(changed(ORDER, events__0__id="another"))
    [first] = readings(ORDER)
    assert again.event.facts == first.event.facts
    assert again.event.dedupe_key != first.event.dedupe_key


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (["a", "b", "c"], Answer(200)),
        (["a", "b", "c", "d"], Answer(200)),
        (["a", "c"], Answer(202, "a\nc")),
        ([], Answer(503)),
        (["d"], Answer(503)),
    ],
)
def test_the_answer_names_what_was_taken(taken: list[str], expected: Answer) -> None:
    batch = {"events": [{"id": each, "type": "account.created"} for each in "abc"]}
    assert answer(readings(batch), taken) == expected


@each_row(
    ("payload", "fault"),
    [
        ({}, "events must be an array"),
        ({"events": {}}, "events must be an array"),
        ({"events": [{}] * (MAX_EVENTS + 1)}, "events must be an array"),
        ([], "the body must be an object"),
        ({"events": [5]}, "events[0] must be an object"),
        ({"events": [{"type": "order.completed"}]}, "events[0].id must be an id"),
        (changed(ORDER, events__0__data=[]), "events[0].data must be an object"),
        (changed(ORDER, events__0__data__items__1__quantity=-1), "events[0].data.items[1].quantity must be"),
        (changed(ORDER, events__0__live="true"), "events[0].live must be true or false"),
        (changed(RETURN, events__0__data__original=None), "events[0].data.original must be an object"),
    ],
)
def test_a_fault_names_the_field(payload: Any, fault: str) -> None:
    [found] = readings(payload)
    assert found.fault is not None
    assert found.fault.startswith(fault)


def test_no_events_are_nothing() -> None:
    assert readings({"events": []}) == ()
    assert answer((), ()) == Answer(200)

"""Facts: of several with one key one is left, however they come; and they can be written down."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from decimal import Decimal
from itertools import permutations
from typing import get_args

import pytest

from gateway.orders.fact_text import KINDS, read_fact, write_fact
from gateway.orders.facts import (
    SPECIFICITY,
    Alias,
    CustomerFact,
    Deleted,
    Dispute,
    Fact,
    ItemKey,
    Money,
    OrderLines,
    Person,
    Refund,
    RefundedLine,
    RefundSnapshot,
    Subscription,
    line_id,
)
from gateway.orders.knowledge import Paid, Part
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from tests.support.facts import ORDER, ORDER_ID, PAYMENT, item, line, returned, snapshot
from tests.support.rows import each_row

ONE_OF_EACH: tuple[Part, ...] = (
    snapshot(
        5,
        line("7", "variant:42", "sku:DRUMS", quantity=3, refunded=1, title="Drums"),
        number="#1001",
        recipients=(Person(email="bob@example.com"),),
        identifiers=(item("metadata:campaign=spring"),),
        placed_at=4,
        country="DE",
        ip="192.0.2.1",
        total=Money(Decimal("12.50"), "EUR"),
        test=True,
    ),
    OrderLines(ORDER_ID, 5, (line("li_1", "price:price_1"),)),
    Alias(ORDER_ID, PAYMENT, 3),
    Refund("re_1", ORDER, 6, lines=(returned("7"), RefundedLine(2, identifier=item("product:drums")))),
    RefundSnapshot(PAYMENT, 6, whole=True, money=Money(Decimal(3), "JPY"), refund_ids=("re_1",)),
    Dispute("dp_1", PAYMENT, 7, DisputeState.OPEN),
    Subscription(PAYMENT, 7, SubscriptionState.ENDED),
    Deleted(ORDER_ID, 8),
    CustomerFact("cus_1", 9, "ann@example.com", "Ann"),
    Paid(ORDER_ID, 5),
)


def test_there_is_one_of_each_kind() -> None:
    assert {type(each) for each in ONE_OF_EACH} == {*get_args(Fact), Paid} == set(KINDS)


@each_row("fact", ONE_OF_EACH, ids=lambda fact: fact.kind)
def test_a_fact_comes_back_from_json_as_it_was(fact: Part) -> None:
    again = read_fact(json.loads(json.dumps(write_fact(fact))))
    assert again == fact
    assert again.digest == fact.digest
    assert again.precedence == fact.precedence


@each_row("fact", ONE_OF_EACH, ids=lambda fact: fact.kind)
def test_a_fact_written_by_an_older_version_is_read(fact: Part) -> None:
    """Such a text lacks the fields that have a default."""
    optional = {each.name for each in fields(fact) if each.default is not each.default_factory}
    written = {name: value for name, value in write_fact(fact).items() if name not in optional - {"as_of"}}
    assert read_fact(written).key == fact.key


@pytest.mark.parametrize("content", [{}, {"kind": "cheese"}, {"kind": 1}, {"kind": "order"}])
def test_what_is_no_fact_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fact|Field required"):
        read_fact(content)


@pytest.mark.parametrize(
    ("less", "greater"),
    [
        (snapshot(1, status=OrderStatus.REFUNDED), snapshot(2, status=OrderStatus.PENDING)),  # the newer one
        (snapshot(1, status=OrderStatus.PENDING), snapshot(1)),  # paid usually comes after pending
        (snapshot(1), snapshot(1, status=OrderStatus.CANCELLED)),
        (snapshot(1, customer=Person("cus_1")), snapshot(1)),  # one that knows the address
        (Refund("re_1", ORDER, 1), Refund("re_1", ORDER, 1, RefundState.FAILED)),
        (Refund("re_1", ORDER, 1), Refund("re_1", ORDER, 1, lines=())),  # one that knows the lines
        (Dispute("dp_1", ORDER, 1, DisputeState.OPEN), Dispute("dp_1", ORDER, 1, DisputeState.WON)),
        (RefundSnapshot(ORDER, 1), RefundSnapshot(ORDER, 1, whole=True)),
        (
            Subscription(ORDER, 1, SubscriptionState.ACTIVE),
            Subscription(ORDER, 1, SubscriptionState.ENDED),
        ),
    ],
)
def test_the_newer_fact_wins_then_the_later_state(less: Fact, greater: Fact) -> None:
    assert less.key == greater.key
    assert less.precedence < greater.precedence


def test_equal_moments_and_states_are_decided_by_content() -> None:
    facts = [snapshot(1, number=number) for number in ("a", "b", "c")]
    winners = {max(each, key=lambda fact: fact.precedence).number for each in permutations(facts)}
    assert len(winners) == 1
    assert replace(facts[0]).digest == facts[0].digest


def test_the_same_refund_told_by_two_references_is_one_refund() -> None:
    assert Refund("re_1", ORDER, 1).key == Refund("re_1", PAYMENT, 1).key


def test_a_variant_is_more_specific_than_all_and_metadata_the_least() -> None:
    assert sorted(ItemKey, key=SPECIFICITY.__getitem__) == [
        "variant",
        "price",
        "product",
        "sku",
        "payment_link",
        "metadata",
    ]


def test_a_line_without_an_id_is_named_by_its_item_and_place() -> None:
    assert line_id((item("sku:DRUMS"), item("price:price_123")), 1) == "price_123#1"
    assert line_id((), 2) == "item#2"

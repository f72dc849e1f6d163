"""Facts converge: every order and any duplication of an order's events has one end."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.orders.entitlement_rules import Granted, grant
from gateway.orders.facts import (
    Alias,
    CustomerFact,
    Deleted,
    Dispute,
    Fact,
    Money,
    OrderLines,
    Person,
    Reference,
    Refund,
    RefundedLine,
    RefundSnapshot,
    Subscription,
)
from gateway.orders.knowledge import Key, Part, collect, join
from gateway.orders.mappings import MappedProduct
from gateway.orders.order_rules import OrderState, decide
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from tests.support.facts import HOUR, ORDER, ORDER_ID, PAYMENT, item, line, returned, snapshot

DRUMS = line("7", "product:drums", quantity=3)
BASS = line("8", "sku:BASS")
TEN = Money(Decimal(10), "EUR")
MAPPINGS = {item("product:drums"): (MappedProduct("drums"),), item("sku:BASS"): (MappedProduct("bass"),)}
Outcome = tuple[OrderState | None, Granted | None]


def learn(facts: Iterable[Fact]) -> dict[Key, Part]:
    """What is known when facts become known one after the other."""
    known = join({}, [])
    for fact in facts:
        known = join(known, [fact])
    return known


def outcome(facts: Iterable[Fact]) -> Outcome:
    """What follows when facts become known one after the other."""
    known = learn(facts)
    state = decide(collect(known.values(), ORDER_ID))
    return state, None if state is None else grant(state, MAPPINGS)


STORIES: dict[str, list[Fact]] = {
    "Stripe: unpaid, paid, refunded twice": [
        snapshot(1000, status=OrderStatus.PENDING, total=TEN, references=()),
        snapshot(2000, total=TEN),
        OrderLines(ORDER_ID, 1500, (DRUMS, BASS)),
        Refund("re_1", PAYMENT, 3000, money=Money(Decimal(4), "EUR")),
        Refund("re_2", PAYMENT, 4000, money=Money(Decimal(6), "EUR")),
        RefundSnapshot(PAYMENT, 4000, whole=True, money=TEN),
    ],
    "Stripe: all in one second": [
        snapshot(1000, DRUMS, status=OrderStatus.PENDING),
        snapshot(1000, DRUMS),
        Refund("re_1", PAYMENT, 1000, RefundState.PENDING, money=TEN),
        Refund("re_1", PAYMENT, 1000, RefundState.FAILED, money=TEN),
        RefundSnapshot(PAYMENT, 1000, whole=True),
        Dispute("dp_1", PAYMENT, 1000, DisputeState.OPEN),
    ],
    "Shopify: partial refunds and an edit": [
        snapshot(1000, DRUMS, BASS),
        Refund("1", ORDER, 2000, lines=(returned("7"),)),
        Refund("2", ORDER, 3000, lines=(returned("7"), returned("8"))),
        snapshot(4000, line("7", "product:drums", quantity=4), BASS),
        snapshot(5000, line("7", "product:drums", quantity=4), status=OrderStatus.CANCELLED),
    ],
    "WooCommerce: a refund taken back, deleted and restored": [
        snapshot(1000, DRUMS, BASS, status=OrderStatus.PENDING),
        snapshot(2000, DRUMS, BASS),
        Refund("5", ORDER, 3000, lines=(returned("7", 2),)),
        RefundSnapshot(ORDER, 4000, refund_ids=()),
        Deleted(ORDER_ID, 5000),
        snapshot(6000, DRUMS, BASS),
    ],
    "FastSpring: returned by product, subscription deactivated": [
        snapshot(1000, line("drums#1", "product:drums"), line("drums#2", "product:drums", quantity=2)),
        Refund("R1", ORDER, 2000, lines=(RefundedLine(2, identifier=item("product:drums")),)),
        Subscription(PAYMENT, 3000, SubscriptionState.ACTIVE),
        Subscription(PAYMENT, 3000, SubscriptionState.ENDED),
        Subscription(PAYMENT, 2500, SubscriptionState.ACTIVE),
    ],
    "Paddle: the customer comes last, a chargeback is reversed": [
        snapshot(1000, DRUMS, customer=Person("cus_1")),
        CustomerFact("cus_1", 1000, "ann@example.com"),
        CustomerFact("cus_1", 2000, "ann@example.org"),
        Dispute("adj_1", ORDER, 3000, DisputeState.LOST),
        Dispute("adj_1", ORDER, 4000, DisputeState.WON),
        Alias(ORDER_ID, Reference("subscription", "sub_9"), 4000),
    ],
}


@pytest.mark.parametrize("facts", STORIES.values(), ids=STORIES)
def test_every_permutation_of_a_story_has_one_end(facts: list[Fact]) -> None:
    """And so has each of them told twice, the second time in the first order."""
    known, end = learn(facts), outcome(facts)
    for number, told in enumerate(permutations(facts)):
        assert learn(told) == known
        assert number % 20 or outcome(told) == end
    assert outcome([*reversed(facts), *facts]) == end


MOMENTS = st.sampled_from((1000, 2000, 3000, 3000 + HOUR))
REFERENCES = st.sampled_from((ORDER, PAYMENT, Reference("order", "another")))
LINES = st.sets(st.sampled_from(("7", "8", "9")), max_size=3).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(line, st.just(name), st.sampled_from(("sku:BASS", "product:drums")))
            | st.just(line(name, "product:drums", quantity=3, refunded=1))
            for name in sorted(names)
        )
    )
)
AMOUNTS = st.none() | st.sampled_from((TEN, Money(Decimal(4), "EUR"), Money(Decimal(6), "USD")))
RETURNED = st.none() | st.lists(
    st.builds(returned, st.sampled_from(("7", "8", "9")), st.integers(1, 3))
    | st.builds(RefundedLine, st.integers(1, 3), identifier=st.just(item("product:drums"))),
    max_size=2,
).map(tuple)
FACTS = st.one_of(
    st.builds(
        lambda as_of, lines, status, total: snapshot(as_of, *lines, status=status, total=total),
        MOMENTS,
        LINES,
        st.sampled_from(OrderStatus),
        AMOUNTS,
    ),
    st.builds(OrderLines, st.just(ORDER_ID), MOMENTS, LINES),
    st.builds(
        Refund,
        st.sampled_from(("a", "b", "c")),
        REFERENCES,
        MOMENTS,
        st.sampled_from(RefundState),
        st.booleans(),
        RETURNED,
        AMOUNTS,
    ),
    st.builds(
        RefundSnapshot,
        REFERENCES,
        MOMENTS,
        st.booleans(),
        AMOUNTS,
        st.none() | st.sets(st.sampled_from(("a", "b", "c"))).map(lambda names: tuple(sorted(names))),
    ),
    st.builds(Dispute, st.sampled_from(("d", "e")), REFERENCES, MOMENTS, st.sampled_from(DisputeState)),
    st.builds(Subscription, REFERENCES, MOMENTS, st.sampled_from(SubscriptionState)),
    st.builds(Deleted, st.just(ORDER_ID), MOMENTS),
    st.builds(CustomerFact, st.just("cus_1"), MOMENTS, st.sampled_from((None, "ann@example.com"))),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_facts_in_any_order_and_number_have_one_end(data: st.DataObject) -> None:
    facts = data.draw(st.lists(FACTS, max_size=8))
    told = data.draw(
        st.permutations(facts + data.draw(st.lists(st.sampled_from(facts)) if facts else st.just([])))
    )
    assert outcome(told) == outcome(facts)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(FACTS, max_size=5), st.lists(FACTS, max_size=5), st.lists(FACTS, max_size=5))
def test_joining_is_commutative_associative_and_idempotent(
    first: list[Fact], second: list[Fact], third: list[Fact]
) -> None:
    assert join(join({}, first), second) == join(join({}, second), first)
    assert join(join({}, first), [*second, *third]) == join(join(join({}, first), second), third)
    assert join(join({}, first), first) == join({}, first)

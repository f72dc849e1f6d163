"""What else is decided of an order: amounts, titles, identifiers, people, subscriptions."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.orders.entitlement_rules import grant
from gateway.orders.facts import (
    CustomerFact,
    Fact,
    Money,
    Person,
    Reference,
    Refund,
    RefundSnapshot,
    Subscription,
)
from gateway.orders.knowledge import collect, join
from gateway.orders.order_rules import decide
from gateway.orders.states import OrderStatus, RefundState, SubscriptionState
from tests.support.facts import (
    FOUR,
    ORDER,
    ORDER_ID,
    SIX,
    TEN,
    item,
    line,
    returned,
    snapshot,
    state,
)

DRUMS = line("7", "product:drums", quantity=3)
SUBSCRIPTION = Reference("subscription", "sub_1")
ANOTHER = Reference("subscription", "sub_2")


def test_a_fact_without_an_order_decides_nothing() -> None:
    assert decide(collect(join({}, [RefundSnapshot(ORDER, 1, whole=True)]).values(), ORDER_ID)) is None


def test_amounts_that_return_no_line_are_shown() -> None:
    decided = state(
        snapshot(1, DRUMS, total=TEN),
        Refund("r", ORDER, 2, money=FOUR),
        Refund("s", ORDER, 2, money=SIX, lines=(returned("7"),)),
    )
    assert decided.unassigned == (FOUR,)


@pytest.mark.parametrize(
    ("facts", "unassigned"),
    [
        ((RefundSnapshot(ORDER, 3, money=FOUR),), (FOUR,)),
        ((RefundSnapshot(ORDER, 3, money=FOUR), Refund("r", ORDER, 2, money=FOUR)), (FOUR,)),
        ((RefundSnapshot(ORDER, 3, money=TEN), Refund("r", ORDER, 2, money=FOUR)), (FOUR, SIX)),
        ((RefundSnapshot(ORDER, 3, money=SIX), Refund("r", ORDER, 2, money=SIX, lines=(returned("7"),))), ()),
        ((RefundSnapshot(ORDER, 3, whole=True, money=TEN),), ()),
        ((RefundSnapshot(ORDER, 3, money=FOUR), RefundSnapshot(ORDER, 4, money=SIX)), (SIX,)),
        ((RefundSnapshot(ORDER, 3, money=FOUR), Refund("r", ORDER, 4, RefundState.FAILED, money=FOUR)), ()),
        (
            (RefundSnapshot(ORDER, 3, money=Money(Decimal(4), "USD")), Refund("r", ORDER, 2, money=SIX)),
            (SIX, Money(Decimal(4), "USD")),
        ),
    ],
)
def test_what_a_snapshot_of_refunds_tells_beyond_the_known_ones_is_shown(
    facts: tuple[Fact, ...], unassigned: tuple[Money, ...]
) -> None:
    assert state(snapshot(1, line("7"), line("8")), *facts).unassigned == unassigned


def test_a_line_that_nothing_else_identifies_is_known_by_its_title() -> None:
    lines = (line("a", "sku:A", title="A"), line("b", title="Gift wrap"), line("c"))
    decided = state(snapshot(1, *lines))
    assert [each.identifiers for each in decided.lines] == [
        (item("sku:A"),),
        (item("metadata:title=Gift wrap"),),
        (),
    ]
    waiting = grant(decided, {}).unmapped
    assert [each.id for each in waiting] == ["a", "b"], "what nobody can map waits for nothing"


def test_identifiers_are_sorted_and_those_of_the_order_belong_to_its_first_line() -> None:
    lines = (line("a", "sku:A", "product:p", "variant:v"), line("b", "sku:B"))
    first, second = state(snapshot(1, *lines, identifiers=(item("payment_link:l"),))).lines
    assert [each.key for each in first.identifiers] == ["variant", "product", "sku", "payment_link"]
    assert [each.key for each in second.identifiers] == ["sku"]


def test_what_is_known_of_a_customer_completes_the_order() -> None:
    ann = CustomerFact("cus_1", 1, "ann@example.com", "Ann")
    assert state(snapshot(1, customer=Person("cus_1")), ann).buyer == Person("cus_1", ann.email, "Ann")
    bob = Person("cus_1", "bob@example.com")
    assert state(snapshot(1, customer=bob), ann).buyer == Person("cus_1", "bob@example.com", "Ann")
    assert state(snapshot(1, customer=Person("cus_2")), ann).buyer == Person("cus_2")


def test_a_gift_is_for_its_recipient() -> None:
    bob = Person(email="bob@example.com")
    decided = state(snapshot(1, recipients=(Person(name="nobody"), bob)))
    assert decided.recipient == bob
    assert decided.buyer.email == "ann@example.com"
    assert state(snapshot(1)).recipient.email == "ann@example.com"


@pytest.mark.parametrize("status", OrderStatus)
def test_an_order_was_paid_once_any_snapshot_said_so(status: OrderStatus) -> None:
    unpaid = (OrderStatus.PENDING, OrderStatus.CANCELLED)
    assert state(snapshot(1, status=status)).paid == (status not in unpaid)
    assert state(snapshot(1), snapshot(2, status=status)).paid


def test_a_subscription_ends_for_its_own_lines() -> None:
    own = line("a", "sku:A")
    of_another = line("b", "sku:B")
    of_another = type(of_another)("b", of_another.identifiers, subscription=ANOTHER)

    def ended(*ends: Reference) -> list[bool]:
        facts = [Subscription(each, 2, SubscriptionState.ENDED) for each in ends]
        order = snapshot(1, own, of_another, references=(SUBSCRIPTION,))
        return [each.ended for each in state(order, *facts).lines]

    assert ended() == [False, False]
    assert ended(SUBSCRIPTION) == [True, False]
    assert ended(ANOTHER) == [False, True]
    assert ended(SUBSCRIPTION, ANOTHER) == [True, True]

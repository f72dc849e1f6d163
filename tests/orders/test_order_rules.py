"""The state of an order, from a table of facts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.orders.entitlement_rules import grant
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
from gateway.orders.knowledge import collect, join
from gateway.orders.order_rules import OrderState, decide
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from tests.support.facts import ORDER, ORDER_ID, PAYMENT, item, line, returned, snapshot
from tests.support.rows import each_row

TEN = Money(Decimal(10), "EUR")
FOUR = Money(Decimal(4), "EUR")
SIX = Money(Decimal(6), "EUR")
DRUMS = line("7", "product:drums", quantity=3)
BASS = line("8", "product:bass", "sku:BASS")
SUBSCRIPTION = Reference("subscription", "sub_1")
ANOTHER = Reference("subscription", "sub_2")


def state(*facts: Fact) -> OrderState:
    decided = decide(collect(join({}, facts).values(), ORDER_ID))
    assert decided is not None
    return decided


STATES: dict[str, tuple[tuple[Fact, ...], OrderStatus, dict[str, int]]] = {
    "paid": ((snapshot(1, DRUMS),), OrderStatus.PAID, {"7": 0}),
    "pending": ((snapshot(1, DRUMS, status=OrderStatus.PENDING),), OrderStatus.PENDING, {"7": 0}),
    "pending, then paid": (
        (snapshot(2, DRUMS), snapshot(1, DRUMS, status=OrderStatus.PENDING)),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "pending and paid in one second": (
        (snapshot(1, DRUMS), snapshot(1, DRUMS, status=OrderStatus.PENDING)),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "cancelled": ((snapshot(1, DRUMS, status=OrderStatus.CANCELLED),), OrderStatus.CANCELLED, {"7": 0}),
    "refunded by its snapshot": (
        (snapshot(1, DRUMS, status=OrderStatus.REFUNDED),),
        OrderStatus.REFUNDED,
        {"7": 3},
    ),
    "one of three returned": (
        (snapshot(1, DRUMS, BASS), Refund("r", ORDER, 2, lines=(returned("7"),))),
        OrderStatus.PAID,
        {"7": 1, "8": 0},
    ),
    "by two refunds": (
        (
            snapshot(1, DRUMS, BASS),
            Refund("r", ORDER, 2, lines=(returned("7"),)),
            Refund("s", PAYMENT, 2, lines=(returned("7"), returned("8"))),
        ),
        OrderStatus.PAID,
        {"7": 2, "8": 1},
    ),
    "more than there were": (
        (snapshot(1, DRUMS, BASS), Refund("r", ORDER, 2, lines=(returned("7", 9),))),
        OrderStatus.PAID,
        {"7": 3, "8": 0},
    ),
    "a refund told twice, the second time of less": (
        (
            snapshot(1, DRUMS, BASS),
            Refund("r", ORDER, 2, lines=(returned("7", 2),)),
            Refund("r", ORDER, 3, lines=(returned("7", 1),)),
        ),
        OrderStatus.PAID,
        {"7": 1, "8": 0},
    ),
    "every line returned": (
        (snapshot(1, BASS), Refund("r", ORDER, 2, lines=(returned("8"),))),
        OrderStatus.REFUNDED,
        {"8": 1},
    ),
    "a line that does not exist": (
        (snapshot(1, BASS), Refund("r", ORDER, 2, lines=(returned("99"),))),
        OrderStatus.PAID,
        {"8": 0},
    ),
    "a failed refund": (
        (
            snapshot(1, BASS),
            Refund("r", ORDER, 2, lines=(returned("8"),)),
            Refund("r", ORDER, 3, RefundState.FAILED, lines=(returned("8"),)),
        ),
        OrderStatus.PAID,
        {"8": 0},
    ),
    "a pending refund": (
        (snapshot(1, DRUMS, BASS), Refund("r", ORDER, 2, RefundState.PENDING, lines=(returned("8"),))),
        OrderStatus.PAID,
        {"7": 0, "8": 1},
    ),
    "an amount only": (
        (snapshot(1, DRUMS, total=TEN), Refund("r", ORDER, 2, money=FOUR)),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "amounts that make up the total": (
        (
            snapshot(1, DRUMS, total=TEN),
            Refund("r", ORDER, 2, money=FOUR),
            Refund("s", PAYMENT, 2, money=SIX),
        ),
        OrderStatus.REFUNDED,
        {"7": 3},
    ),
    "amounts in two currencies": (
        (
            snapshot(1, DRUMS, total=TEN),
            Refund("r", ORDER, 2, money=FOUR),
            Refund("s", ORDER, 2, money=Money(Decimal(6), "USD")),
        ),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "a free order": (
        (snapshot(1, DRUMS, total=Money(Decimal(0), "EUR")), RefundSnapshot(ORDER, 2, money=TEN)),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "a sum is never added to its parts": (
        (
            snapshot(1, DRUMS, total=TEN),
            Refund("r", ORDER, 2, money=SIX),
            RefundSnapshot(PAYMENT, 2, money=SIX),
        ),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "all was refunded, says the payment": (
        (snapshot(1, DRUMS), RefundSnapshot(PAYMENT, 2, whole=True)),
        OrderStatus.REFUNDED,
        {"7": 3},
    ),
    "all was refunded, but it failed": (
        (
            snapshot(1, DRUMS, total=TEN),
            Refund("r", PAYMENT, 2, money=TEN),
            RefundSnapshot(PAYMENT, 2, whole=True, money=TEN),
            Refund("r", PAYMENT, 9, RefundState.FAILED, money=TEN),
        ),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "a refund that a newer list lacks": (
        (
            snapshot(1, DRUMS, BASS),
            Refund("r", ORDER, 2, lines=(returned("7"),)),
            Refund("s", ORDER, 2, lines=(returned("8"),)),
            RefundSnapshot(ORDER, 3, refund_ids=("s",)),
        ),
        OrderStatus.PAID,
        {"7": 0, "8": 1},
    ),
    "a refund that is newer than the list": (
        (
            snapshot(1, DRUMS, BASS),
            RefundSnapshot(ORDER, 3, refund_ids=()),
            Refund("r", ORDER, 4, lines=(returned("7"),)),
        ),
        OrderStatus.PAID,
        {"7": 1, "8": 0},
    ),
    "by identifier, first line first": (
        (
            snapshot(1, line("a", "sku:BASS"), line("b", "sku:BASS", quantity=2), DRUMS),
            Refund("r", ORDER, 2, lines=(RefundedLine(2, identifier=item("sku:BASS")),)),
        ),
        OrderStatus.PAID,
        {"a": 1, "b": 1, "7": 0},
    ),
    "by id and by identifier": (
        (
            snapshot(1, line("a", "sku:BASS"), line("b", "sku:BASS", quantity=2), DRUMS),
            Refund("r", ORDER, 2, lines=(returned("a"), RefundedLine(1, identifier=item("sku:BASS")))),
        ),
        OrderStatus.PAID,
        {"a": 1, "b": 1, "7": 0},
    ),
    "what the line says, and refunds": (
        (
            snapshot(1, line("7", "sku:A", quantity=5, refunded=2)),
            Refund("r", ORDER, 2, lines=(returned("7"),)),
        ),
        OrderStatus.PAID,
        {"7": 2},
    ),
    "an open dispute": (
        (snapshot(1, DRUMS), Dispute("d", PAYMENT, 2, DisputeState.OPEN)),
        OrderStatus.DISPUTED,
        {"7": 0},
    ),
    "a dispute that was won": (
        (
            snapshot(1, DRUMS),
            Dispute("d", PAYMENT, 2, DisputeState.OPEN),
            Dispute("d", PAYMENT, 3, DisputeState.WON),
        ),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "a dispute that was lost": (
        (
            snapshot(1, DRUMS),
            Dispute("d", PAYMENT, 2, DisputeState.LOST),
            Dispute("e", PAYMENT, 3, DisputeState.WON),
        ),
        OrderStatus.CHARGED_BACK,
        {"7": 0},
    ),
    "one dispute won, another open": (
        (
            snapshot(1, DRUMS),
            Dispute("d", PAYMENT, 2, DisputeState.WON),
            Dispute("e", PAYMENT, 2, DisputeState.OPEN),
        ),
        OrderStatus.DISPUTED,
        {"7": 0},
    ),
    "disputed by its snapshot": (
        (snapshot(1, DRUMS, status=OrderStatus.DISPUTED),),
        OrderStatus.DISPUTED,
        {"7": 0},
    ),
    "disputed by its snapshot, then won": (
        (snapshot(1, DRUMS, status=OrderStatus.DISPUTED), Dispute("d", ORDER, 2, DisputeState.WON)),
        OrderStatus.PAID,
        {"7": 0},
    ),
    "refunded in a dispute": (
        (
            snapshot(1, DRUMS),
            Dispute("d", PAYMENT, 2, DisputeState.OPEN),
            RefundSnapshot(PAYMENT, 3, whole=True),
        ),
        OrderStatus.REFUNDED,
        {"7": 3},
    ),
    "deleted": ((snapshot(1, DRUMS), Deleted(ORDER_ID, 2)), OrderStatus.CANCELLED, {"7": 0}),
    "deleted and restored": ((snapshot(3, DRUMS), Deleted(ORDER_ID, 2)), OrderStatus.PAID, {"7": 0}),
    "lines fetched": (
        (snapshot(1), OrderLines(ORDER_ID, 1, (DRUMS, BASS))),
        OrderStatus.PAID,
        {"7": 0, "8": 0},
    ),
    "a newer snapshot without lines": ((snapshot(1, DRUMS), snapshot(2)), OrderStatus.PAID, {"7": 0}),
    "a newer snapshot with other lines": (
        (snapshot(1, DRUMS, BASS), snapshot(2, BASS)),
        OrderStatus.PAID,
        {"8": 0},
    ),
    "no lines, but a payment link": (
        (snapshot(1, identifiers=(item("metadata:a=b"), item("payment_link:plink_1"))),),
        OrderStatus.PAID,
        {"plink_1#1": 0},
    ),
    "nothing known of lines": ((snapshot(1),), OrderStatus.PAID, {}),
    "two lines of one id": (
        (snapshot(1, line("7", "sku:A"), line("7", "sku:B")),),
        OrderStatus.PAID,
        {"7": 0, "7#2": 0},
    ),
    "a reference told apart": (
        (
            snapshot(1, BASS, references=()),
            Alias(ORDER_ID, PAYMENT, 2),
            Dispute("d", PAYMENT, 2, DisputeState.OPEN),
        ),
        OrderStatus.DISPUTED,
        {"8": 0},
    ),
    "a reference that a newer snapshot lacks": (
        (snapshot(1, BASS), snapshot(2, BASS, references=()), Dispute("d", PAYMENT, 2, DisputeState.OPEN)),
        OrderStatus.DISPUTED,
        {"8": 0},
    ),
    "another order's": (
        (snapshot(1, BASS), Dispute("d", Reference("payment_intent", "pi_2"), 2, DisputeState.OPEN)),
        OrderStatus.PAID,
        {"8": 0},
    ),
}


@each_row(("facts", "status", "refunded"), STATES.values(), ids=STATES)
def test_states(facts: tuple[Fact, ...], status: OrderStatus, refunded: dict[str, int]) -> None:
    decided = state(*facts)
    assert decided.status is status
    assert {each.id: each.refunded for each in decided.lines} == refunded


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

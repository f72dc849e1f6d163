"""The state of an order and what is refunded of its lines, from a table of facts."""

from __future__ import annotations

from decimal import Decimal

from gateway.orders.facts import (
    Alias,
    Deleted,
    Dispute,
    Fact,
    Money,
    OrderLines,
    Reference,
    Refund,
    RefundedLine,
    RefundSnapshot,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState
from tests.support.facts import (
    FOUR,
    ORDER,
    ORDER_ID,
    PAYMENT,
    SIX,
    TEN,
    item,
    line,
    returned,
    snapshot,
    state,
)
from tests.support.rows import each_row

DRUMS = line("7", "product:drums", quantity=3)
BASS = line("8", "product:bass", "sku:BASS")


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

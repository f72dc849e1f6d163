"""What an order gives its customer, from a table of states."""

from __future__ import annotations

import pytest

from gateway.orders.entitlement_rules import (
    EntitlementStatus,
    Granted,
    Override,
    Standing,
    by_hand,
    grant,
    overridden,
    removed,
)
from gateway.orders.facts import (
    Deleted,
    Dispute,
    Fact,
    Reference,
    Refund,
    RefundSnapshot,
    Subscription,
)
from gateway.orders.knowledge import collect, join
from gateway.orders.mappings import MappedProduct, Scope
from gateway.orders.order_rules import decide
from gateway.orders.states import DisputeState, OrderStatus, SubscriptionState
from tests.support.facts import ORDER, ORDER_ID, PAYMENT, item, line, returned, snapshot
from tests.support.rows import each_row

DRUMS = line("7", "variant:drums-pro", "product:drums", quantity=3)
BASS = line("8", "sku:BASS")
SHIRT = line("9", "sku:SHIRT")
SUBSCRIPTION = Reference("subscription", "sub_1")
MAPPINGS = {
    item("product:drums"): (MappedProduct("drums"),),
    item("sku:BASS"): (MappedProduct("bass"), MappedProduct("amp", Scope.VERSION, "1.0")),
    item("sku:SHIRT"): (),
}
ACTIVE, SUSPENDED, REVOKED = EntitlementStatus


def given(*facts: Fact) -> Granted:
    state = decide(collect(join({}, facts).values(), ORDER_ID))
    assert state is not None
    return grant(state, MAPPINGS)


def standings(*facts: Fact) -> dict[str, Standing]:
    return {each.share.product_id: each.standing for each in given(*facts).grants}


CASES: dict[str, tuple[tuple[Fact, ...], Standing]] = {
    "paid": ((), Standing(ACTIVE, (), 3)),
    "one of three returned": ((Refund("r", ORDER, 2, lines=(returned("7"),)),), Standing(ACTIVE, (), 2)),
    "all of the line returned": (
        (Refund("r", ORDER, 2, lines=(returned("7", 3),)),),
        Standing(REVOKED, ("line_refunded",), 0),
    ),
    "order refunded": (
        (RefundSnapshot(PAYMENT, 2, whole=True),),
        Standing(REVOKED, ("order_refunded",), 0),
    ),
    "cancelled": (
        (snapshot(2, DRUMS, BASS, status=OrderStatus.CANCELLED),),
        Standing(REVOKED, ("order_cancelled",), 3),
    ),
    "deleted": ((Deleted(ORDER_ID, 2),), Standing(REVOKED, ("order_cancelled",), 3)),
    "pending again": (
        (snapshot(2, DRUMS, BASS, status=OrderStatus.PENDING),),
        Standing(SUSPENDED, ("order_pending",), 3),
    ),
    "disputed": ((Dispute("d", PAYMENT, 2, DisputeState.OPEN),), Standing(SUSPENDED, ("order_disputed",), 3)),
    "disputed and returned": (
        (Dispute("d", PAYMENT, 2, DisputeState.OPEN), Refund("r", ORDER, 2, lines=(returned("7", 3),))),
        Standing(REVOKED, ("order_disputed", "line_refunded"), 0),
    ),
    "won": ((Dispute("d", PAYMENT, 2, DisputeState.WON),), Standing(ACTIVE, (), 3)),
    "lost": ((Dispute("d", PAYMENT, 2, DisputeState.LOST),), Standing(REVOKED, ("charged_back",), 3)),
    "subscription ended": (
        (Subscription(PAYMENT, 2, SubscriptionState.ENDED),),
        Standing(REVOKED, ("subscription_ended",), 3),
    ),
    "subscription goes on": (
        (
            Subscription(PAYMENT, 2, SubscriptionState.ENDED),
            Subscription(PAYMENT, 3, SubscriptionState.ACTIVE),
        ),
        Standing(ACTIVE, (), 3),
    ),
}


@each_row(("facts", "standing"), CASES.values(), ids=CASES)
def test_standings(facts: tuple[Fact, ...], standing: Standing) -> None:
    assert standings(snapshot(1, DRUMS, BASS), *facts)["drums"] == standing


def test_the_other_line_is_not_touched_by_a_partial_refund() -> None:
    after = standings(snapshot(1, DRUMS, BASS), Refund("r", ORDER, 2, lines=(returned("7", 3),)))
    assert after["bass"] == Standing(ACTIVE, (), 1)


def test_a_bundle_gives_all_its_products() -> None:
    granted = given(snapshot(1, BASS))
    assert [(each.line_id, each.share.product_id, each.share.version) for each in granted.grants] == [
        ("8", "bass", None),
        ("8", "amp", "1.0"),
    ]
    assert granted.mapped == {"8": item("sku:BASS")}


def test_what_is_mapped_to_nothing_gives_nothing_and_waits_for_nothing() -> None:
    granted = given(snapshot(1, SHIRT))
    assert granted.grants == ()
    assert granted.unmapped == ()


def test_what_nobody_has_mapped_waits_unless_it_was_returned() -> None:
    piano = line("5", "sku:PIANO")
    assert [each.id for each in given(snapshot(1, piano, BASS)).unmapped] == ["5"]
    refund = Refund("r", ORDER, 2, lines=(returned("5"),))
    assert given(snapshot(1, piano, BASS), refund).unmapped == ()


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.CANCELLED])
def test_an_order_that_never_was_paid_gives_nothing(status: OrderStatus) -> None:
    assert given(snapshot(1, BASS, DRUMS, status=status)) == Granted((), {}, ())


def test_a_line_of_nothing_gives_nothing() -> None:
    assert given(snapshot(1, line("8", "sku:BASS", quantity=0))).grants == ()


@pytest.mark.parametrize(
    ("standing", "override", "expected"),
    [
        (Standing(ACTIVE, (), 2), None, Standing(ACTIVE, (), 2)),
        (Standing(ACTIVE, (), 2), Override.REVOKE, Standing(REVOKED, ("seller_revoked",), 2)),
        (
            Standing(REVOKED, ("order_refunded",), 0),
            Override.GRANT,
            Standing(ACTIVE, ("seller_granted", "order_refunded"), 3),
        ),
        (
            Standing(SUSPENDED, ("order_disputed",), 2),
            Override.GRANT,
            Standing(ACTIVE, ("seller_granted", "order_disputed"), 2),
        ),
        (by_hand(2), Override.REVOKE, Standing(REVOKED, ("seller_revoked",), 2)),
        (removed("line_removed"), Override.GRANT, Standing(ACTIVE, ("seller_granted", "line_removed"), 3)),
    ],
)
def test_the_seller_decides_against_everything_else(
    standing: Standing, override: Override | None, expected: Standing
) -> None:
    assert overridden(standing, override, 3) == expected


def test_nothing_is_granted_by_a_mapping_of_another_kind_of_identifier() -> None:
    assert given(snapshot(1, line("1", "product:drums-pro"))).grants == ()

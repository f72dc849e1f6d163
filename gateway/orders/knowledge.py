"""What is known of orders: the facts that are left when all that was told is joined. Pure.

    known = join(known, facts)

The join is commutative, associative and idempotent, because each key keeps the fact with the greatest
precedence and precedences have a total order. Before facts are joined they are split into parts which are
replaced independently:

- A snapshot's lines become `OrderLines`, so that a newer snapshot without lines does not take them away.
- A snapshot's references, and the subscriptions of lines, become one `Alias` each. They are never taken back,
  because a refund may still use an old one.
- A snapshot of an order that was paid for becomes a `Paid` as well, so that what came of it later, for
  example cancelled, is told apart from an order that never was paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeAlias

from gateway.orders.facts import (
    Alias,
    Content,
    CustomerFact,
    Deleted,
    Dispute,
    Fact,
    OrderLines,
    OrderSnapshot,
    Reference,
    Refund,
    RefundSnapshot,
    Subscription,
    order_reference,
)
from gateway.orders.states import OrderStatus

Key: TypeAlias = tuple[str, ...]

_PAID: Final = frozenset(
    (OrderStatus.PAID, OrderStatus.DISPUTED, OrderStatus.REFUNDED, OrderStatus.CHARGED_BACK)
)
"""The states of an order that was paid for at some time."""


@dataclass(frozen=True)
class Paid(Content):
    """The order was paid for at some time. It is never taken back."""

    kind: ClassVar[str] = "paid"
    named_by: ClassVar[tuple[str, ...]] = ("order_id",)

    order_id: str
    as_of: int


Part: TypeAlias = Fact | Paid
"""What facts are split into, and what is kept."""


def split(fact: Fact) -> Iterator[Part]:
    """Split what a platform told into the parts that are kept and replaced independently."""
    if isinstance(fact, OrderSnapshot):
        yield replace(fact, lines=None, references=())
        if fact.lines is not None:
            yield from split(OrderLines(fact.order_id, fact.as_of, fact.lines))
        for reference in fact.references:
            yield Alias(fact.order_id, reference, fact.as_of)
        if fact.status in _PAID:
            yield Paid(fact.order_id, fact.as_of)
        return
    yield fact
    if isinstance(fact, OrderLines):
        for subscription in {line.subscription for line in fact.lines if line.subscription}:
            yield Alias(fact.order_id, subscription, fact.as_of)


def join(known: Mapping[Key, Part], facts: Iterable[Fact]) -> dict[Key, Part]:
    """Return what is known with these facts added."""
    joined = dict(known)
    for fact in facts:
        for part in split(fact):
            other = joined.get(part.key)
            if other is None or other.precedence < part.precedence:
                joined[part.key] = part
    return joined


@dataclass(frozen=True)
class OrderFacts:
    """Everything that is known of one order.

    snapshot: None while only others have told of the order, such as a refund that came before it. The facts
    that there may be several of are in the order of their keys.
    """

    order_id: str
    snapshot: OrderSnapshot | None = None
    lines: OrderLines | None = None
    deleted: Deleted | None = None
    paid: bool = False
    refunds: tuple[Refund, ...] = ()
    refund_snapshots: tuple[RefundSnapshot, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    customer: CustomerFact | None = None


def collect(parts: Iterable[Part], order_id: str) -> OrderFacts:
    """Find what is told of one order among joined parts, through all references that lead to it."""
    listed = sorted(parts, key=lambda part: part.key)
    references = {order_reference(order_id)}
    references.update(
        part.reference for part in listed if isinstance(part, Alias) and part.order_id == order_id
    )
    own = {part.kind: part for part in listed if getattr(part, "order_id", None) == order_id}
    snapshot = own.get(OrderSnapshot.kind)
    lines = own.get(OrderLines.kind)
    deleted = own.get(Deleted.kind)
    assert isinstance(snapshot, OrderSnapshot | None)
    assert isinstance(lines, OrderLines | None)
    assert isinstance(deleted, Deleted | None)
    customer = snapshot.customer.platform_id if snapshot else None
    return OrderFacts(
        order_id,
        snapshot,
        lines,
        deleted,
        Paid.kind in own,
        tuple(part for part in listed if isinstance(part, Refund) and part.order in references),
        tuple(part for part in listed if isinstance(part, RefundSnapshot) and part.order in references),
        tuple(part for part in listed if isinstance(part, Dispute) and part.order in references),
        tuple(part for part in listed if isinstance(part, Subscription) and part.subscription in references),
        next(
            (part for part in listed if isinstance(part, CustomerFact) and part.platform_id == customer), None
        ),
    )


def references_of(fact: Part) -> tuple[Reference, ...]:
    """The references by which a fact names orders. A `CustomerFact` names none."""
    if isinstance(fact, Refund | RefundSnapshot | Dispute):
        return (fact.order,)
    if isinstance(fact, Subscription):
        return (fact.subscription,)
    if isinstance(fact, CustomerFact):
        return ()
    return (order_reference(fact.order_id),)

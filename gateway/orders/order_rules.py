"""From the facts of an order to its state. Pure.

The state of an order is that of the first row that holds:

| state | when |
| --- | --- |
| charged_back | a dispute was lost |
| refunded | everything was refunded (below), or its newest snapshot says so |
| cancelled | its newest snapshot says so, or the order was deleted after it |
| disputed | a dispute is open |
| pending, paid | its newest snapshot says so |

Refunds. A refund counts from the moment it is known, also while it is pending, unless it failed or is missing
in a list of all refunds that is as new. Each refund is counted once, by its id. What a snapshot of all
refunds says is never added to them. Everything was refunded when

- one refund, or the newest snapshot of all refunds, is of the whole order, or
- the amounts of the refunds, or that of the snapshot, reach the order's total, or
- every line has been returned completely.

What a snapshot of refunds says is not believed any more when a refund has failed after it.

Lines. What was returned of a line is the greater of two numbers: what the line itself says, and the sum of
the refunds that name it, by its id or by an identifier; at most its quantity. A refund of an amount returns
no line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from gateway.orders.facts import (
    SPECIFICITY,
    Dispute,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Refund,
    RefundSnapshot,
    line_id,
)
from gateway.orders.knowledge import OrderFacts
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState

_OF_DISPUTES: Final = frozenset((OrderStatus.DISPUTED, OrderStatus.CHARGED_BACK))


@dataclass(frozen=True)
class LineState:
    """A line as it is now.

    identifiers: the most specific first. quantity: bought. refunded: of them returned. ended: whether its
    subscription has ended. scope, version, until: as in `Line`.
    """

    id: str
    identifiers: tuple[Identifier, ...]
    title: str | None
    quantity: int
    refunded: int = 0
    ended: bool = False
    scope: str | None = None
    version: str | None = None
    until: int | None = None

    @property
    def left(self) -> int:
        """How many the customer has."""
        return self.quantity - self.refunded


@dataclass(frozen=True)
class OrderState:
    """An order as it is now.

    paid: whether it was paid for at some time. buyer, recipient: who bought, and who may download, as far as
    it is known. unassigned: what refunds of amounts alone have returned, for the seller to look at, each
    amount once.
    """

    snapshot: OrderSnapshot
    status: OrderStatus
    paid: bool
    buyer: Person
    recipient: Person
    lines: tuple[LineState, ...]
    unassigned: tuple[Money, ...]


def decide(facts: OrderFacts) -> OrderState | None:
    """Work out the state of an order. None while no snapshot of it has come."""
    snapshot = facts.snapshot
    if snapshot is None:
        return None
    refunds = _counted(facts)
    whole = _is_whole(snapshot, facts, refunds)
    lines = _lines(snapshot, facts, refunds)
    bought = [line for line in lines if line.quantity]
    whole = whole or (bool(bought) and not any(line.left for line in bought))
    if whole:
        lines = tuple(replace(line, refunded=line.quantity) for line in lines)
    buyer = _buyer(facts, snapshot)
    return OrderState(
        snapshot,
        _status(snapshot, facts, whole=whole),
        facts.paid,
        buyer,
        next((each for each in snapshot.recipients if each.email), buyer),
        lines,
        _unassigned(facts, refunds),
    )


def _unassigned(facts: OrderFacts, refunds: list[Refund]) -> tuple[Money, ...]:
    """What was returned as amounts alone.

    Each refund tells its own. What the newest snapshot of all refunds tells beyond the sum of those that are
    known is of refunds that are not.
    """
    told = [each.money for each in refunds if each.lines is None and not each.whole and each.money]
    newest = max(facts.refund_snapshots, key=lambda each: each.precedence, default=None)
    if newest is None or newest.money is None or newest.whole or _has_failed_since(newest, facts.refunds):
        return tuple(told)
    known = sum(each.money.amount for each in refunds if each.money and _same(each.money, newest.money))
    more = newest.money.amount - known
    return (*told, Money(more, newest.money.currency)) if more > 0 else tuple(told)


def _same(one: Money, other: Money) -> bool:
    return one.currency == other.currency


def _status(snapshot: OrderSnapshot, facts: OrderFacts, *, whole: bool) -> OrderStatus:
    disputes = {each.state for each in facts.disputes}
    told = snapshot.status
    if told in _OF_DISPUTES and _is_decided_since(snapshot, facts.disputes):
        told = OrderStatus.PAID
    if DisputeState.LOST in disputes or told is OrderStatus.CHARGED_BACK:
        return OrderStatus.CHARGED_BACK
    if whole:
        return OrderStatus.REFUNDED
    deleted = facts.deleted is not None and facts.deleted.as_of >= snapshot.as_of
    if deleted or told is OrderStatus.CANCELLED:
        return OrderStatus.CANCELLED
    if DisputeState.OPEN in disputes:
        return OrderStatus.DISPUTED
    return told


def _is_decided_since(snapshot: OrderSnapshot, disputes: Iterable[Dispute]) -> bool:
    """Whether the dispute of which the snapshot itself tells was decided afterwards, by a fact of its own."""
    return any(each.state is not DisputeState.OPEN and each.as_of >= snapshot.as_of for each in disputes)


def _counted(facts: OrderFacts) -> list[Refund]:
    """The refunds that count."""
    lists = [each for each in facts.refund_snapshots if each.refund_ids is not None]
    newest = max(lists, key=lambda each: each.precedence, default=None)
    return [
        refund
        for refund in facts.refunds
        if refund.state is not RefundState.FAILED
        and not (
            newest is not None
            and refund.as_of <= newest.as_of
            and refund.refund_id not in (newest.refund_ids or ())
        )
    ]


def _is_whole(snapshot: OrderSnapshot, facts: OrderFacts, refunds: list[Refund]) -> bool:
    """Whether everything was refunded, by what refunds say or by their amounts."""
    if snapshot.status is OrderStatus.REFUNDED or any(each.whole for each in refunds):
        return True
    if _reaches(snapshot.total, [each.money for each in refunds if each.money]):
        return True
    newest = max(facts.refund_snapshots, key=lambda each: each.precedence, default=None)
    if newest is None or _has_failed_since(newest, facts.refunds):
        return False
    return newest.whole or _reaches(snapshot.total, [newest.money] if newest.money else [])


def _has_failed_since(snapshot: RefundSnapshot, refunds: Iterable[Refund]) -> bool:
    return any(each.state is RefundState.FAILED and each.as_of > snapshot.as_of for each in refunds)


def _reaches(total: Money | None, amounts: list[Money]) -> bool:
    """Whether amounts make up a total. Those of another currency are left out, because nothing is guessed."""
    if total is None or total.amount <= 0:
        return False
    return sum(each.amount for each in amounts if each.currency == total.currency) >= total.amount


def _lines(snapshot: OrderSnapshot, facts: OrderFacts, refunds: list[Refund]) -> tuple[LineState, ...]:
    """The lines with what was returned of each."""
    lines = _known_lines(snapshot, facts)
    returned = {each.id: 0 for each in lines}
    by_identifier: dict[Identifier, int] = {}
    for part in (part for refund in refunds for part in refund.lines or ()):
        if part.line_id is not None:
            returned[part.line_id] = returned.get(part.line_id, 0) + part.quantity
        elif part.identifier is not None:
            by_identifier[part.identifier] = by_identifier.get(part.identifier, 0) + part.quantity
    for identifier, quantity in sorted(by_identifier.items(), key=lambda pair: (pair[0].key, pair[0].value)):
        left = quantity
        for line in lines:
            if identifier in line.identifiers:
                taken = max(0, min(left, line.quantity - returned[line.id]))
                returned[line.id] += taken
                left -= taken
    ended = {each.subscription for each in facts.subscriptions if each.state is SubscriptionState.ENDED}
    of_the_rest = ended - {each.subscription for each in lines}
    return tuple(
        LineState(
            line.id,
            line.identifiers,
            line.title,
            line.quantity,
            max(0, min(line.quantity, max(line.refunded, returned[line.id]))),
            line.subscription in ended if line.subscription else bool(of_the_rest),
            line.scope,
            line.version,
            line.until,
        )
        for line in lines
    )


def _known_lines(snapshot: OrderSnapshot, facts: OrderFacts) -> tuple[Line, ...]:
    """The lines as they were told, each with an id of its own and its identifiers sorted.

    The first has the identifiers of the order as a whole, too. Where no lines are known, those stand for one.
    A line that nothing else identifies, such as a gift wrap, is known by its title, so that it can be mapped.
    """
    whole = snapshot.identifiers
    told = facts.lines.lines if facts.lines else (Line(line_id(whole, 1), ()),) if whole else ()
    lines: dict[str, Line] = {}
    for place, line in enumerate(told):
        name = line.id if line.id not in lines else f"{line.id}#{place + 1}"
        identifiers = _sorted(line.identifiers + (() if place else whole)) or _by_title(line)
        lines[name] = replace(line, id=name, identifiers=identifiers, quantity=max(0, line.quantity))
    return tuple(lines.values())


def _by_title(line: Line) -> tuple[Identifier, ...]:
    return (Identifier(ItemKey.METADATA, f"title={line.title}"),) if line.title else ()


def _sorted(identifiers: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    unique = dict.fromkeys(identifiers)  # keeps the order of the first mention
    return tuple(sorted(unique, key=lambda each: SPECIFICITY[each.key]))


def _buyer(facts: OrderFacts, snapshot: OrderSnapshot) -> Person:
    """Who bought: what the order says, and what else is known of that customer of the platform."""
    told = snapshot.customer
    if facts.customer is None:
        return told
    return Person(told.platform_id, told.email or facts.customer.email, told.name or facts.customer.name)

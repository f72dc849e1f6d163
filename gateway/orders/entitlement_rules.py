"""From the state of an order to what its customer may download. Pure.

There is one entitlement a line and product. It exists once the order was paid for, and its line is mapped.
From then on its status is that of the first row that holds, whatever the order in which things became known:

| status | reason | when |
| --- | --- | --- |
| active | seller_granted | the seller's override says so |
| revoked | seller_revoked | the seller's override says so |
| revoked | charged_back, order_refunded, order_cancelled | the state of the order says so |
| revoked | line_refunded | all of the line were returned |
| revoked | subscription_ended | the subscription of the line has ended |
| suspended | order_disputed, order_pending | the state of the order says so |
| active | | otherwise |

What is granted no more keeps its row, so that its tokens can be found and ended: `line_removed` when the
order has no such line any more, `mapping_changed` when the item is mapped to other products, `same_purchase`
when another order of the same purchase grants it. What the seller
grants by hand has no order: it is active until the seller's override revokes it.

The quantity is what is left of the line. An override `grant` of something that was returned keeps what was
bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.orders.facts import Identifier
from gateway.orders.mappings import Mappings, Scope, Share, find
from gateway.orders.order_rules import LineState, OrderState
from gateway.orders.states import OrderStatus


class EntitlementStatus(StrEnum):
    """Whether tokens can be made from an entitlement. Suspended and revoked end its live tokens alike."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Override(StrEnum):
    """What the seller has decided about an entitlement, against everything that platforms tell."""

    GRANT = "grant"
    REVOKE = "revoke"


@dataclass(frozen=True)
class Standing:
    """The status of an entitlement, why it is so, and its quantity."""

    status: EntitlementStatus
    reasons: tuple[str, ...]
    quantity: int


@dataclass(frozen=True)
class Grant:
    """What a line gives of one product. bought: before refunds; standing: without the seller's override."""

    line_id: str
    share: Share
    bought: int
    standing: Standing


@dataclass(frozen=True)
class Granted:
    """What an order gives. unmapped: the lines that wait because nobody has mapped their items."""

    grants: tuple[Grant, ...]
    mapped: dict[str, Identifier]
    unmapped: tuple[LineState, ...]


_BY_ORDER: Final = {
    OrderStatus.CHARGED_BACK: (EntitlementStatus.REVOKED, "charged_back"),
    OrderStatus.REFUNDED: (EntitlementStatus.REVOKED, "order_refunded"),
    OrderStatus.CANCELLED: (EntitlementStatus.REVOKED, "order_cancelled"),
    OrderStatus.DISPUTED: (EntitlementStatus.SUSPENDED, "order_disputed"),
    OrderStatus.PENDING: (EntitlementStatus.SUSPENDED, "order_pending"),
}


def grant(order: OrderState, mappings: Mappings) -> Granted:
    """Work out what an order gives its customer.

    A line that nothing identifies gives nothing, and waits for nothing.
    """
    if not order.paid:
        return Granted((), {}, ())
    grants: list[Grant] = []
    mapped: dict[str, Identifier] = {}
    unmapped: list[LineState] = []
    placed_at = order.snapshot.placed_at if order.snapshot.placed_at is not None else order.snapshot.as_of
    for line in order.lines:
        if not line.quantity:
            continue
        standing = _standing(order, line)
        identifier = find(mappings, line.identifiers)
        if identifier is None:
            if line.identifiers and standing.status is not EntitlementStatus.REVOKED:
                unmapped.append(line)
            continue
        mapped[line.id] = identifier
        grants += [
            Grant(line.id, _narrowed(product.share(placed_at), line), line.quantity, standing)
            for product in mappings[identifier]
        ]
    return Granted(tuple(grants), mapped, tuple(unmapped))


def _narrowed(share: Share, line: LineState) -> Share:
    """How much of a product a line gives, where the line itself says so."""
    if line.scope is None:
        return share
    return Share(share.product_id, Scope(line.scope), line.version, line.until)


def _standing(order: OrderState, line: LineState) -> Standing:
    """The status of what a line gives, without the seller's override."""
    status, reasons = EntitlementStatus.ACTIVE, list[str]()
    whole = _BY_ORDER.get(order.status)
    if whole is not None:
        status, reasons = whole[0], [whole[1]]
    if order.status is not OrderStatus.REFUNDED and not line.left:
        status, reasons = EntitlementStatus.REVOKED, [*reasons, "line_refunded"]
    if line.ended:
        status, reasons = EntitlementStatus.REVOKED, [*reasons, "subscription_ended"]
    return Standing(status, tuple(reasons), line.left)


def removed(reason: str) -> Standing:
    """The standing of what is granted no more. reason: `line_removed` or `mapping_changed`."""
    return Standing(EntitlementStatus.REVOKED, (reason,), 0)


def by_hand(quantity: int) -> Standing:
    """The standing of what the seller has granted without an order."""
    return Standing(EntitlementStatus.ACTIVE, (), quantity)


def overridden(standing: Standing, override: Override | None, bought: int) -> Standing:
    """The standing as the seller wants it. Its reasons name what would hold otherwise, too."""
    if override is Override.GRANT:
        return Standing(
            EntitlementStatus.ACTIVE, ("seller_granted", *standing.reasons), standing.quantity or bought
        )
    if override is Override.REVOKE:
        return Standing(EntitlementStatus.REVOKED, ("seller_revoked", *standing.reasons), standing.quantity)
    return standing

"""States of orders, refunds, disputes and subscriptions, in the order in which they usually come. Pure."""

from __future__ import annotations

from enum import StrEnum


class _State(StrEnum):
    @property
    def rank(self) -> int:
        """The place among the states: of two that are told of one moment, the greater one is believed."""
        return list(type(self)).index(self)


class OrderStatus(_State):
    """The states of an order, in the order in which they usually come."""

    PENDING = "pending"
    PAID = "paid"
    DISPUTED = "disputed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"


class RefundState(_State):
    """The states of a refund. A pending one counts, because the seller has decided to give the money back."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # or cancelled: the money stays with the seller


class DisputeState(_State):
    """The states of a dispute: an open one suspends, a lost one revokes, a won one changes nothing."""

    OPEN = "open"
    WON = "won"  # also withdrawn, or reversed
    LOST = "lost"


class SubscriptionState(_State):
    """The states of a subscription. What an ended one granted is revoked."""

    ACTIVE = "active"
    ENDED = "ended"

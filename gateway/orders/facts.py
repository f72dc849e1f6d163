"""What a platform can tell about orders, as values: facts. Pure.

A platform's module reads one event and answers with facts; it decides nothing. What follows from all facts of
an order (its status, its lines, what the customer may download) is decided by `gateway.orders.rules`.

Facts converge. Each fact has a key, `fact.key`, which names what it tells about, and a moment, `as_of`, which
says how new it is. Of several facts with one key, one stays: the one with the greatest `fact.precedence`,
that is the newest; of two of one moment the one whose state usually comes later; and of two that still agree,
the one with the greater digest of its content. So facts may be taken in any order and any number of times,
and the same ones are left (`gateway.orders.knowledge`).

- `as_of` must come from the event itself, or from the object in it (`updated_at`, `date_modified_gmt`,
  `created`). Only where neither has a time is it the time at which the event arrived first, which a replay
  keeps.
- A fact tells how something is, never how it changes. "The refund re_1 is of 2 of line 7", never "2 more".
- Facts about an order name it by a reference: its id, or another id that the platform uses for it, such as a
  payment. The fact may come before the order. Which references lead to an order, the order's snapshot tells,
  or an `Alias`. Once told, a reference is never taken back. Several orders may share one, such as a
  subscription.
- Times are milliseconds since 1970 UTC. Texts are as the platform wrote them, except for white space around
  them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Final, TypeAlias

from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState


class ItemKey(StrEnum):
    """The kinds of identifiers by which a mapping finds an item, the most specific first."""

    VARIANT = "variant"
    PRICE = "price"
    PRODUCT = "product"
    SKU = "sku"
    PAYMENT_LINK = "payment_link"
    METADATA = "metadata"


SPECIFICITY: Final = {key: place for place, key in enumerate(ItemKey)}
"""The place of each kind of identifier, 0 for the most specific."""


@dataclass(frozen=True)
class Identifier:
    """One way to name what was bought. The value of a METADATA identifier is `name=value`."""

    key: ItemKey
    value: str


@dataclass(frozen=True)
class Reference:
    """An id by which a fact names its order.

    kind: `order` for the order's own id, else the platform's word, such as `payment_intent`, `subscription`
    or `reference`. value: the id. Two references are the same only if both agree.
    """

    kind: str
    value: str


INVOICE: Final = "invoice"
"""The kind of a reference to another order, the invoice of the same purchase."""


def order_reference(order_id: str) -> Reference:
    """Make the reference that names an order by its own id."""
    return Reference("order", order_id)


@dataclass(frozen=True)
class Money:
    """An amount in whole units of its currency (12.50 EUR, 1250 JPY). currency: ISO 4217, upper case."""

    amount: Decimal
    currency: str


@dataclass(frozen=True)
class Person:
    """Who bought, or who receives, as far as the platform tells. Empty texts are written None.

    platform_id: the platform's id of the customer, which a `CustomerFact` may tell more about. email: as the
    platform wrote it; it is checked and normalised later (`gateway.orders.email_addresses`).
    """

    platform_id: str | None = None
    email: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Line:
    """One thing in an order.

    id: the platform's own id of the line, else `line_id(…)`. identifiers: of the item, in any order.
    quantity: what was bought, before refunds. refunded: how many of them the snapshot itself says were
    returned; 0 where the platform tells of refunds by other facts. subscription: the one that this line
    belongs to, where the order has lines of several; one that is in the order's references is of all other
    lines. scope, version, until: how much of the product was bought, where whoever tells the order knows that
    (`gateway.orders.mappings.Share`); None where the mapping says it.
    """

    id: str
    identifiers: tuple[Identifier, ...]
    title: str | None = None
    quantity: int = 1
    refunded: int = 0
    subscription: Reference | None = None
    scope: str | None = None
    version: str | None = None
    until: int | None = None


def line_id(identifiers: tuple[Identifier, ...], place: int) -> str:
    """Make the id of a line whose platform gives it none: `price_123#1`. place: in the order, from 1."""
    first = min(identifiers, key=lambda each: SPECIFICITY[each.key], default=None)
    return f"{first.value if first else 'item'}#{place}"


class Content:
    """What all facts have: a digest of their content, and a precedence among those with the same key."""

    kind: ClassVar[str]
    named_by: ClassVar[tuple[str, ...]]
    as_of: int

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What the fact tells about. Facts of one source with the same key replace one another."""
        key = [self.kind]
        for name in self.named_by:
            value = getattr(self, name)
            key += (value.kind, value.value) if isinstance(value, Reference) else (value,)
        return tuple(key)

    @property
    def rank(self) -> tuple[int, ...]:
        """Decides between facts of one moment: the greater one is believed."""
        return ()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the content, in hex."""
        content = asdict(self)  # type: ignore[call-overload]  # every subclass is a dataclass
        text = json.dumps([self.kind, content], sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def precedence(self) -> tuple[int, tuple[int, ...], str]:
        """Of facts with one key, the one with the greatest precedence stays."""
        return (self.as_of, self.rank, self.digest)


@dataclass(frozen=True)
class OrderSnapshot(Content):
    """An order as it was at a moment.

    order_id: CONTRACT.md says which id it is for each platform. number: what people call it, if that differs.
    references: further ids by which other facts name it. customer: who bought. recipients: who receives a
    gift, where that is somebody else. identifiers: those of the order as a whole, such as a payment link or
    metadata; they count as the least specific ones of its first line, and stand for a line where no lines are
    known. placed_at: ms. country: ISO 3166-1 alpha-2. ip: the buyer's address at the purchase. test: a
    purchase without money. status: what the order itself says; refunds and disputes that are facts of their
    own need not be in it. total: what was paid, tax and all, so that refunds of amounts can be seen to add up
    to all of it. lines: None where this event does not have them; they come as `OrderLines`, or never.
    as_of: when the order was like this.
    """

    kind: ClassVar[str] = "order"
    named_by: ClassVar[tuple[str, ...]] = ("order_id",)

    order_id: str
    as_of: int
    status: OrderStatus
    customer: Person
    test: bool = False
    number: str | None = None
    references: tuple[Reference, ...] = ()
    recipients: tuple[Person, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    placed_at: int | None = None
    country: str | None = None
    ip: str | None = None
    total: Money | None = None
    lines: tuple[Line, ...] | None = None
    beside: bool = False
    mail: bool = False

    @property
    def rank(self) -> tuple[int, ...]:
        return (self.status.rank, int(self.customer.email is not None))


@dataclass(frozen=True)
class OrderLines(Content):
    """The lines of an order, where they are told apart from it: fetched by an API key. All of them."""

    kind: ClassVar[str] = "lines"
    named_by: ClassVar[tuple[str, ...]] = ("order_id",)

    order_id: str
    as_of: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Alias(Content):
    """Another reference leads to this order, told apart from it, for example by an invoice's payment."""

    kind: ClassVar[str] = "alias"
    named_by: ClassVar[tuple[str, ...]] = ("order_id", "reference")

    order_id: str
    reference: Reference
    as_of: int = field(default=0, compare=False)


@dataclass(frozen=True)
class RefundedLine:
    """How many of a line a refund returns. The line is named by its id, or by an identifier of its item.

    By identifier, the quantity is taken from the order's lines that have it, first line first.
    """

    quantity: int
    line_id: str | None = None
    identifier: Identifier | None = None


@dataclass(frozen=True)
class Refund(Content):
    """One refund, as it was at a moment.

    refund_id: the platform's id, unique in its connection. order: a reference to the order. whole: the
    platform says that this refund returns everything. lines: what it returns; None where the platform tells
    only an amount. An amount alone revokes nothing, unless the amounts of all refunds make up the order's
    total.
    """

    kind: ClassVar[str] = "refund"
    named_by: ClassVar[tuple[str, ...]] = ("refund_id",)

    refund_id: str
    order: Reference
    as_of: int
    state: RefundState = RefundState.SUCCEEDED
    whole: bool = False
    lines: tuple[RefundedLine, ...] | None = None
    money: Money | None = None

    @property
    def rank(self) -> tuple[int, ...]:
        return (self.state.rank, int(self.lines is not None))


@dataclass(frozen=True)
class RefundSnapshot(Content):
    """What a platform says of all refunds of an order together, as it was at a moment.

    whole: everything was refunded. It is believed until a refund is known to have failed later. money: the
    sum of all refunds. It is never added to those of single refunds. refund_ids: the refunds that there are;
    a `Refund` of that moment or earlier that is missing in the list was taken back. None where the platform
    does not list them.
    """

    kind: ClassVar[str] = "refunds"
    named_by: ClassVar[tuple[str, ...]] = ("order",)

    order: Reference
    as_of: int
    whole: bool = False
    money: Money | None = None
    refund_ids: tuple[str, ...] | None = None

    @property
    def rank(self) -> tuple[int, ...]:
        return (int(self.whole), int(self.refund_ids is not None), len(self.refund_ids or ()))


@dataclass(frozen=True)
class Dispute(Content):
    """One dispute (chargeback) about an order, as it was at a moment.

    dispute_id: unique in its connection.
    """

    kind: ClassVar[str] = "dispute"
    named_by: ClassVar[tuple[str, ...]] = ("dispute_id",)

    dispute_id: str
    order: Reference
    as_of: int
    state: DisputeState

    @property
    def rank(self) -> tuple[int, ...]:
        return (self.state.rank,)


@dataclass(frozen=True)
class Subscription(Content):
    """A subscription, named by a reference that its orders have. Ended, it revokes what they granted."""

    kind: ClassVar[str] = "subscription"
    named_by: ClassVar[tuple[str, ...]] = ("subscription",)

    subscription: Reference
    as_of: int
    state: SubscriptionState

    @property
    def rank(self) -> tuple[int, ...]:
        return (self.state.rank,)


@dataclass(frozen=True)
class Deleted(Content):
    """An order was deleted at the platform. A snapshot that is newer brings it back."""

    kind: ClassVar[str] = "deleted"
    named_by: ClassVar[tuple[str, ...]] = ("order_id",)

    order_id: str
    as_of: int


@dataclass(frozen=True)
class CustomerFact(Content):
    """Who a customer of the platform is, where orders name only the platform's id."""

    kind: ClassVar[str] = "customer"
    named_by: ClassVar[tuple[str, ...]] = ("platform_id",)

    platform_id: str
    as_of: int
    email: str | None = None
    name: str | None = None


Fact: TypeAlias = (
    OrderSnapshot
    | OrderLines
    | Alias
    | Refund
    | RefundSnapshot
    | Dispute
    | Subscription
    | Deleted
    | CustomerFact
)
"""Anything that a platform can tell."""


@dataclass(frozen=True)
class Event:
    """One event of a platform, read.

    dedupe_key: the same for every delivery of the same event, and unique in its connection. type: the
    platform's word. test: whether it is of the platform's test mode; None where the platform does not say.
    occurred_at: ms; None where the event has no time. facts: none where the event is of no interest (it is
    *ignored*).
    """

    dedupe_key: str
    type: str
    test: bool | None = None
    occurred_at: int | None = None
    facts: tuple[Fact, ...] = ()

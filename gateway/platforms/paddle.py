"""Paddle Billing: signatures, and events about transactions, adjustments and customers. Pure.

- `Paddle-Signature: ts=SECONDS;h1=HEX`: HMAC-SHA256 of `SECONDS:BODY`; several `h1` while a secret is
  rotated.
- A transaction names its customer by id only. Who that is, events `customer.*` say, or the API.
- An adjustment gives money back: a `refund`, or a `chargeback` that a `chargeback_reverse` undoes. It names
  whole items by their ids in the transaction; of the others it returns a part of the price, which revokes
  nothing.
- Sandbox and live are separate accounts with separate secrets, so events do not say which they are of.
- The newest `occurred_at` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.orders.facts import (
    CustomerFact,
    Dispute,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    Refund,
    RefundedLine,
    line_id,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState
from gateway.platforms.fields import MAX_QUANTITY, Fields, identifiers
from gateway.platforms.interface import LookUp, Message, Platform, Reading, Verdict, Wanted
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, read_json
from gateway.platforms.signatures import check_timed_hex

SIGNATURE: Final = "paddle-signature"

_REFUNDS: Final = {
    "approved": RefundState.SUCCEEDED,
    "rejected": RefundState.FAILED,
    "reversed": RefundState.FAILED,
}
"""What the status of a refund says. One that waits for its approval gives nothing back yet."""


def verify(message: Message, secrets: Sequence[str], now: float) -> Verdict:
    """Check `Paddle-Signature`. now: seconds since 1970."""
    return check_timed_hex(message, secrets, now, SIGNATURE, words=("ts", "h1"), marks=(";", ":"))


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read an event: one reading."""
    return (read_json(message, (), _open, _tell, tells=tells),)


def _open(_message: Message, event: Fields) -> Envelope:
    identity = event.id("event_id")
    return Envelope(identity, event.word("event_type"), None, event.time("occurred_at"), identity)


def _tell(message: Message, event: Fields, envelope: Envelope) -> Told:
    arrived = message.received_at if envelope.occurred_at is None else envelope.occurred_at
    match envelope.type:
        case "transaction.completed":
            order = read_transaction(event.child("data"), arrived)
            buyer = order.customer.platform_id
            return Told((order,), (LookUp(Wanted.CUSTOMER, buyer),) if buyer else ())
        case "adjustment.created" | "adjustment.updated":
            return Told((_read_adjustment(event.child("data"), arrived),))
        case "customer.created" | "customer.updated" | "customer.imported":
            return Told((read_customer(event.child("data"), arrived),))
    raise Ignored(NOT_USED)


def read_customer(customer: Fields, arrived: int) -> CustomerFact:
    """A customer in an event, or in an answer of the API. Raises FieldFault."""
    updated = customer.time("updated_at")
    return CustomerFact(
        customer.id("id"),
        arrived if updated is None else updated,
        customer.text("email"),
        customer.text("name"),
    )


def read_transaction(transaction: Fields, arrived: int) -> OrderSnapshot:
    """A completed transaction. Raises FieldFault.

    Its items have no ids, but each line of `details`, which has the price's id and the same order, has one.
    """
    details = transaction.maybe("details")
    ids: dict[str | None, list[str]] = {}
    for line in details.children("line_items"):
        ids.setdefault(line.maybe_id("price_id"), []).append(line.id("id"))
    lines = []
    for place, item in enumerate(transaction.children("items"), 1):
        price = item.maybe("price")
        price_id = price.maybe_id("id") or item.maybe_id("price_id")
        known = identifiers((ItemKey.PRICE, price_id), (ItemKey.PRODUCT, price.maybe_id("product_id")))
        own = ids.get(price_id)
        title = price.text("name") or price.text("description")
        lines.append(
            Line(own.pop(0) if own else line_id(known, place), known, title, item.quantity("quantity"))
        )
    subscription = transaction.maybe_id("subscription_id")
    currency = transaction.currency("currency_code")
    updated = transaction.time("updated_at")
    return OrderSnapshot(
        order_id=transaction.id("id"),
        as_of=arrived if updated is None else updated,
        status=OrderStatus.PAID,
        customer=Person(transaction.maybe_id("customer_id")),
        number=transaction.maybe_id("invoice_number"),
        references=(Reference("subscription", subscription),) if subscription else (),
        placed_at=transaction.time("billed_at", "created_at"),
        total=details.maybe("totals").minor_money("grand_total", currency),
        lines=tuple(lines),
    )


def _read_adjustment(adjustment: Fields, arrived: int) -> Refund | Dispute:
    action, status = adjustment.word("action"), adjustment.word("status")
    transaction = adjustment.id("transaction_id")
    order = order_reference(transaction)
    updated = adjustment.time("updated_at", "created_at")
    as_of = arrived if updated is None else updated
    if action in ("chargeback", "chargeback_reverse"):
        if status != "approved":
            raise Ignored("it is not approved")
        state = DisputeState.LOST if action == "chargeback" else DisputeState.WON
        return Dispute(f"chargeback of {transaction}", order, as_of, state)
    if action != "refund":
        raise Ignored("it gives no money back")
    if status not in _REFUNDS:
        raise Ignored("it is not approved yet")
    lines = tuple(
        RefundedLine(MAX_QUANTITY, line_id=item.id("item_id"))
        for item in adjustment.children("items")
        if item.values.get("type") == "full"
    )
    return Refund(
        refund_id=adjustment.id("id"),
        order=order,
        as_of=as_of,
        state=_REFUNDS[status],
        whole=adjustment.values.get("type") == "full",
        lines=lines or None,
        money=adjustment.maybe("totals").minor_money("total", adjustment.currency("currency_code")),
    )


PLATFORM: Final = Platform(
    "paddle",
    "Paddle",
    verify,
    read,
    events=(
        "transaction.completed",
        "adjustment.created",
        "adjustment.updated",
        "customer.created",
        "customer.updated",
    ),
)

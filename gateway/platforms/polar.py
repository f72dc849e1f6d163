"""Polar: webhooks about orders, signed by Standard Webhooks. Pure.

- `webhook-id` is the dedupe key: it is signed, and the same over all tries.
- Every message has the whole order, and the newest `modified_at` counts. Refunds are told as a sum.
- Amounts are in the smallest unit of the currency.
"""

from __future__ import annotations

from typing import Final

from gateway.orders.facts import (
    Fact,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    RefundSnapshot,
    line_id,
    order_reference,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.fields import Fields, identifiers, metadata_identifiers
from gateway.platforms.interface import Message, Platform, Reading
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, read_json
from gateway.platforms.standard_webhooks import ID, TIMESTAMP, verify

_STATES: Final = {
    "pending": OrderStatus.PENDING,
    "paid": OrderStatus.PAID,
    "partially_refunded": OrderStatus.PAID,
    "refunded": OrderStatus.REFUNDED,
    "void": OrderStatus.CANCELLED,
}


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a webhook: one reading."""
    return (read_json(message, (*ID, *TIMESTAMP), _open, _tell, tells=tells),)


def _open(message: Message, body: Fields) -> Envelope:
    key = Fields({ID[0]: message.first(*ID)}).maybe_id(ID[0])
    seconds = message.first(*TIMESTAMP)
    occurred = body.time("timestamp")
    if occurred is None and seconds and seconds.isascii() and seconds.isdecimal():
        occurred = Fields({"webhook-timestamp": int(seconds[:12])}).seconds("webhook-timestamp")
    return Envelope(key, body.word("type"), None, occurred)


def _tell(message: Message, body: Fields, envelope: Envelope) -> Told:
    if envelope.type not in PLATFORM.events:
        raise Ignored(NOT_USED)
    arrived = message.received_at if envelope.occurred_at is None else envelope.occurred_at
    return Told(_read_order(body.child("data"), envelope.type, arrived))


def _status(order: Fields, event: str) -> OrderStatus:
    if order.has("status"):
        status = _STATES.get(order.word("status"))
        if status is None:
            raise order.fault("status", f"must be one of {', '.join(_STATES)}")
        return status
    return OrderStatus.PENDING if event == "order.updated" else OrderStatus.PAID


def _read_order(order: Fields, event: str, arrived: int) -> tuple[Fact, ...]:
    order_id, customer = order.id("id"), order.maybe("customer")
    changed, currency = order.time("modified_at"), order.currency("currency")
    as_of = arrived if changed is None else changed
    product = order.maybe_id("product_id")
    status = _status(order, event)
    lines = []
    for place, item in enumerate(order.children("items"), 1):
        if item.flag("proration", missing=False):
            continue
        price = item.maybe_id("product_price_id")
        known = identifiers((ItemKey.PRICE, price), (ItemKey.PRODUCT, product))
        lines.append(Line(item.maybe_id("id") or line_id(known, place), known, item.text("label")))
    if not lines and product:
        known = identifiers((ItemKey.PRODUCT, product))
        lines.append(Line(line_id(known, 1), known))
    subscription = order.maybe_id("subscription_id")
    snapshot = OrderSnapshot(
        order_id=order_id,
        as_of=as_of,
        status=status,
        customer=Person(
            customer.maybe_id("id") or order.maybe_id("customer_id"),
            customer.text("email"),
            customer.text("name") or order.text("billing_name"),
        ),
        number=order.maybe_id("invoice_number"),
        references=(Reference("subscription", subscription),) if subscription else (),
        identifiers=metadata_identifiers(order.maybe("metadata")),
        placed_at=order.time("created_at"),
        country=order.maybe("billing_address").country("country"),
        total=order.minor_money("total_amount", currency),
        lines=tuple(lines) or None,
    )
    money = order.minor_money("refunded_amount", currency)
    whole = status is OrderStatus.REFUNDED
    return (snapshot, RefundSnapshot(order_reference(order_id), as_of, whole, money))


PLATFORM: Final = Platform(
    "polar", "Polar", verify, read, events=("order.paid", "order.updated", "order.refunded")
)

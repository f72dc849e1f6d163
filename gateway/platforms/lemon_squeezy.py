"""Lemon Squeezy: signatures, and webhooks about orders. Pure.

- `X-Signature`: hex of HMAC-SHA256 of the body. No time is signed.
- Webhooks have no ids, so the dedupe key is the body's digest. Every message has the whole order, and the
  newest `updated_at` counts.
- An order has one item as a rule, `first_order_item`; the API lists all.
- Amounts are in the smallest unit of the currency (docs.lemonsqueezy.com/api/orders).
- It wants exactly 200, and tries three times more within three minutes otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.orders.facts import (
    Fact,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    RefundSnapshot,
    line_id,
    order_reference,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.fields import Fields, identifiers, metadata_identifiers
from gateway.platforms.interface import Message, Platform, Reading, Reason, Verdict
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, body_key, read_json
from gateway.platforms.signatures import check_hex, keys_of, only_value, precheck

SIGNATURE: Final = "x-signature"

_STATES: Final = {
    "pending": OrderStatus.PENDING,
    "paid": OrderStatus.PAID,
    "partial_refund": OrderStatus.PAID,
    "refunded": OrderStatus.REFUNDED,
    "failed": OrderStatus.CANCELLED,
    "fraudulent": OrderStatus.CANCELLED,
}


def verify(message: Message, secrets: Sequence[str], _now: float) -> Verdict:
    """Check `X-Signature`."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    given = only_value(message, SIGNATURE)
    if isinstance(given, Reason):
        return Verdict(given)
    return check_hex((message.body,), keys_of(secrets), (given,))


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a webhook: one reading."""
    return (read_json(message, (), _open, _tell, tells=tells),)


def _open(message: Message, body: Fields) -> Envelope:
    meta, attributes = body.child("meta"), body.maybe("data").maybe("attributes")
    test = meta.flag("test_mode")
    if test is None:
        test = attributes.flag("test_mode")
    return Envelope(body_key(message.body), meta.word("event_name"), test, attributes.time("updated_at"))


def _tell(message: Message, body: Fields, envelope: Envelope) -> Told:
    if envelope.type not in PLATFORM.events:
        raise Ignored(NOT_USED)
    custom = metadata_identifiers(body.child("meta").maybe("custom_data"))
    return Told(_read_order(body.child("data"), custom, message.received_at, bool(envelope.test)))


def _read_order(data: Fields, custom: tuple, arrived: int, test: bool) -> tuple[Fact, ...]:  # type: ignore[type-arg]
    order_id, order = data.id("id"), data.child("attributes")
    status = _STATES.get(order.word("status"))
    if status is None:
        raise order.fault("status", f"must be one of {', '.join(_STATES)}")
    updated, currency = order.time("updated_at"), order.currency("currency")
    as_of = arrived if updated is None else updated
    lines = []
    if order.has("first_order_item"):
        item = order.child("first_order_item")
        known = identifiers(
            (ItemKey.VARIANT, item.maybe_id("variant_id")),
            (ItemKey.PRICE, item.maybe_id("price_id")),
            (ItemKey.PRODUCT, item.maybe_id("product_id")),
        )
        lines.append(
            Line(
                item.maybe_id("id") or line_id(known, 1),
                known,
                item.text("product_name"),
                item.quantity("quantity"),
            )
        )
    snapshot = OrderSnapshot(
        order_id=order_id,
        as_of=as_of,
        status=status,
        customer=Person(order.maybe_id("customer_id"), order.text("user_email"), order.text("user_name")),
        test=test,
        number=order.maybe_id("order_number"),
        identifiers=custom,
        placed_at=order.time("created_at"),
        total=order.minor_money("total", currency),
        lines=tuple(lines) or None,
    )
    whole = status is OrderStatus.REFUNDED
    money = order.minor_money("refunded_amount", currency)
    return (snapshot, RefundSnapshot(order_reference(order_id), as_of, whole, money))


PLATFORM: Final = Platform(
    "lemonsqueezy", "Lemon Squeezy", verify, read, events=("order_created", "order_refunded")
)

"""Shopify: signatures, and webhooks about orders, refunds and disputes. Pure.

- `X-Shopify-Hmac-Sha256`: base64 of HMAC-SHA256 of the body. The key is the text of the app's client secret,
  or of the signing key under Settings → Notifications. Newer versions drop the `X-` of all header fields;
  both are read.
- Nothing signs the header fields. So the topic only says which form the body has: what an order's state is,
  the body itself says (`cancelled_at`, `financial_status`), and the topic only where it has neither.
- Of an order's states the one with the newest `updated_at` counts; refunds are counted by their own ids, also
  those that an order lists.
- Personal data is null for apps without access to it: the order is taken, and waits for its customer.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from gateway.orders.facts import (
    Deleted,
    Dispute,
    Fact,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Refund,
    RefundedLine,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState
from gateway.platforms.fields import Fields, identifiers, joined_name, read_time
from gateway.platforms.interface import Message, Platform, Reading, Reason, Verdict
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, read_json
from gateway.platforms.signatures import check_base64, keys_of, only_value, precheck

SIGNATURE: Final = ("x-shopify-hmac-sha256", "shopify-hmac-sha256")
TOPIC: Final = ("x-shopify-topic", "shopify-topic")
EVENT_ID: Final = ("x-shopify-webhook-id", "shopify-webhook-id")
TRIGGERED_AT: Final = ("x-shopify-triggered-at", "shopify-triggered-at")
KEPT: Final = (*TOPIC, *EVENT_ID, *TRIGGERED_AT)

_STATES: Final = {
    "pending": OrderStatus.PENDING,
    "authorized": OrderStatus.PENDING,
    "partially_paid": OrderStatus.PENDING,
    "paid": OrderStatus.PAID,
    "partially_refunded": OrderStatus.PAID,
    "refunded": OrderStatus.REFUNDED,
    "voided": OrderStatus.CANCELLED,
    "expired": OrderStatus.CANCELLED,
}
"""What each `financial_status` says of an order."""
_STATE_OF_TOPIC: Final = {
    "orders/paid": OrderStatus.PAID,
    "orders/cancelled": OrderStatus.CANCELLED,
}
"""Used only where the body has no `financial_status`."""
_DISPUTES: Final = {
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.OPEN,
    "won": DisputeState.WON,
    "charge_refunded": DisputeState.WON,  # told of as a refund as well
    "prevented": DisputeState.WON,
    "lost": DisputeState.LOST,
    "accepted": DisputeState.LOST,
}


def verify(message: Message, secrets: Sequence[str], _now: float) -> Verdict:
    """Check `X-Shopify-Hmac-Sha256`."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    given = only_value(message, *SIGNATURE)
    if isinstance(given, Reason):
        return Verdict(given)
    return check_base64((message.body,), [[key] for key in keys_of(secrets)], (given,))


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a webhook: one reading."""
    return (read_json(message, KEPT, _open, _tell, tells=tells),)


def _open(message: Message, body: Fields) -> Envelope:
    headers = Fields(
        {"x-shopify-topic": message.first(*TOPIC), "x-shopify-webhook-id": message.first(*EVENT_ID)}
    )
    topic, key = headers.word("x-shopify-topic"), headers.maybe_id("x-shopify-webhook-id")
    triggered = read_time(message.first(*TRIGGERED_AT) or "")
    test = body.flag("test")
    if test is None:
        tests = [payment.flag("test", missing=False) for payment in body.children("transactions")]
        test = all(tests) if tests else None
    return Envelope(key, topic, test, triggered, key)


def _tell(message: Message, body: Fields, envelope: Envelope) -> Told:
    resource, _, action = envelope.type.partition("/")
    arrived = message.received_at if envelope.occurred_at is None else envelope.occurred_at
    if resource == "orders" and action == "delete":
        return Told((Deleted(body.id("id"), arrived),))
    if resource == "orders" and body.has("line_items"):
        order = read_order(body, envelope.type, arrived, bool(envelope.test))
        return Told((order, *_listed_refunds(body, order.order_id, arrived)))
    if envelope.type == "refunds/create":
        return Told((read_refund(body, body.id("order_id"), arrived),))
    if resource == "disputes":
        state = _DISPUTES.get(body.word("status"))
        if state is None:
            raise body.fault("status", f"must be one of {', '.join(_DISPUTES)}")
        if not body.has("order_id"):
            raise Ignored("it is about no order")
        return Told((Dispute(body.id("id"), order_reference(body.id("order_id")), arrived, state),))
    raise Ignored(NOT_USED)


def read_order(order: Fields, topic: str, arrived: int, test: bool) -> OrderSnapshot:
    """The order in a webhook, or in an answer of the REST API. arrived: ms. Raises FieldFault."""
    customer = order.maybe("customer")
    billing = order.maybe("billing_address")
    address = billing if billing.values else order.maybe("shipping_address")
    name = joined_name(customer.text("first_name"), customer.text("last_name"))
    updated = order.time("updated_at")
    return OrderSnapshot(
        order_id=order.id("id"),
        as_of=arrived if updated is None else updated,
        status=_status(order, topic),
        customer=Person(
            customer.maybe_id("id"),
            order.text("email") or order.text("contact_email") or customer.text("email"),
            name or billing.text("name"),
        ),
        test=test,
        number=order.text("name"),
        placed_at=order.time("processed_at", "created_at"),
        country=address.country("country_code"),
        ip=order.text("browser_ip"),
        total=order.money("total_price", order.currency("currency")),
        lines=tuple(
            Line(
                line.id("id"),
                identifiers(
                    (ItemKey.VARIANT, line.maybe_id("variant_id")),
                    (ItemKey.PRODUCT, line.maybe_id("product_id")),
                    (ItemKey.SKU, line.text("sku")),
                ),
                line.text("name") or line.text("title"),
                line.quantity("quantity"),
            )
            for line in order.children("line_items")
        ),
    )


def _status(order: Fields, topic: str) -> OrderStatus:
    if order.has("cancelled_at"):
        return OrderStatus.CANCELLED
    if order.has("financial_status"):
        found = _STATES.get(order.word("financial_status"))
    else:
        found = _STATE_OF_TOPIC.get(topic, OrderStatus.PENDING)
    if found is None:
        raise order.fault("financial_status", f"must be one of {', '.join(_STATES)}")
    return found


def _listed_refunds(order: Fields, order_id: str, arrived: int) -> list[Fact]:
    return [read_refund(refund, order_id, arrived) for refund in order.children("refunds")]


def read_refund(refund: Fields, order_id: str, arrived: int) -> Refund:
    """A refund in a webhook, or in the list of an order. Raises FieldFault."""
    when = refund.time("processed_at", "created_at")
    lines = tuple(
        RefundedLine(line.quantity("quantity", missing=None), line_id=line.id("line_item_id"))
        for line in refund.children("refund_line_items")
    )
    return Refund(
        refund_id=refund.id("id"),
        order=order_reference(order_id),
        as_of=arrived if when is None else when,
        state=RefundState.SUCCEEDED,
        lines=lines or None,
        money=_money(refund),
    )


def _money(refund: Fields) -> Money | None:
    """What was given back, as far as the refund's payments say. Payments that failed are left out."""
    total, currency = Decimal(0), None
    for payment in refund.children("transactions"):
        money = payment.money("amount", payment.currency("currency"))
        if money and payment.values.get("kind") == "refund" and payment.values.get("status") == "success":
            if currency not in (None, money.currency):
                return None
            total, currency = total + money.amount, money.currency
    return None if currency is None else Money(total, currency)


PLATFORM: Final = Platform(
    "shopify",
    "Shopify",
    verify,
    read,
    events=("orders/paid", "orders/cancelled", "orders/updated", "refunds/create"),
)

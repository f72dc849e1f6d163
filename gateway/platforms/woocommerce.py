"""WooCommerce: signatures, and webhooks about orders. Pure.

- `X-WC-Webhook-Signature`: base64 of HMAC-SHA256 of the body. WooCommerce decodes HTML entities in its secret
  before it signs (`WC_Webhook::generate_signature`, `wp_specialchars_decode` with ENT_QUOTES), so we do the
  same.
- When a webhook is made, WooCommerce sends `webhook_id=N` as a form, without a signature, and wants 200 and
  nothing else.
- The body is made when it is delivered, not when something happened: every message is a snapshot, and the
  newest `date_modified_gmt` counts. So the topic decides nothing, except that a deleted order has only its id
  left.
- The delivery id is a hash of the webhook's id and the second. Two orders of one second have the same, so
  the dedupe key is the body's digest.
- Refunds are listed by id and amount. Their lines are known to the API only.
- WooCommerce never tries again, and stops for good after five failures in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.orders.facts import (
    Deleted,
    Fact,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Refund,
    RefundedLine,
    RefundSnapshot,
    order_reference,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.fields import MAX_QUANTITY, Fields, identifiers, joined_name
from gateway.platforms.interface import LookUp, Message, Platform, Reading, Reason, Verdict, Wanted
from gateway.platforms.reading import NOT_USED, UNKNOWN_TYPE, Envelope, Ignored, Told, body_key, read_json
from gateway.platforms.signatures import check_base64, keys_of, only_value, precheck

SIGNATURE: Final = "x-wc-webhook-signature"
TOPIC: Final = "x-wc-webhook-topic"

_PING: Final = re.compile(rb"webhook_id=[0-9]{1,20}")

_ENTITY: Final = re.compile(
    r"&(?:(?P<apostrophe>#0*39|#[xX]0*27)|(?P<quote>quot|#0*34|#[xX]0*22)"
    r"|(?P<less>lt|#0*60)|(?P<greater>gt|#0*62)|(?P<ampersand>amp|#0*38|#[xX]0*26));"
)
_CHARACTERS: Final = {"apostrophe": "'", "quote": '"', "less": "<", "greater": ">", "ampersand": "&"}

STATES: Final = {
    "pending": OrderStatus.PENDING,
    "on-hold": OrderStatus.PENDING,
    "checkout-draft": OrderStatus.PENDING,
    "processing": OrderStatus.PAID,
    "completed": OrderStatus.PAID,
    "refunded": OrderStatus.REFUNDED,
    "cancelled": OrderStatus.CANCELLED,
    "failed": OrderStatus.CANCELLED,
    "trash": OrderStatus.CANCELLED,
}
"""What each status of WooCommerce's own says. Plug-ins add others, which change nothing here."""


def decode_secret(secret: str) -> str:
    """Decode the HTML entities that WordPress' `wp_specialchars_decode` does, once."""
    return _ENTITY.sub(lambda found: _CHARACTERS[found.lastgroup or ""], secret)


def verify(message: Message, secrets: Sequence[str], _now: float) -> Verdict:
    """Check `X-WC-Webhook-Signature`."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    given = only_value(message, SIGNATURE)
    if isinstance(given, Reason):
        return Verdict(given)
    keys = keys_of([decode_secret(secret) for secret in secrets])
    return check_base64((message.body,), [[key] for key in keys], (given,))


def is_ping(message: Message) -> bool:
    """Whether this is the greeting of a webhook that was just made."""
    return _PING.fullmatch(message.body) is not None and not message.values(SIGNATURE)


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a webhook: one reading."""
    return (read_json(message, (TOPIC,), _open, _tell, tells=tells),)


def _open(message: Message, order: Fields) -> Envelope:
    topic = Fields({TOPIC: message.first(TOPIC) or UNKNOWN_TYPE}).word(TOPIC)
    return Envelope(body_key(message.body), topic, None, order.time("date_modified_gmt"))


def _tell(message: Message, order: Fields, envelope: Envelope) -> Told:
    if not envelope.type.startswith("order.") and "line_items" not in order.values:
        raise Ignored(NOT_USED)
    if set(order.values) == {"id"}:
        return Told((Deleted(order.id("id"), message.received_at),))
    order_id = order.id("id")
    facts = read_order(order, message.received_at)
    refunded = any(isinstance(fact, RefundSnapshot) and fact.refund_ids for fact in facts)
    return Told(facts, (LookUp(Wanted.REFUNDS, order_id),) if refunded else ())


def read_order(order: Fields, arrived: int) -> tuple[Fact, ...]:
    """The order in a webhook, or in an answer of the REST API. arrived: ms. Raises FieldFault, Ignored."""
    status = STATES.get(order.word("status"))
    if status is None:
        raise Ignored("its status is none of WooCommerce's own")
    billing = order.maybe("billing")
    modified = order.time("date_modified_gmt")
    currency = order.currency("currency")
    snapshot = OrderSnapshot(
        order_id=order.id("id"),
        as_of=arrived if modified is None else modified,
        status=status,
        customer=Person(
            order.maybe_id("customer_id"),
            billing.text("email"),
            joined_name(billing.text("first_name"), billing.text("last_name")),
        ),
        number=order.maybe_id("number"),
        placed_at=order.time("date_paid_gmt", "date_created_gmt"),
        country=billing.country("country"),
        ip=order.text("customer_ip_address"),
        total=order.money("total", currency),
        lines=tuple(
            Line(
                line.id("id"),
                _identifiers(line),
                line.text("name"),
                line.quantity("quantity"),
            )
            for line in order.children("line_items")
        ),
    )
    return (snapshot, *_listed_refunds(order, snapshot, currency))


def _listed_refunds(order: Fields, snapshot: OrderSnapshot, currency: str | None) -> Iterator[Fact]:
    """The refunds that an order lists, by id and amount.

    Each is as old as the order, so that what the API tells of the same refund, with its lines, is newer.
    """
    reference = order_reference(snapshot.order_id)
    created = order.time("date_created_gmt") or 0
    known = []
    for refund in order.children("refunds"):
        amount = refund.amount("total")
        money = Money(abs(amount), currency) if amount is not None and currency else None
        known.append(Refund(refund.id("id"), reference, min(created, snapshot.as_of), money=money))
    yield from known
    yield RefundSnapshot(reference, snapshot.as_of, refund_ids=tuple(each.refund_id for each in known))


def _identifiers(line: Fields) -> tuple[Identifier, ...]:
    return identifiers(
        (ItemKey.VARIANT, line.maybe_id("variation_id")),
        (ItemKey.PRODUCT, line.maybe_id("product_id")),
        (ItemKey.SKU, line.text("sku")),
    )


def read_refund(refund: Fields, order_id: str, currency: str | None, arrived: int) -> Refund:
    """A refund in an answer of `GET …/orders/ID/refunds`. Raises FieldFault.

    Its quantities are negative, and its lines name those of the order in their metadata.
    """
    created = refund.time("date_created_gmt")
    lines = []
    for line in refund.children("line_items"):
        count = line.values.get("quantity")
        if type(count) is not int or abs(count) > MAX_QUANTITY:
            raise line.fault("quantity", "must be a whole number")
        for each in line.children("meta_data"):
            if count and each.values.get("key") == "_refunded_item_id":
                lines.append(RefundedLine(abs(count), line_id=each.id("value")))
                break
    amount = refund.amount("amount")
    return Refund(
        refund_id=refund.id("id"),
        order=order_reference(order_id),
        as_of=arrived if created is None else created,
        lines=tuple(lines) or None,
        money=Money(abs(amount), currency) if amount is not None and currency else None,
    )


PLATFORM: Final = Platform(
    "woocommerce",
    "WooCommerce",
    verify,
    read,
    is_ping=is_ping,
    events=("order.created", "order.updated", "order.deleted", "order.restored"),
)

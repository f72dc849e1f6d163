"""Gumroad: pings about sales, which nobody signs. Pure.

- A ping is a form. All that speaks for it is the secret in our own URL, `/hooks/CONNECTION/SECRET`, and who
  has seen that URL can send anything. So a ping is no fact: it names a sale, and the API tells what happened
  to it.
- The dedupe key is the sale and what happened to it (`resource_name`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from gateway.orders.facts import (
    Dispute,
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
from gateway.orders.states import DisputeState, OrderStatus
from gateway.platforms.fields import Fields, identifiers
from gateway.platforms.interface import LookUp, Message, Platform, Reading, Reason, Verdict, Wanted
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, read_fields, unreadable
from gateway.platforms.signatures import MAX_HEADER, check_text, precheck

MAX_FIELDS: Final = 300
"""Fields of a ping. A sale with many custom fields and variants has some 60."""

_USED: Final = ("sale", "refund", "dispute", "dispute_won", "cancellation", "subscription_ended")


def verify(message: Message, secrets: Sequence[str], _now: float) -> Verdict:
    """Check the secret in the URL."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    if not message.url_secret:
        return Verdict(Reason.SIGNATURE_MISSING)
    if len(message.url_secret) > MAX_HEADER:
        return Verdict(Reason.SIGNATURE_MALFORMED)
    return check_text(message.url_secret, secrets)


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a ping: one reading, without facts, that asks for the sale."""
    kept = message.keep()
    try:
        pairs = parse_qsl(message.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        return (unreadable(kept, "The body is not UTF-8."),)
    except ValueError:
        return (unreadable(kept, f"The body is not a form of at most {MAX_FIELDS} fields."),)
    values: dict[str, str] = {}
    for name, value in pairs:
        if values.setdefault(name, value) != value:
            return (unreadable(kept, "The body has a field twice, with different values."),)
    return (read_fields(kept, Fields(values), _open, _tell, tells=tells),)


def _open(_message: Message, form: Fields) -> Envelope:
    event = form.maybe_id("resource_name") or "sale"
    sale = form.maybe_id("sale_id")
    test = form.values.get("test") in ("true", "1")
    return Envelope(f"{sale}:{event}" if sale else None, event, test)


def _tell(_message: Message, form: Fields, envelope: Envelope) -> Told:
    if envelope.type not in _USED:
        raise Ignored(NOT_USED)
    if envelope.type in ("cancellation", "subscription_ended") and not form.has("sale_id"):
        raise Ignored("it names no sale")
    return Told((), (LookUp(Wanted.ORDER, form.id("sale_id"), required=True),))


def read_sale(sale: Fields, arrived: int) -> tuple[Fact, ...]:
    """A sale in an answer of `GET /v2/sales/ID`. arrived: when it was asked, ms. Raises FieldFault."""
    order_id = sale.id("id")
    order = order_reference(order_id)
    known = identifiers(
        (ItemKey.VARIANT, _variant(sale)),
        (ItemKey.PRODUCT, sale.maybe_id("product_id")),
        (ItemKey.SKU, sale.text("sku_id") or sale.text("product_permalink")),
    )
    currency = sale.currency("currency") or "USD"
    subscription = sale.maybe_id("subscription_id")
    refunded, charged_back = bool(sale.flag("refunded")), bool(sale.flag("chargedback"))
    facts: list[Fact] = [
        OrderSnapshot(
            order_id=order_id,
            as_of=arrived,
            status=OrderStatus.REFUNDED if refunded else OrderStatus.PAID,
            customer=Person(
                sale.maybe_id("purchaser_id"),
                sale.text("purchase_email") or sale.text("email"),
                sale.text("full_name"),
            ),
            test=bool(sale.flag("test")),
            number=sale.maybe_id("order_id"),
            references=(Reference("subscription", subscription),) if subscription else (),
            placed_at=sale.time("created_at"),
            total=sale.minor_money("price", currency),
            lines=(Line(line_id(known, 1), known, sale.text("product_name"), sale.quantity("quantity")),),
        ),
        RefundSnapshot(order, arrived, refunded, sale.minor_money("amount_refunded_in_cents", currency)),
    ]
    if sale.has("disputed") or charged_back:
        won = bool(sale.flag("dispute_won"))
        state = DisputeState.WON if won else DisputeState.LOST if charged_back else DisputeState.OPEN
        if won or charged_back or sale.flag("disputed"):
            facts.append(Dispute(f"dispute of {order_id}", order, arrived, state))
    return tuple(facts)


def _variant(sale: Fields) -> str | None:
    """The variants that were chosen, as one text: `Tier=Pro, Size=L`."""
    variants = sale.maybe("variants").values or sale.maybe("variants_and_quantity").values
    chosen = [f"{name}={value}" for name, value in sorted(variants.items()) if isinstance(value, str)]
    return ", ".join(chosen)[:255] or None


PLATFORM: Final = Platform("gumroad", "Gumroad", verify, read, events=_USED, needs_api_key=True)

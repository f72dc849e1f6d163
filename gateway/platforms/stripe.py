"""Stripe: signatures, and events about Checkout, refunds, disputes and subscriptions. Pure.

- `Stripe-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`; several `v1` while a secret is rotated.
  The key is the whole text of the secret, `whsec_` and all (docs.stripe.com/webhooks; stripe-python
  `_webhook.py`).
- An order is a Checkout session (`cs_…`) or a paid invoice (`in_…`, in `stripe_invoices.py`). Refunds and
  disputes name neither, but the payment (`pi_…`) that both have.
- A session's event has no line items. They come by the API; without a key, a mapping goes by payment link or
  metadata. The session of a subscription has none here: its invoices have the lines, and both would grant
  twice.
- Refunds are counted by their own ids. `charge.refunded` tells the sum, and is believed where it says that
  all was refunded. The two are never added up.
- Events come in any order, each with the object as it was then: `created` of the event says which is newer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.orders.facts import (
    INVOICE,
    Dispute,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    Refund,
    RefundSnapshot,
    Subscription,
    line_id,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from gateway.platforms import stripe_invoices
from gateway.platforms.fields import Fields, identifiers, metadata_identifiers
from gateway.platforms.interface import LookUp, Message, Platform, Reading, Verdict, Wanted
from gateway.platforms.reading import NOT_USED, Envelope, Ignored, Told, read_json
from gateway.platforms.signatures import check_timed_hex

HEADER: Final = "stripe-signature"

_PAID_STATES: Final = ("paid", "no_payment_required")
_REFUND_STATES: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
_DISPUTE_STATES: Final = {
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.OPEN,
    "warning_needs_response": DisputeState.OPEN,
    "warning_under_review": DisputeState.OPEN,
    "won": DisputeState.WON,
    "warning_closed": DisputeState.WON,  # an inquiry that never became a chargeback
    "prevented": DisputeState.WON,  # a refund came before it, which is told of as a refund
    "charge_refunded": DisputeState.WON,  # the same, in old versions of the API
    "lost": DisputeState.LOST,
}


def verify(message: Message, secrets: Sequence[str], now: float) -> Verdict:
    """Check `Stripe-Signature`. now: seconds since 1970."""
    return check_timed_hex(message, secrets, now, HEADER, words=("t", "v1"), marks=(",", "."))


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read an event: one reading."""
    return (read_json(message, (), _open, _tell, tells=tells),)


def _open(_message: Message, event: Fields) -> Envelope:
    live = event.flag("livemode")
    identity = event.id("id")
    return Envelope(
        identity,
        event.word("type"),
        None if live is None else not live,
        event.seconds("created"),
        identity,
    )


def _tell(message: Message, event: Fields, envelope: Envelope) -> Told:
    teller = _TELLERS.get(envelope.type)
    if teller is None:
        raise Ignored(NOT_USED)
    as_of = message.received_at if envelope.occurred_at is None else envelope.occurred_at
    return teller(event.child("data").child("object"), envelope, as_of)


def _tell_session(session: Fields, envelope: Envelope, as_of: int) -> Told:
    status = OrderStatus.PAID
    if envelope.type.endswith("async_payment_failed"):
        status = OrderStatus.CANCELLED
    elif envelope.type.endswith("completed") and session.word("payment_status") not in _PAID_STATES:
        status = OrderStatus.PENDING
    if session.values.get("mode") == "setup":
        raise Ignored("a session of the mode setup sells nothing")
    snapshot = read_session(session, status, as_of, bool(envelope.test))
    asks = snapshot.lines is None and session.values.get("mode") != "subscription"
    return Told((snapshot,), (LookUp(Wanted.LINES, snapshot.order_id),) if asks else ())


def read_session(session: Fields, status: OrderStatus, as_of: int, test: bool) -> OrderSnapshot:
    """The order that a Checkout session is. Raises FieldFault."""
    details = session.maybe("customer_details")
    payment = session.id_or_object("payment_intent", "id")
    subscription = session.id_or_object("subscription", "id")
    link = session.id_or_object("payment_link", "id")
    address = details.maybe("address")
    items = session.maybe("line_items")
    whole = isinstance(items.values.get("data"), list) and items.values.get("has_more") is not True
    return OrderSnapshot(
        order_id=session.id("id"),
        as_of=as_of,
        status=status,
        customer=Person(
            session.id_or_object("customer", "id"),
            details.text("email") or session.text("customer_email"),
            details.text("name"),
        ),
        test=test,
        references=tuple(
            Reference(kind, value)
            for kind, value in (
                ("payment_intent", payment),
                ("subscription", subscription),
                (INVOICE, None if subscription else session.id_or_object("invoice", "id")),
            )
            if value
        ),
        identifiers=(
            *identifiers((ItemKey.PAYMENT_LINK, link)),
            *metadata_identifiers(session.maybe("metadata")),
        ),
        placed_at=session.seconds("created"),
        country=address.country("country"),
        total=session.minor_money("amount_total", session.currency("currency")),
        lines=read_line_items(items, 0) if whole else None,
    )


def read_line_items(page: Fields, before: int) -> tuple[Line, ...]:
    """The lines in a list of line items, or in a page of it after `before` others. Raises FieldFault."""
    lines = []
    for place, item in enumerate(page.children("data"), before + 1):
        price = item.maybe("price")
        known = identifiers(
            (ItemKey.PRICE, item.id_or_object("price", "id")),
            (ItemKey.PRODUCT, price.id_or_object("product", "id")),
        )
        lines.append(
            Line(
                item.maybe_id("id") or line_id(known, place),
                known,
                item.text("description"),
                item.quantity("quantity"),
            )
        )
    return tuple(lines)


def _order_of(payment: Fields) -> Reference:
    """How a refund, a dispute or a charge names its order. Raises FieldFault."""
    found = payment.id_or_object("payment_intent", "id")
    if found:
        return Reference("payment_intent", found)
    charge = payment.id_or_object("charge", "id") or (
        payment.maybe_id("id") if payment.values.get("object") == "charge" else None
    )
    if charge:
        return Reference("charge", charge)
    raise payment.fault("payment_intent", "must be an id")


def _tell_charge(charge: Fields, _envelope: Envelope, as_of: int) -> Told:
    whole = charge.flag("refunded", missing=False)
    money = charge.minor_money("amount_refunded", charge.currency("currency"))
    return Told((RefundSnapshot(_order_of(charge), as_of, bool(whole), money),))


def _tell_refund(refund: Fields, envelope: Envelope, as_of: int) -> Told:
    if refund.values.get("object") not in (None, "refund"):
        raise Ignored("it is about a refund of another kind")
    failed = envelope.type == "refund.failed"
    state = RefundState.FAILED if failed else _REFUND_STATES.get(refund.word("status"))
    if state is None:
        raise refund.fault("status", f"must be one of {', '.join(_REFUND_STATES)}")
    money = refund.minor_money("amount", refund.currency("currency"))
    return Told((Refund(refund.id("id"), _order_of(refund), as_of, state, money=money),))


def _tell_dispute(dispute: Fields, _envelope: Envelope, as_of: int) -> Told:
    state = _DISPUTE_STATES.get(dispute.word("status"))
    if state is None:
        raise dispute.fault("status", f"must be one of {', '.join(_DISPUTE_STATES)}")
    return Told((Dispute(dispute.id("id"), _order_of(dispute), as_of, state),))


def _tell_subscription(subscription: Fields, _envelope: Envelope, as_of: int) -> Told:
    reference = Reference("subscription", subscription.id("id"))
    return Told((Subscription(reference, as_of, SubscriptionState.ENDED),))


Teller = Callable[[Fields, Envelope, int], Told]
"""Reads the object of an event of one type: `data.object`, the envelope, and the event's time in ms."""

_TELLERS: Final[dict[str, Teller]] = {
    "checkout.session.completed": _tell_session,
    "checkout.session.async_payment_succeeded": _tell_session,
    "checkout.session.async_payment_failed": _tell_session,
    "invoice.paid": stripe_invoices.tell_invoice,
    "invoice_payment.paid": stripe_invoices.tell_payment,
    "charge.refunded": _tell_charge,
    "refund.created": _tell_refund,
    "refund.updated": _tell_refund,
    "refund.failed": _tell_refund,
    "charge.refund.updated": _tell_refund,
    "charge.dispute.created": _tell_dispute,
    "charge.dispute.updated": _tell_dispute,
    "charge.dispute.closed": _tell_dispute,
    "customer.subscription.deleted": _tell_subscription,
}

PLATFORM: Final = Platform("stripe", "Stripe", verify, read, events=tuple(_TELLERS))

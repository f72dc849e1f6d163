"""FastSpring: signatures, and batches of events about orders, returns and subscriptions. Pure.

- `X-FS-Signature`: base64 of HMAC-SHA256 of the body. FastSpring signs only where a secret is set; we insist
  on it.
- One request has several events, and each is kept by itself. The answer is 200 where all were taken; else 202
  with the ids of those that were, one a line: FastSpring sends the others again.
- "Webhook expansion" puts whole objects where ids are otherwise (`order`, `account`, `subscription`,
  `product`).
- A return names its items by product and quantity, and the order by `original`. An item of which only a part
  of the price was given back has the `refundType` "Partial Refund": it is not returned. A return of tax alone
  returns nothing.
- When somebody sends an event again by hand, it has a new id. Its facts are the same, so it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Final

from gateway.http.strict_json import JsonFault, parse
from gateway.orders.facts import (
    Dispute,
    Identifier,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    Refund,
    RefundedLine,
    Subscription,
    line_id,
    order_reference,
)
from gateway.orders.states import DisputeState, OrderStatus, RefundState, SubscriptionState
from gateway.platforms.fields import FieldFault, Fields, identifiers, joined_name
from gateway.platforms.interface import (
    NOT_TAKEN,
    OK,
    Answer,
    LookUp,
    Message,
    Platform,
    Reading,
    Reason,
    Verdict,
    Wanted,
)
from gateway.platforms.reading import (
    NOT_USED,
    Envelope,
    Ignored,
    Told,
    as_object,
    read_fields,
    unreadable,
)
from gateway.platforms.signatures import check_base64, keys_of, only_value, precheck

SIGNATURE: Final = "x-fs-signature"
MAX_EVENTS: Final = 1000
"""Events of one request. FastSpring sends a few dozen at most."""

_DISPUTES: Final = {"WON": DisputeState.WON, "LOST": DisputeState.LOST}
"""The states of a chargeback that end it; FastSpring documents only NEW."""


def verify(message: Message, secrets: Sequence[str], _now: float) -> Verdict:
    """Check `X-FS-Signature`."""
    if reason := precheck(message, secrets):
        return Verdict(reason)
    given = only_value(message, SIGNATURE)
    if isinstance(given, Reason):
        return Verdict(given)
    return check_base64((message.body,), [[key] for key in keys_of(secrets)], (given,))


def read(message: Message, *, tells: bool = True) -> tuple[Reading, ...]:
    """Read a batch: a reading for each event, which keeps a batch of that event alone."""
    try:
        events = as_object(parse(message.body)).values.get("events")
    except (JsonFault, FieldFault) as fault:
        return (unreadable(message.keep(), str(fault)),)
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        return (unreadable(message.keep(), f"events must be an array of at most {MAX_EVENTS} objects."),)
    if len(events) == 1:
        return (_read_one(message.keep(), events[0], tells=tells),)
    return tuple(_read_one(message.keep(body=_alone(event)), event, tells=tells) for event in events)


def _alone(event: Any) -> bytes:
    return json.dumps({"events": [event]}, separators=(",", ":")).encode()


def _read_one(message: Message, event: Any, *, tells: bool) -> Reading:
    if not isinstance(event, dict):
        return unreadable(message, "events[0] must be an object.")
    return read_fields(message, Fields(event, "events[0]"), _open, _tell, tells=tells)


def answer(readings: Sequence[Reading], taken: Iterable[str]) -> Answer:
    """200 where all were taken, 202 with the ids of those that were, or 503."""
    keys = set(taken)
    done = [reading for reading in readings if reading.event.dedupe_key in keys]
    if len(done) == len(readings):
        return OK
    ids = [reading.platform_id for reading in done if reading.platform_id]
    return Answer(202, "\n".join(ids)) if ids else NOT_TAKEN


def _open(_message: Message, event: Fields) -> Envelope:
    live = event.flag("live")
    identity = event.id("id")
    test = None if live is None else not live
    return Envelope(identity, event.word("type"), test, event.milliseconds("created"), identity)


def _tell(message: Message, event: Fields, envelope: Envelope) -> Told:
    data = event.child("data") if envelope.type in _USED else event
    arrived = message.received_at if envelope.occurred_at is None else envelope.occurred_at
    match envelope.type:
        case "order.completed":
            return Told((read_order(data, arrived, bool(envelope.test)),))
        case "subscription.charge.completed":
            return _tell_charge(data, arrived, bool(envelope.test))
        case "return.created":
            return Told((_read_return(data, arrived),))
        case "chargeback.created":
            state = _DISPUTES.get(str(data.values.get("status")).upper(), DisputeState.OPEN)
            dispute = data.maybe_id("processorCaseId") or data.id("id")
            order = data.id_or_object("order", "id", "order") or data.id("order")
            return Told((Dispute(dispute, order_reference(order), arrived, state),))
        case "subscription.deactivated":
            identity = data.id_or_object("subscription", "id", "subscription") or data.id("id")
            ended = Subscription(Reference("subscription", identity), arrived, SubscriptionState.ENDED)
            return Told((ended,))
    raise Ignored(NOT_USED)


_USED: Final = (
    "order.completed",
    "subscription.charge.completed",
    "return.created",
    "chargeback.created",
    "subscription.deactivated",
)


def read_order(order: Fields, arrived: int, test: bool, subscription: str | None = None) -> OrderSnapshot:
    """An order in an event, or in an answer of the API. Raises FieldFault.

    subscription: the one that charged it, where the order does not say so.
    """
    items = list(order.children("items"))
    reference = order.maybe_id("reference")
    changed = order.milliseconds("changed")
    return OrderSnapshot(
        order_id=order.maybe_id("id") or order.id("order"),
        as_of=arrived if changed is None else changed,
        status=OrderStatus.PAID,
        customer=_person(order),
        test=test,
        number=reference,
        references=tuple(
            dict.fromkeys(
                Reference(kind, value)
                for kind, value in (
                    ("reference", reference),
                    ("subscription", subscription),
                )
                if value
            )
        ),
        recipients=tuple(
            _named(each.maybe("recipient"))
            for each in order.children("recipients")
            if each.maybe("recipient").text("email")
        ),
        placed_at=changed,
        country=order.maybe("address").country("country"),
        ip=order.text("ipAddress"),
        total=order.money("total", order.currency("currency")),
        lines=tuple(map(_line, items, count(1))) if order.has("items") else None,
    )


def _named(person: Fields, platform_id: str | None = None) -> Person:
    return Person(platform_id, person.text("email"), joined_name(person.text("first"), person.text("last")))


def _person(holder: Fields) -> Person:
    """The customer of an order; else the contact of its account."""
    account = holder.id_or_object("account", "id", "account")
    customer = holder.maybe("customer")
    contact = holder.maybe("account").maybe("contact")
    return _named(customer if customer.text("email") else contact, account)


def _identifiers(item: Fields) -> tuple[Identifier, ...]:
    return identifiers(
        (ItemKey.PRODUCT, item.id_or_object("product", "product", "path", "id")),
        (ItemKey.SKU, item.text("sku")),
    )


def _line(item: Fields, place: int) -> Line:
    known = _identifiers(item)
    subscription = item.id_or_object("subscription", "id", "subscription")
    return Line(
        line_id(known, place),
        known,
        item.text("display"),
        item.quantity("quantity"),
        subscription=Reference("subscription", subscription) if subscription else None,
    )


def _tell_charge(charge: Fields, arrived: int, test: bool) -> Told:
    """Read what a subscription charged. Without webhook expansion it has only ids."""
    subscription = charge.id_or_object("subscription", "id", "subscription")
    if isinstance(charge.values.get("order"), dict):
        order = charge.child("order")
        snapshot = read_order(order, arrived, test, subscription)
        if snapshot.customer.email is None:
            known = {"customer": charge.values.get("customer"), "account": charge.values.get("account")}
            snapshot = read_order(Fields({**order.values, **known}, order.path), arrived, test, subscription)
        return Told((snapshot,))
    order_id = charge.id("order")
    snapshot = OrderSnapshot(
        order_id=order_id,
        as_of=arrived,
        status=OrderStatus.PAID,
        customer=_person(charge),
        test=test,
        references=(Reference("subscription", subscription),) if subscription else (),
        placed_at=charge.milliseconds("timestamp"),
        total=charge.money("total", charge.currency("currency")),
    )
    return Told((snapshot,), (LookUp(Wanted.ORDER, order_id),))


def _read_return(returned: Fields, arrived: int) -> Refund:
    original = returned.child("original")
    order_id = original.maybe_id("id") or original.maybe_id("order")
    order = order_reference(order_id) if order_id else Reference("reference", original.id("reference"))
    currency = returned.currency("currency")
    money, total = returned.money("totalReturn", currency), original.amount("total")
    tax, subtotal = returned.amount("tax"), returned.amount("subtotal")
    if tax and not subtotal and money is not None and money.amount == tax:
        raise Ignored("only tax was returned")
    lines = tuple(
        RefundedLine(item.quantity("quantity"), identifier=_identifiers(item)[0])
        for item in returned.children("items")
        if not str(item.values.get("refundType") or "").lower().startswith("partial")
        if item.quantity("quantity") and _identifiers(item)
    )
    same = original.currency("currency") in (None, currency)
    changed = returned.milliseconds("changed")
    done = returned.flag("completed", missing=True)
    return Refund(
        refund_id=returned.maybe_id("return") or returned.id("id"),
        order=order,
        as_of=arrived if changed is None else changed,
        state=RefundState.SUCCEEDED if done else RefundState.FAILED,
        whole=bool(money and total and same and money.amount >= total),
        lines=lines or None,
        money=money,
    )


PLATFORM: Final = Platform("fastspring", "FastSpring", verify, read, answer, events=_USED)

"""Invoices of Stripe: what a subscription charges, and what is sold by invoice. Pure.

Since the API version "basil" (2025-03-31) the price of a line is at `pricing.price_details.price`, and was at
`price.id` before; the subscription is at `parent.subscription_details.subscription`, and was at
`subscription`; the payment is not in the invoice any more, and comes as `invoice_payment.paid`
(docs.stripe.com/changelog/basil). All forms are read. Lines that correct earlier ones (prorations, credits)
sell nothing.

A Checkout session with `invoice_creation` has an invoice, too. Both tell of one purchase: the session names
the invoice, or they share a payment. Then the session grants, and the invoice does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.orders.facts import (
    Alias,
    Identifier,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    line_id,
)
from gateway.orders.states import OrderStatus
from gateway.platforms.fields import Fields, identifiers, metadata_identifiers
from gateway.platforms.interface import LookUp, Wanted
from gateway.platforms.reading import Envelope, Ignored, Told

INVOICE_PREFIX: Final = "in_"
"""Begins the id of an order that is an invoice; others are Checkout sessions."""


def tell_invoice(invoice: Fields, envelope: Envelope, as_of: int) -> Told:
    """Read `invoice.paid`. Raises FieldFault."""
    snapshot = read_invoice(invoice, as_of, bool(envelope.test))
    if invoice.maybe("lines").values.get("has_more") is True:
        return Told((snapshot,), (LookUp(Wanted.LINES, snapshot.order_id),))
    return Told((snapshot,))


def tell_payment(payment: Fields, _envelope: Envelope, _as_of: int) -> Told:
    """Read `invoice_payment.paid`: which payment an invoice was paid by. Raises FieldFault."""
    inner = payment.maybe("payment")
    found = inner.id_or_object("payment_intent", "id")
    if found is None:
        raise Ignored("the invoice was not paid by a payment intent")
    invoice = payment.id_or_object("invoice", "id") or payment.id("invoice")
    return Told((Alias(invoice, Reference("payment_intent", found)),))


def read_invoice(invoice: Fields, as_of: int, test: bool) -> OrderSnapshot:
    """The order that a paid invoice is. Raises FieldFault."""
    parent = invoice.maybe("parent").maybe("subscription_details")
    subscription = invoice.id_or_object("subscription", "id") or parent.id_or_object("subscription", "id")
    references = [Reference("subscription", subscription)] if subscription else []
    references += [Reference("payment_intent", each) for each in _payments(invoice)]
    if charge := invoice.id_or_object("charge", "id"):
        references.append(Reference("charge", charge))
    more = invoice.maybe("subscription_details").maybe("metadata"), parent.maybe("metadata")
    metadata = [each for part in (invoice.maybe("metadata"), *more) for each in metadata_identifiers(part)]
    lines = invoice.maybe("lines")
    return OrderSnapshot(
        order_id=invoice.id("id"),
        as_of=as_of,
        status=OrderStatus.PAID,
        customer=Person(
            invoice.id_or_object("customer", "id"),
            invoice.text("customer_email"),
            invoice.text("customer_name"),
        ),
        test=test,
        references=tuple(dict.fromkeys(references)),
        identifiers=tuple(dict.fromkeys(metadata)),
        placed_at=invoice.seconds("created"),
        country=invoice.maybe("customer_address").country("country"),
        total=invoice.minor_money("amount_paid", invoice.currency("currency")),
        lines=None if lines.values.get("has_more") is True else read_invoice_lines(lines, 0),
        beside=not subscription,
    )


def _payments(invoice: Fields) -> Iterator[str]:
    """The payment intents of an invoice, in its old form and in its new one."""
    if found := invoice.id_or_object("payment_intent", "id"):
        yield found
    for payment in invoice.maybe("payments").children("data"):
        if found := payment.maybe("payment").id_or_object("payment_intent", "id"):
            yield found


def read_invoice_lines(page: Fields, before: int) -> tuple[Line, ...]:
    """The lines in an invoice's list, or in a page of it after `before` others. Raises FieldFault."""
    lines = []
    for place, line in enumerate(page.children("data"), before + 1):
        parent = line.maybe("parent")
        details = parent.maybe("subscription_item_details"), parent.maybe("invoice_item_details")
        amount = line.amount("amount")
        if any(each.flag("proration", missing=False) for each in (line, *details)):
            continue
        if amount is not None and amount < 0:
            continue
        known = _identifiers(line)
        lines.append(
            Line(
                line.maybe_id("id") or line_id(known, place),
                known,
                line.text("description"),
                line.quantity("quantity"),
            )
        )
    return tuple(lines)


def _identifiers(line: Fields) -> tuple[Identifier, ...]:
    details = line.maybe("pricing").maybe("price_details")
    price = line.maybe("price")
    return identifiers(
        (ItemKey.PRICE, details.id_or_object("price", "id") or line.id_or_object("price", "id")),
        (ItemKey.PRODUCT, details.id_or_object("product", "id") or price.id_or_object("product", "id")),
    ) + metadata_identifiers(line.maybe("metadata"))

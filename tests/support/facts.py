"""Facts for tests, short to write."""

from __future__ import annotations

from decimal import Decimal

from gateway.orders.facts import (
    Fact,
    Identifier,
    ItemKey,
    Line,
    Money,
    OrderSnapshot,
    Person,
    Reference,
    RefundedLine,
    order_reference,
)
from gateway.orders.knowledge import collect, join
from gateway.orders.order_rules import OrderState, decide
from gateway.orders.states import OrderStatus

ORDER_ID = "1001"
ORDER = order_reference(ORDER_ID)
PAYMENT = Reference("payment_intent", "pi_1")
BUYER = Person("cus_1", "ann@example.com", "Ann")
HOUR = 3_600_000
TEN = Money(Decimal(10), "EUR")
FOUR = Money(Decimal(4), "EUR")
SIX = Money(Decimal(6), "EUR")


def item(text: str) -> Identifier:
    """An identifier written `price:price_1`."""
    key, _, value = text.partition(":")
    return Identifier(ItemKey(key), value)


def line(
    name: str, *identifiers: str, quantity: int = 1, refunded: int = 0, title: str | None = None
) -> Line:
    """A line with identifiers written `price:price_1`."""
    return Line(name, tuple(map(item, identifiers)), title, quantity, refunded)


def snapshot(
    as_of: int = 1, *lines: Line, status: OrderStatus = OrderStatus.PAID, **fields: object
) -> OrderSnapshot:
    """A snapshot of the order ORDER_ID, which the reference PAYMENT leads to as well."""
    values: dict[str, object] = {
        "order_id": ORDER_ID,
        "customer": BUYER,
        "references": (PAYMENT,),
        "lines": lines or None,
        **fields,
    }
    return OrderSnapshot(as_of=as_of, status=status, **values)  # type: ignore[arg-type]


def returned(line_id: str, quantity: int = 1) -> RefundedLine:
    """What a refund returns of a line."""
    return RefundedLine(quantity, line_id)


def state(*facts: Fact) -> OrderState:
    """The state of the order ORDER_ID, as these facts tell it."""
    decided = decide(collect(join({}, facts).values(), ORDER_ID))
    assert decided is not None
    return decided

"""Facts for tests, short to write."""

from __future__ import annotations

from gateway.orders.facts import (
    Identifier,
    ItemKey,
    Line,
    OrderSnapshot,
    Person,
    Reference,
    RefundedLine,
    order_reference,
)
from gateway.orders.states import OrderStatus

ORDER_ID = "1001"
ORDER = order_reference(ORDER_ID)
PAYMENT = Reference("payment_intent", "pi_1")
BUYER = Person("cus_1", "ann@example.com", "Ann")
HOUR = 3_600_000


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

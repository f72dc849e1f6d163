"""Orders that are paid for and entitlements that are revoked, told to the endpoints of outgoing webhooks.

An order is told once it is seen as paid for, from nothing, pending or cancelled; one that a platform tells
as refunded at first is not. Past customers that are imported are not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import ORDER, ORDER_LINE
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.facts import OrderSnapshot
from gateway.orders.states import OrderStatus
from gateway.runtime.log import format_time
from gateway.webhooks.outbox.announcements import EventType, announce_as
from gateway.webhooks.outbox.writing import announce

_UNPAID: Final = (None, OrderStatus.PENDING, OrderStatus.CANCELLED)


async def announce_paid(
    sql: AsyncConnection,
    order: tuple[str, str],
    before: str | None,
    status: OrderStatus,
    snapshot: OrderSnapshot,
    *,
    customer: str | None,
    products: Iterable[str],
    lines: int,
    told: tuple[bool, list[str]],
    moment: int,
) -> None:
    """Tell that an order was paid for, if it was now, within the caller's transaction.

    order: its row's id, and its source. before: its status; None: it is new. customer: who may download.
    products: what it grants. lines: how many it has. told: whether another order stands for this purchase,
    and the ids of those beside it. moment: now, ms.
    """
    has_main, beside = told
    if status is not OrderStatus.PAID or before not in _UNPAID or has_main:
        return
    identifier, source = order
    if beside and await _is_paid(sql, source, beside):
        return  # the purchase was told by that one
    placed = snapshot.placed_at if snapshot.placed_at is not None else snapshot.as_of
    total = snapshot.total
    data = {
        "source": source,
        "orderId": snapshot.order_id,
        "number": snapshot.number,
        "productIds": sorted(set(products)),
        "lines": lines,
        "total": None if total is None else {"amount": str(total.amount), "currency": total.currency},
        "country": snapshot.country,
        "placedAt": format_time(placed),
        "test": snapshot.test,
    }
    await announce(sql, [announce_as(EventType.ORDER_PAID, moment, data, key=identifier, customer=customer)])


async def _is_paid(sql: AsyncConnection, source: str, ids: list[str]) -> bool:
    query = select(ORDER.c.id).where(
        ORDER.c.source == source, ORDER.c.external_id.in_(ids), ORDER.c.status == OrderStatus.PAID.value
    )
    return (await sql.execute(query.limit(1))).first() is not None


async def announce_revoked(
    sql: AsyncConnection, row: Row[Any], values: Mapping[str, Any], moment: int
) -> None:
    """Tell that an entitlement was revoked, if it is by this change, within the caller's transaction.

    row: of the entitlement before. values: the columns that it gets. moment: now, ms.
    """
    status = values.get("status", row.status)
    if status != EntitlementStatus.REVOKED or row.status == EntitlementStatus.REVOKED:
        return
    order = None
    if row.line_id is not None:
        found = await sql.execute(
            select(ORDER.c.source, ORDER.c.external_id)
            .select_from(ORDER.join(ORDER_LINE))
            .where(ORDER_LINE.c.id == row.line_id)
        )
        order = found.first()
    data = {
        "entitlementId": row.id,
        "productId": row.product_id,
        "source": None if order is None else order.source,
        "orderId": None if order is None else order.external_id,
        "reasons": list(values.get("reasons", row.reasons)),
        "test": bool(values.get("test", row.test)),
    }
    customer = values.get("customer_id", row.customer_id)
    await announce(sql, [announce_as(EventType.ENTITLEMENT_REVOKED, moment, data, customer=customer)])

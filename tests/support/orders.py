"""What a database knows of orders, short to compare."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, select

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE


async def orders(database: Database, source: str | None = None) -> list[tuple[Any, ...]]:
    """Id, status, address and name of each order."""
    async with database.reading() as sql:
        query = (
            select(ORDER.c.external_id, ORDER.c.status, CUSTOMER_EMAIL.c.email, CUSTOMER.c.name)
            .select_from(
                ORDER.outerjoin(CUSTOMER, CUSTOMER.c.id == ORDER.c.customer_id).outerjoin(
                    CUSTOMER_EMAIL, and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id)
                )
            )
            .order_by(ORDER.c.source, ORDER.c.external_id)
        )
        if source is not None:
            query = query.where(ORDER.c.source == source)
        return [tuple(row) for row in await sql.execute(query)]


async def entitlements(database: Database, source: str | None = None) -> list[tuple[Any, ...]]:
    """Product, status, reasons and quantity of each entitlement."""
    async with database.reading() as sql:
        query = (
            select(
                ENTITLEMENT.c.product_id,
                ENTITLEMENT.c.status,
                ENTITLEMENT.c.reasons,
                ENTITLEMENT.c.quantity,
            )
            .select_from(
                ENTITLEMENT.outerjoin(ORDER_LINE).outerjoin(ORDER, ORDER.c.id == ORDER_LINE.c.order_id)
            )
            .order_by(ENTITLEMENT.c.product_id)
        )
        if source is not None:
            query = query.where(ORDER.c.source == source)
        return [tuple(row) for row in await sql.execute(query)]

"""Telling a customer once more that their purchases are ready, because the seller asks for it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import ENTITLEMENT, ORDER, ORDER_LINE
from gateway.database.types import new_id, now
from gateway.mail.kinds import Kind
from gateway.mail.outbox import NewMail, add_mails
from gateway.orders.entitlement_rules import EntitlementStatus

MOST_MAILS: Final = 5
"""Orders that are told again, the latest ones: each is a mail, and any of them leads to all purchases."""


async def tell_again(database: Database, customer_id: str) -> int:
    """Put the mails *your purchase is ready* of a customer's latest orders into the outbox once more.

    Returns how many there are: none where nothing of an order can be downloaded. Raises DatabaseError.
    """
    async with database.writing() as sql:
        active = (
            select(ENTITLEMENT.c.id)
            .join(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id)
            .where(
                ORDER_LINE.c.order_id == ORDER.c.id,
                ENTITLEMENT.c.customer_id == customer_id,
                ENTITLEMENT.c.status == EntitlementStatus.ACTIVE,
            )
        )
        query = (
            select(ORDER.c.id)
            .where(ORDER.c.recipient_id == customer_id, ORDER.c.erased.is_(None), active.exists())
            .order_by(ORDER.c.placed.desc(), ORDER.c.id)
            .limit(MOST_MAILS)
        )
        orders = [each for (each,) in await sql.execute(query)]
        mails = [NewMail(new_id(), Kind.READY, {"order": each}, customer_id=customer_id) for each in orders]
        await add_mails(sql, mails, now())
    return len(mails)

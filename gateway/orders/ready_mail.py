"""Telling a buyer that there is something to download: a mail in the outbox, in the order's own transaction.

An order is *ready* from the first moment at which something of it may be downloaded, and stays so. Only this
step may cause a mail, so nothing that a platform tells again causes another one. It does:

- where the connection says so, for orders that were placed after it was made: what is found of earlier years
  is no news. Without a connection, the order itself says so (`mail` of `PUT /api/orders/…`)
- not for a test order, and not for a customer who was erased
- not where another order of the same purchase, or of the same subscription, was ready before

Who sends it is `gateway.mail`. It finds the address then, and looks whether there still is something.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import CONNECTION, ORDER, OUTBOX_MAIL
from gateway.database.types import new_id
from gateway.orders.fact_store import others_with_same
from gateway.orders.facts import OrderSnapshot

KIND: Final = "ready"
PRIORITY: Final = 2
"""After mails for signing in and about addresses, for which somebody waits; before those to many."""
SUBSCRIPTION: Final = "subscription"


async def note_ready(
    sql: AsyncConnection,
    order_id: str,
    source: str,
    snapshot: OrderSnapshot,
    customer_id: str,
    related: Iterable[str],
    moment: int,
) -> None:
    """Write down that an order is ready, and queue the mail if there is to be one.

    order_id: of its row. source: its name. related: the platform's ids of other orders of the same purchase.
    moment: now, ms.
    """
    await sql.execute(update(ORDER).where(ORDER.c.id == order_id).values(ready=moment))
    if snapshot.test or not await _is_wanted(sql, order_id, snapshot):
        return
    if await _was_ready(sql, source, snapshot.order_id, list(related)):
        return
    values = {
        "id": new_id(),
        "kind": KIND,
        "priority": PRIORITY,
        "state": "waiting",
        "dedupe_key": f"{KIND}:{order_id}",
        "customer_id": customer_id,
        "about": {"order": order_id},
        "created": moment,
        "due": moment,
    }
    await sql.execute(insert(sql, OUTBOX_MAIL).values(**values).on_conflict_do_nothing())


async def _is_wanted(sql: AsyncConnection, order_id: str, snapshot: OrderSnapshot) -> bool:
    row = (
        await sql.execute(
            select(ORDER.c.connection_id, ORDER.c.placed, CONNECTION.c.mail, CONNECTION.c.created)
            .select_from(ORDER.outerjoin(CONNECTION, CONNECTION.c.id == ORDER.c.connection_id))
            .where(ORDER.c.id == order_id)
        )
    ).one()
    if row.connection_id is None:
        return snapshot.mail
    return bool(row.mail) and row.placed >= row.created - CLOCKS


CLOCKS: Final = 300_000
"""Milliseconds by which the platform's clock and ours may differ."""


async def _was_ready(sql: AsyncConnection, source: str, external_id: str, related: list[str]) -> bool:
    """Whether another order of the purchase or the subscription is ready."""
    renewed = others_with_same(source, external_id, (SUBSCRIPTION,))
    others = ORDER.c.external_id.in_(renewed) | ORDER.c.external_id.in_(related)
    found = await sql.execute(
        select(exists().where(ORDER.c.source == source, ORDER.c.ready.is_not(None), others))
    )
    return bool(found.scalar_one())

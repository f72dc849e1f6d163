"""Facts become orders and entitlements, in one transaction each time.

After its commit, `enforce` ends what tokens must end (`gateway.orders.enforcing`); what a crash leaves undone
is found in the tables, because an entitlement knows for which status its tokens were ended last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.tables import FACT, ORDER
from gateway.database.types import now
from gateway.orders.fact_store import keep_facts, lock_orders, orders_of
from gateway.orders.facts import Fact, OrderSnapshot
from gateway.orders.mapping_store import orders_with, put_mappings
from gateway.orders.mappings import Mappings
from gateway.orders.order_writer import Source, write_order
from gateway.orders.privacy import forget_buyers


@dataclass(frozen=True)
class Applied:
    """What became of facts.

    changed: whether any was new. waits: for an order, a customer or a mapping. forgotten: whether they were
    told of somebody who was erased.
    """

    changed: bool
    waits: frozenset[str] = frozenset()
    forgotten: bool = False


async def apply_facts(sql: AsyncConnection, source: Source, facts: Iterable[Fact]) -> Applied:
    """Add facts to what is known, and write what follows, within the caller's transaction."""
    moment = now()
    await lock_orders(sql)
    told, forgotten = await forget_buyers(sql, source.name, facts)
    changed = await keep_facts(sql, source.name, told, moment)
    waits: set[str] = set()
    orders = sorted(await orders_of(sql, source.name, changed or told))
    for external_id in orders:
        written = await write_order(sql, source, external_id, moment)
        waits.update(written.waits)
    return Applied(bool(changed), frozenset(waits if orders or not told else {"order"}), forgotten)


async def tell(database: Database, source: Source, facts: Iterable[Fact]) -> Applied:
    """Apply facts in a transaction of their own. Raises DatabaseError."""
    async with database.writing() as sql:
        return await apply_facts(sql, source, facts)


async def put_snapshot(
    database: Database, source: Source, make: Callable[[int], OrderSnapshot]
) -> tuple[OrderSnapshot, bool]:
    """Apply a snapshot that has no time of its own: it is newer than the one before. Raises DatabaseError.

    make: makes the snapshot of a moment (ms). Without a time of its own, the order was placed when it came
    first. Returns it, and whether the order is a new one.
    """
    async with database.writing() as sql:
        await lock_orders(sql)
        snapshot = make(now())
        row = await sql.execute(
            select(func.max(FACT.c.as_of)).where(
                FACT.c.source == source.name,
                FACT.c.reference_kind == "order",
                FACT.c.reference_value == snapshot.order_id,
            )
        )
        latest = row.scalar_one_or_none()
        if latest is not None and latest >= snapshot.as_of:
            snapshot = make(latest + 1)
        known = await sql.execute(
            select(ORDER.c.placed).where(
                ORDER.c.source == source.name, ORDER.c.external_id == snapshot.order_id
            )
        )
        placed = known.scalar_one_or_none()
        is_new = placed is None
        if snapshot.placed_at is None:
            snapshot = replace(snapshot, placed_at=snapshot.as_of if placed is None else placed)
        await apply_facts(sql, source, [snapshot])
        return snapshot, is_new


async def remap(database: Database, connection_id: str, mappings: Mappings) -> int:
    """Replace a connection's mappings, and grant what has waited for them. Returns how many orders changed.

    Raises DatabaseError.
    """
    async with database.writing() as sql:
        await lock_orders(sql)
        changed = await put_mappings(sql, connection_id, mappings)
        moment = now()
        orders = sorted(await orders_with(sql, connection_id, changed))
        for name, external_id in orders:
            source = Source(name, connection_id if name == connection_id else None)
            await write_order(sql, source, external_id, moment)
        return len(orders)

"""Orders of a file in the database: many in one transaction, with a few statements for all of them.

An order that is there already, with the same content, is left alone; one with other content is told anew, by
the way of every other order (`gateway.orders.applying`). New ones are the many: their rows are worked out
here by the same rules, and written together. A test holds both ways to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import (
    CUSTOMER,
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    FACT,
    LINE_ITEM,
    ORDER,
    ORDER_LINE,
)
from gateway.database.types import new_id
from gateway.orders.applying import apply_facts
from gateway.orders.email_addresses import normalise
from gateway.orders.entitlement_rules import EntitlementStatus, Granted, grant
from gateway.orders.fact_store import chunks, key_text, leads_of, lock_orders
from gateway.orders.fact_text import read_fact, write_fact
from gateway.orders.facts import Identifier, OrderLines, OrderSnapshot
from gateway.orders.knowledge import Part, collect, split
from gateway.orders.mapping_store import mappings_for
from gateway.orders.mappings import Mappings
from gateway.orders.order_rules import OrderState, decide
from gateway.orders.order_writer import Source, line_values, order_values, standing_values
from gateway.orders.privacy import without_person


@dataclass(frozen=True)
class Written:
    """How many orders were made, changed, and left as they were. waiting: lines without a mapping."""

    new: int = 0
    changed: int = 0
    same: int = 0
    waiting: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(
            self.new + other.new,
            self.changed + other.changed,
            self.same + other.same,
            self.waiting + other.waiting,
        )


async def write_orders(
    sql: AsyncConnection, source: str, snapshots: Sequence[OrderSnapshot], moment: int
) -> Written:
    """Write orders that no connection tells, within the caller's transaction.

    snapshots: of different orders, without a moment of their own: each is newer than what was told before.
    moment: now, ms.
    """
    await lock_orders(sql)
    known = await _known_orders(sql, source, snapshots)
    told = await _told(sql, source, snapshots)
    new: list[OrderSnapshot] = []
    changed: list[OrderSnapshot] = []
    for snapshot in snapshots:
        row = known.get(snapshot.order_id)
        if row is not None and row.erased is not None:
            snapshot = without_person(snapshot)  # noqa: PLW2901
        parts = told.get(snapshot.order_id, [])
        as_of = max([moment, *(part.as_of + 1 for part in parts)])
        placed = snapshot.placed_at if snapshot.placed_at is not None else row.placed if row else as_of
        snapshot = replace(snapshot, as_of=as_of, placed_at=placed)  # noqa: PLW2901
        if row is None and not parts:
            new.append(snapshot)
        elif row is None or not _is_same(snapshot, parts):
            changed.append(snapshot)
    waiting = await _write_new(sql, source, new, moment)
    for snapshot in changed:
        await apply_facts(sql, Source(source), [snapshot])
    return Written(len(new), len(changed), len(snapshots) - len(new) - len(changed), waiting)


def _is_same(snapshot: OrderSnapshot, parts: Iterable[Part]) -> bool:
    """Whether an order is told as it was told before."""
    before = {part.kind: part for part in parts}
    lines = before.get(OrderLines.kind)
    order = before.get(OrderSnapshot.kind)
    return (
        isinstance(lines, OrderLines)
        and isinstance(order, OrderSnapshot)
        and lines.lines == snapshot.lines
        and replace(order, as_of=0) == replace(snapshot, as_of=0, lines=None)
    )


async def _known_orders(
    sql: AsyncConnection, source: str, snapshots: Sequence[OrderSnapshot]
) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for ids in chunks(each.order_id for each in snapshots):
        rows = await sql.execute(
            select(ORDER.c.external_id, ORDER.c.placed, ORDER.c.erased).where(
                ORDER.c.source == source, ORDER.c.external_id.in_(ids)
            )
        )
        found |= {row.external_id: row for row in rows}
    return found


async def _told(
    sql: AsyncConnection, source: str, snapshots: Sequence[OrderSnapshot]
) -> dict[str, list[Part]]:
    """What is known of each order: every fact that names it."""
    found: dict[str, list[Part]] = {}
    for ids in chunks(each.order_id for each in snapshots):
        rows = await sql.execute(
            select(FACT.c.reference_value, FACT.c.body).where(
                FACT.c.source == source, FACT.c.reference_kind == "order", FACT.c.reference_value.in_(ids)
            )
        )
        for order_id, body in rows:
            found.setdefault(order_id, []).append(read_fact(body))
    return found


@dataclass(frozen=True)
class _New:
    """A new order, worked out. parts: the facts that are kept of it."""

    parts: tuple[Part, ...]
    state: OrderState
    granted: Granted
    customer_id: str | None
    email: str | None


async def _write_new(
    sql: AsyncConnection, source: str, snapshots: Sequence[OrderSnapshot], moment: int
) -> int:
    """Write orders of which nothing is known yet. Returns how many lines wait for a mapping."""
    if not snapshots:
        return 0
    customers = await _keep_customers(sql, snapshots, moment)
    identifiers: set[Identifier] = {
        each for snapshot in snapshots for line in snapshot.lines or () for each in line.identifiers
    }
    mappings = await mappings_for(sql, None, identifiers)
    rows: dict[Table, list[dict[str, Any]]] = {
        table: [] for table in (FACT, ORDER, ORDER_LINE, LINE_ITEM, ENTITLEMENT)
    }
    waiting = 0
    for snapshot in snapshots:
        new = _work_out(snapshot, mappings, customers)
        waiting += len(new.granted.unmapped) if new.customer_id is not None else 0
        _add_rows(rows, source, new, moment)
    for table, values in rows.items():
        if values:
            await sql.execute(insert(sql, table), values)
    return waiting


def _work_out(snapshot: OrderSnapshot, mappings: Mappings, customers: dict[str, str]) -> _New:
    parts = tuple(split(snapshot))
    state = decide(collect(parts, snapshot.order_id))
    assert state is not None, "there is a snapshot"
    email = None if snapshot.customer.email is None else normalise(snapshot.customer.email)
    customer_id = None if email is None else customers[email]
    return _New(parts, state, grant(state, mappings), customer_id, email)


def _add_rows(rows: dict[Table, list[dict[str, Any]]], source: str, new: _New, moment: int) -> None:
    for part in new.parts:
        [lead] = leads_of(part)
        rows[FACT].append(
            {
                "source": source,
                "fact_key": key_text(part),
                "reference_kind": lead.kind,
                "reference_value": lead.value,
                "as_of": part.as_of,
                "body": write_fact(part),
                "received": moment,
            }
        )
    order_id = new_id()
    is_ready = new.customer_id is not None and any(
        standing_values(each.standing, None, each.bought)["status"] == EntitlementStatus.ACTIVE
        for each in new.granted.grants
    )
    rows[ORDER].append(
        {
            "id": order_id,
            "source": source,
            "external_id": new.state.snapshot.order_id,
            "connection_id": None,
            "created": moment,
            "customer_told": new.email,
            "customer_id": new.customer_id,
            "recipient_told": new.email,
            "recipient_id": new.customer_id,
            "ready": moment if is_ready else None,  # as `ready_mail.note_ready` has it; nobody gets a mail
            **order_values(new.state, moment),
        }
    )
    ids: dict[str, str] = {}
    waiting = {line.id for line in new.granted.unmapped}
    for position, line in enumerate(new.state.lines):
        ids[line.id] = new_id()
        rows[ORDER_LINE].append(
            {
                "id": ids[line.id],
                "order_id": order_id,
                "source": source,
                "external_id": line.id,
                **line_values(line, position, new.granted, waits=line.id in waiting),
            }
        )
        rows[LINE_ITEM] += [
            {"line_id": ids[line.id], "key": each.key.value, "value": each.value} for each in line.identifiers
        ]
    if new.customer_id is None:
        return
    for each in new.granted.grants:
        values = standing_values(each.standing, None, each.bought)
        rows[ENTITLEMENT].append(
            {
                "id": new_id(),
                "customer_id": new.customer_id,
                "line_id": ids[each.line_id],
                "product_id": each.share.product_id,
                "scope": each.share.scope.value,
                "version": each.share.version,
                "updates_until": each.share.until,
                "bought": each.bought,
                "test": new.state.snapshot.test,
                "enforced": values["status"],
                "created": moment,
                "updated": moment,
                **values,
            }
        )


async def _keep_customers(
    sql: AsyncConnection, snapshots: Sequence[OrderSnapshot], moment: int
) -> dict[str, str]:
    """Find or make the customers of orders. Returns their ids by their addresses in the normal form."""
    people: dict[str, tuple[str, str | None]] = {}
    for snapshot in snapshots:
        person = snapshot.customer
        if person.email is not None:
            email = normalise(person.email)
            written, name = people.get(email, (person.email, None))
            people[email] = (written, name if name is not None else person.name)
    found: dict[str, str] = {}
    nameless: list[str] = []
    for emails in chunks(people):
        rows = await sql.execute(
            select(CUSTOMER_EMAIL.c.email, CUSTOMER_EMAIL.c.customer_id, CUSTOMER.c.name)
            .select_from(CUSTOMER_EMAIL.join(CUSTOMER))
            .where(CUSTOMER_EMAIL.c.email.in_(emails))
        )
        for email, identifier, name in rows:
            found[email] = identifier
            if name is None and people[email][1] is not None:
                nameless.append(email)
    for email in nameless:
        await sql.execute(update(CUSTOMER).where(CUSTOMER.c.id == found[email]).values(name=people[email][1]))
    new = {email: new_id() for email in people if email not in found}
    if new:
        await sql.execute(
            insert(sql, CUSTOMER),
            [
                {"id": identifier, "name": people[email][1], "created": moment}
                for email, identifier in new.items()
            ],
        )
        await sql.execute(
            insert(sql, CUSTOMER_EMAIL),
            [
                {
                    "email": email,
                    "customer_id": identifier,
                    "written": people[email][0].strip(),
                    "main": True,
                    "created": moment,
                }
                for email, identifier in new.items()
            ],
        )
    return found | new

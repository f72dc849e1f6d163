"""Working an order out of its facts, and writing what follows: the order, its lines, and what they grant.

Nothing of the former state is read, except ids, what the seller has decided (overrides, moved customers), and
who was erased. So it may run any number of times. It runs within a transaction that has taken `lock_orders`.

A customer is found by the address that the order tells. Told again with the same address, the order stays
with its customer, whom the seller may have moved to another address meanwhile; told with another one, it
moves. An order of somebody who was erased has nobody, whatever is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import ENTITLEMENT, LINE_ITEM, ORDER, ORDER_LINE, ORDER_REFERENCE
from gateway.database.types import new_id
from gateway.orders.announcing import announce_paid, announce_revoked
from gateway.orders.customer_store import keep_customer, normal_or_none
from gateway.orders.entitlement_rules import (
    EntitlementStatus,
    Grant,
    Granted,
    Override,
    Standing,
    grant,
    overridden,
    removed,
)
from gateway.orders.fact_store import customer_reference, facts_of, others_with_same
from gateway.orders.facts import INVOICE, Alias, Money, Person, Reference, order_reference
from gateway.orders.knowledge import OrderFacts, collect
from gateway.orders.mapping_store import mappings_for
from gateway.orders.order_rules import LineState, OrderState, decide
from gateway.orders.ready_mail import note_ready

NOTHING: Final = Granted((), {}, ())
PAYMENTS: Final = ("payment_intent", "charge")
"""Kinds of references that two orders share only where both are of one purchase."""
LINE_GONE: Final = "line_removed"
MAPPING_CHANGED: Final = "mapping_changed"
SAME_PURCHASE: Final = "same_purchase"


@dataclass(frozen=True)
class Source:
    """Where orders come from.

    name: a connection's id, or the word given by PUT. connection_id: None for a word.
    """

    name: str
    connection_id: str | None = None


@dataclass(frozen=True)
class Written:
    """What became of an order. waits: for its snapshot, an address of its customer, or a mapping."""

    waits: tuple[str, ...] = ()


async def write_order(sql: AsyncConnection, source: Source, external_id: str, moment: int) -> Written:
    """Work an order out and write it. external_id: the platform's id of it. moment: now, ms.

    Orders that are told beside it, of the same purchase, are written anew, too.
    """
    written, others = await _write_one(sql, source, external_id, moment)
    for other in others:
        await _write_one(sql, source, other, moment)
    return written


async def _write_one(
    sql: AsyncConnection, source: Source, external_id: str, moment: int
) -> tuple[Written, list[str]]:
    """Write an order. Returns the ids of orders that are told beside it, too."""
    facts = await _read_facts(sql, source.name, external_id)
    state = decide(facts)
    if state is None:
        return Written(("order",)), []
    main, beside = await _same_purchase(sql, source.name, state)
    row = (
        await sql.execute(
            select(ORDER).where(ORDER.c.source == source.name, ORDER.c.external_id == external_id)
        )
    ).first()
    order_id, recipient = await _write_row(sql, source, state, row, moment)
    items = (each for line in state.lines for each in line.identifiers)
    found = await mappings_for(sql, source.connection_id, items)
    granted = NOTHING if main else grant(state, found)
    lines = await _write_lines(sql, (order_id, source.name), state.lines, granted, is_new=row is None)
    await announce_paid(
        sql,
        (order_id, source.name),
        None if row is None else row.status,
        state.status,
        state.snapshot,
        customer=recipient,
        products=(each.share.product_id for each in granted.grants),
        lines=len(state.lines),
        told=(bool(main), beside),
        moment=moment,
    )
    if recipient is None:
        return Written(("customer",) if state.paid and not main else ()), beside
    is_ready = await _write_entitlements(
        sql, _Owner(order_id, recipient, state.snapshot.test), lines, granted, moment, is_new=row is None
    )
    if is_ready and (row is None or (row.ready is None and row.erased is None)):
        await note_ready(sql, order_id, source.name, state.snapshot, recipient, [*main, *beside], moment)
    return Written(("mapping",) if granted.unmapped else ()), beside


async def _same_purchase(sql: AsyncConnection, source: str, state: OrderState) -> tuple[list[str], list[str]]:
    """Other orders of the same purchase: those that grant in place of this one, and those beside it."""
    own, snapshot = state.snapshot.order_id, state.snapshot
    shared = (
        select(ORDER_REFERENCE.c.value)
        .where(
            ORDER_REFERENCE.c.source == source,
            ORDER_REFERENCE.c.external_id == own,
            ORDER_REFERENCE.c.kind == INVOICE,
        )
        .scalar_subquery()
    )
    by_payment = others_with_same(source, own, PAYMENTS)
    to_it = select(ORDER_REFERENCE.c.external_id).where(
        ORDER_REFERENCE.c.source == source, ORDER_REFERENCE.c.kind == INVOICE, ORDER_REFERENCE.c.value == own
    )
    which = ORDER.c.external_id.in_(to_it) | ORDER.c.external_id.in_(by_payment)
    if not snapshot.beside:
        which = which | ORDER.c.external_id.in_(shared)
    rows = await sql.execute(
        select(ORDER.c.external_id, ORDER.c.details).where(ORDER.c.source == source, which)
    )
    others = {external_id: bool(details.get("beside")) for external_id, details in rows}
    if snapshot.beside:
        return [each for each, beside in others.items() if not beside], []
    return [], [each for each, beside in others.items() if beside]


async def read_order(sql: AsyncConnection, source: str, external_id: str) -> OrderState | None:
    """Work an order out without writing it. None while no snapshot of it has come."""
    return decide(await _read_facts(sql, source, external_id))


async def _read_facts(sql: AsyncConnection, source: str, external_id: str) -> OrderFacts:
    """Read everything that is known of an order, and note the references that lead to it."""
    own = order_reference(external_id)
    parts = await facts_of(sql, source, [own])
    references: set[Reference] = {part.reference for part in parts if isinstance(part, Alias)}
    snapshot = collect(parts, external_id).snapshot
    if snapshot is not None and snapshot.customer.platform_id is not None:
        references.add(customer_reference(snapshot.customer.platform_id))
    references.discard(own)
    if references:
        parts += await facts_of(sql, source, references)
        await sql.execute(
            insert(sql, ORDER_REFERENCE).on_conflict_do_nothing(),
            [
                {"source": source, "kind": each.kind, "value": each.value, "external_id": external_id}
                for each in sorted(references, key=lambda each: (each.kind, each.value))
            ],
        )
    return collect(parts, external_id)


async def _write_row(
    sql: AsyncConnection, source: Source, state: OrderState, row: Row[Any] | None, moment: int
) -> tuple[str, str | None]:
    """Write the row of an order. Returns its id, and the customer who may download."""
    snapshot = state.snapshot
    values = order_values(state, moment)
    if row is not None and row.erased is not None:
        values["details"]["ip"] = None
        await sql.execute(update(ORDER).where(ORDER.c.id == row.id).values(**values))
        return row.id, row.recipient_id
    for person, told, column in (
        (state.buyer, "customer_told", "customer_id"),
        (state.recipient, "recipient_told", "recipient_id"),
    ):
        values |= await _person(sql, person, told, column, row, moment)
    if row is None:
        order_id = new_id()
        await sql.execute(
            insert(sql, ORDER).values(
                id=order_id,
                source=source.name,
                external_id=snapshot.order_id,
                connection_id=source.connection_id,
                created=moment,
                **values,
            )
        )
        return order_id, values["recipient_id"]
    await sql.execute(update(ORDER).where(ORDER.c.id == row.id).values(**values))
    return row.id, values["recipient_id"]


def order_values(state: OrderState, moment: int) -> dict[str, Any]:
    """The columns of an order that its state decides, without those of its persons. moment: now, ms."""
    snapshot = state.snapshot
    return {
        "number": snapshot.number,
        "status": state.status.value,
        "placed": snapshot.placed_at if snapshot.placed_at is not None else snapshot.as_of,
        "test": snapshot.test,
        "country": snapshot.country,
        "details": {
            "ip": snapshot.ip,
            "total": _money(snapshot.total),
            "unassigned": [_money(each) for each in state.unassigned],
            **({"beside": True} if snapshot.beside else {}),
        },
        "updated": moment,
    }


async def _person(
    sql: AsyncConnection, person: Person, told: str, column: str, row: Row[Any] | None, moment: int
) -> dict[str, str | None]:
    """Whose the order is, by the address that it tells."""
    email = normal_or_none(person.email)
    if row is not None and row._mapping[told] is not None and email in (row._mapping[told], None):
        return {told: row._mapping[told], column: row._mapping[column]}
    if email is None or person.email is None:
        return {told: None, column: None}
    return {told: email, column: await keep_customer(sql, email, person.email, person.name, moment)}


async def _write_lines(
    sql: AsyncConnection,
    order: tuple[str, str],
    lines: Iterable[LineState],
    granted: Granted,
    *,
    is_new: bool,
) -> dict[str, str]:
    """Write an order's lines; those that are gone keep their rows. Returns the row's id by the platform's.

    order: its id, and its source.
    """
    order_id, source = order
    known: dict[str, Row[Any]] = {}
    if not is_new:
        rows = await sql.execute(select(ORDER_LINE).where(ORDER_LINE.c.order_id == order_id))
        known = {row.external_id: row for row in rows}
    waiting = {line.id for line in granted.unmapped}
    ids: dict[str, str] = {}
    new: list[dict[str, Any]] = []
    items: list[dict[str, str]] = []
    for position, line in enumerate(lines):
        values = line_values(line, position, granted, waits=line.id in waiting)
        row = known.pop(line.id, None)
        ids[line.id] = row.id if row is not None else new_id()
        if row is None:
            new.append(
                {"id": ids[line.id], "order_id": order_id, "source": source, "external_id": line.id, **values}
            )
        elif any(row._mapping[name] != value for name, value in values.items()):
            await sql.execute(update(ORDER_LINE).where(ORDER_LINE.c.id == row.id).values(**values))
        items += [
            {"line_id": ids[line.id], "key": each.key.value, "value": each.value} for each in line.identifiers
        ]
    if new:
        await sql.execute(insert(sql, ORDER_LINE), new)
    if known:
        await sql.execute(
            update(ORDER_LINE)
            .where(ORDER_LINE.c.id.in_([row.id for row in known.values()]))
            .values(gone=True, waits=False)
        )
    if not is_new and ids:
        await sql.execute(delete(LINE_ITEM).where(LINE_ITEM.c.line_id.in_(ids.values())))
    if items:
        await sql.execute(insert(sql, LINE_ITEM), items)
    return ids


def line_values(line: LineState, position: int, granted: Granted, *, waits: bool) -> dict[str, Any]:
    """The columns of a line that its state decides. position: in its order, from 0."""
    item = granted.mapped.get(line.id) or next(iter(line.identifiers), None)
    return {
        "position": position,
        "item_key": item.key.value if item else None,
        "item_value": item.value if item else None,
        "title": line.title,
        "quantity": line.quantity,
        "refunded": line.refunded,
        "waits": waits,
        "gone": False,
    }


@dataclass(frozen=True)
class _Owner:
    """Whose the entitlements of an order are."""

    order_id: str
    customer_id: str
    test: bool


async def _write_entitlements(
    sql: AsyncConnection,
    owner: _Owner,
    lines: dict[str, str],
    granted: Granted,
    moment: int,
    *,
    is_new: bool,
) -> bool:
    """Write what the lines grant, and revoke what they grant no more. Returns whether something is active."""
    known: dict[tuple[str, str], Row[Any]] = {}
    if not is_new:
        rows = await sql.execute(
            select(ENTITLEMENT)
            .select_from(ENTITLEMENT.join(ORDER_LINE))
            .where(ORDER_LINE.c.order_id == owner.order_id)
        )
        known = {(row.line_id, row.product_id): row for row in rows}
    new: list[dict[str, Any]] = []
    is_ready = False
    for each in granted.grants:
        line_id = lines[each.line_id]
        row = known.pop((line_id, each.share.product_id), None)
        values = _grant_values(owner, each, row)
        is_ready = is_ready or values["status"] == EntitlementStatus.ACTIVE
        if row is None:
            new.append(
                {
                    "id": new_id(),
                    "line_id": line_id,
                    "product_id": each.share.product_id,
                    "enforced": values["status"],
                    "created": moment,
                    "updated": moment,
                    **values,
                }
            )
        else:
            await update_entitlement(sql, row, values, moment)
    if new:
        await sql.execute(insert(sql, ENTITLEMENT), new)
    for row in known.values():
        reason = LINE_GONE
        if row.line_id in lines.values():
            reason = SAME_PURCHASE if granted is NOTHING else MAPPING_CHANGED
        await update_entitlement(sql, row, standing_values(removed(reason), row.override, row.bought), moment)
    return is_ready


def _grant_values(owner: _Owner, given: Grant, row: Row[Any] | None) -> dict[str, Any]:
    return {
        "customer_id": owner.customer_id,
        "test": owner.test,
        "scope": given.share.scope.value,
        "version": given.share.version,
        "updates_until": given.share.until,
        "bought": given.bought,
        **standing_values(given.standing, row.override if row is not None else None, given.bought),
    }


def standing_values(standing: Standing, override: str | None, bought: int) -> dict[str, Any]:
    """The columns of an entitlement that its standing and the seller's override decide."""
    now = overridden(standing, Override(override) if override else None, bought)
    return {
        "base": [standing.status.value, list(standing.reasons), standing.quantity],
        "status": now.status.value,
        "reasons": list(now.reasons),
        "quantity": now.quantity,
    }


async def update_entitlement(
    sql: AsyncConnection, row: Row[Any], values: dict[str, Any], moment: int
) -> None:
    """Write the columns of an entitlement, if one of them has changed."""
    if any(row._mapping[name] != value for name, value in values.items()):
        await sql.execute(
            update(ENTITLEMENT).where(ENTITLEMENT.c.id == row.id).values(**values, updated=moment)
        )
        await announce_revoked(sql, row, values, moment)


def _money(money: Money | None) -> dict[str, str] | None:
    return None if money is None else {"amount": str(money.amount), "currency": money.currency}

"""Orders as they are shown: found by filters, each with its customer, its lines, and what these granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, ScalarSelect, Subquery, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.orders.fact_store import chunks

_SELECT: Final = select(ORDER, CUSTOMER.c.name, CUSTOMER_EMAIL.c.email).select_from(
    ORDER.outerjoin(CUSTOMER, CUSTOMER.c.id == ORDER.c.customer_id).outerjoin(
        CUSTOMER_EMAIL, and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id, CUSTOMER_EMAIL.c.main)
    )
)


@dataclass(frozen=True)
class OrderFilter:
    """Which orders a list has; None means any.

    email: in its normal form. start, end: when the order was placed, ms; the end is not in it.
    """

    email: str | None = None
    customer_id: str | None = None
    product_id: str | None = None
    status: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class ShownOrder:
    """An order, its lines in their order, and the ids of what each line granted."""

    row: Row[Any]
    lines: list[Row[Any]] = field(default_factory=list)
    entitlements: dict[str, list[str]] = field(default_factory=dict)


async def list_orders(
    sql: AsyncConnection, only: OrderFilter, limit: int, after: str | None
) -> list[ShownOrder]:
    """Read orders in the order of their ids. after: an id."""
    query = _SELECT.order_by(ORDER.c.id).limit(limit)
    if only.email is not None:
        theirs = select(CUSTOMER_EMAIL.c.customer_id).where(CUSTOMER_EMAIL.c.email == only.email)
        query = query.where(or_(ORDER.c.customer_id.in_(theirs), ORDER.c.recipient_id.in_(theirs)))
    if only.customer_id is not None:
        query = query.where(
            or_(ORDER.c.customer_id == only.customer_id, ORDER.c.recipient_id == only.customer_id)
        )
    if only.product_id is not None:
        having = (
            select(ORDER_LINE.c.order_id)
            .select_from(ORDER_LINE.join(ENTITLEMENT))
            .where(ENTITLEMENT.c.product_id == only.product_id)
        )
        query = query.where(ORDER.c.id.in_(having))
    if only.status is not None:
        query = query.where(ORDER.c.status == only.status)
    if only.start is not None:
        query = query.where(ORDER.c.placed >= only.start)
    if only.end is not None:
        query = query.where(ORDER.c.placed < only.end)
    if after is not None:
        query = query.where(ORDER.c.id > after)
    return await _with_lines(sql, list(await sql.execute(query)))


async def get_order(sql: AsyncConnection, source: str, external_id: str) -> ShownOrder | None:
    """Read one order, by the id that its source gave it."""
    query = _SELECT.where(ORDER.c.source == source, ORDER.c.external_id == external_id)
    found = await _with_lines(sql, list(await sql.execute(query)))
    return found[0] if found else None


async def get_order_of_buyer(sql: AsyncConnection, identifier: str, customer_id: str) -> ShownOrder | None:
    """Read one order by its id here; None for one that the customer has not paid for."""
    query = _SELECT.where(ORDER.c.id == identifier.replace("\0", ""), ORDER.c.customer_id == customer_id)
    found = await _with_lines(sql, list(await sql.execute(query)))
    return found[0] if found else None


async def _with_lines(sql: AsyncConnection, rows: Sequence[Row[Any]]) -> list[ShownOrder]:
    shown = {row.id: ShownOrder(row) for row in rows}
    for ids in chunks(shown):
        lines = await sql.execute(
            select(ORDER_LINE)
            .where(ORDER_LINE.c.order_id.in_(ids), ORDER_LINE.c.gone.is_(False))
            .order_by(ORDER_LINE.c.position, ORDER_LINE.c.id)
        )
        for line in lines:
            shown[line.order_id].lines.append(line)
        granted = await sql.execute(
            select(ORDER_LINE.c.order_id, ENTITLEMENT.c.line_id, ENTITLEMENT.c.id)
            .select_from(ENTITLEMENT.join(ORDER_LINE))
            .where(ORDER_LINE.c.order_id.in_(ids))
            .order_by(ENTITLEMENT.c.id)
        )
        for order_id, line_id, entitlement_id in granted:
            shown[order_id].entitlements.setdefault(line_id, []).append(entitlement_id)
    return list(shown.values())


async def list_unmapped(sql: AsyncConnection, limit: int, offset: int) -> list[Row[Any]]:
    """Items that wait for a mapping, those of the most lines of orders first.

    Each has the source, key, value, title, and how many customers wait. Lines are counted by an index alone,
    and customers only of the items that are asked for; the title is that of the latest line.
    """
    waiting = func.count().label("lines")
    keys = (ORDER_LINE.c.source, ORDER_LINE.c.item_key, ORDER_LINE.c.item_value)
    items = (
        select(*keys, waiting)
        .where(ORDER_LINE.c.waits)
        .group_by(*keys)
        .order_by(waiting.desc(), *keys)
        .limit(limit)
        .offset(offset)
        .subquery("item")
    )
    named = and_(ORDER_LINE.c.item_key == items.c.item_key, ORDER_LINE.c.item_value == items.c.item_value)
    nameless = and_(items.c.item_key.is_(None), ORDER_LINE.c.item_key.is_(None))
    title = func.coalesce(_title_of(items, named), _title_of(items, nameless)).label("title")
    customers = (_customers_of(items, named) + _customers_of(items, nameless)).label("customers")
    order = (items.c.lines.desc(), items.c.source, items.c.item_key, items.c.item_value)
    item = (items.c.source, items.c.item_key, items.c.item_value)
    return list(await sql.execute(select(*item, customers, title).order_by(*order)))


def _title_of(items: Subquery, which: ColumnElement[bool]) -> ScalarSelect[Any]:
    query = select(ORDER_LINE.c.title).where(*_lines_of(items, which), ORDER_LINE.c.title.is_not(None))
    return query.order_by(ORDER_LINE.c.order_id.desc()).limit(1).correlate(items).scalar_subquery()


def _customers_of(items: Subquery, which: ColumnElement[bool]) -> ScalarSelect[Any]:
    query = select(func.count(func.distinct(ORDER.c.recipient_id))).select_from(ORDER_LINE.join(ORDER))
    return query.where(*_lines_of(items, which)).correlate(items).scalar_subquery()


def _lines_of(items: Subquery, which: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return ORDER_LINE.c.waits, ORDER_LINE.c.source == items.c.source, which

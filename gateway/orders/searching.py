"""Customers and orders as a person looks for them: by what they have before them, the newest first.

What is typed may be an address or its beginning, the number of an order as its platform shows it (with its
`#` or without), the platform's own id of an order, or an id of ours. Every search goes by an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.orders.customer_store import normal_or_none

MOST_FOUND: Final = 200
"""Customers whose addresses begin alike: whoever has more must type more of it."""
RARE: Final = 900
"""Orders of a product that are looked for by it: among more, a page of the latest is found by their dates."""
MAX_TEXT: Final = 300
"""Characters of what is looked for; what is longer is no address and no number."""
_MAIN: Final = and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id, CUSTOMER_EMAIL.c.main)
_LAST_CHARACTER: Final = "\U0010ffff"

Position = tuple[int, str]
"""After which order a page begins: when it was placed (ms since 1970), and its id."""


@dataclass(frozen=True)
class OrderSearch:
    """Which orders are looked for; None means any. text: as it was typed. start, end: when placed, in ms."""

    text: str | None = None
    status: str | None = None
    product_id: str | None = None
    start: int | None = None
    end: int | None = None


def begins_with(column: Any, text: str, dialect: str) -> ColumnElement[bool]:
    """A condition that the index of the engine answers: that a text begins with another one."""
    stop = text + _LAST_CHARACTER
    if dialect == "sqlite":  # its LIKE takes no notice of case, and so no index
        return and_(column >= text, column < stop)
    return and_(column.op("~>=~", is_comparison=True)(text), column.op("~<~", is_comparison=True)(stop))


def typed(text: str | None) -> str | None:
    """What is looked for: without white space around it and NUL; None for nothing."""
    return _plain(text or "").strip()[:MAX_TEXT] or None


def _plain(text: str) -> str:
    """A text as every database takes it."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def address_beginning(text: str) -> str:
    """What a normal form begins with that was typed up to here: the domain is in lower case there."""
    local, at, domain = text.rpartition("@")
    return normal_or_none(text) or (f"{local}@{domain.lower()}" if at else text)


def numbers_of(text: str) -> tuple[str, ...]:
    """The numbers that may be meant: Shopify's have a `#`, which people leave out, or type where none is."""
    return tuple(dict.fromkeys((text, f"#{text}", text.removeprefix("#"))))


async def search_customers(
    sql: AsyncConnection, text: str | None, limit: int, after: str | None
) -> list[Row[Any]]:
    """Customers with id, email, name, created and erased, the newest first. after: an id."""
    columns = CUSTOMER.c["id", "name", "created", "erased"]
    query = (
        select(*columns, CUSTOMER_EMAIL.c.email)
        .select_from(CUSTOMER.outerjoin(CUSTOMER_EMAIL, _MAIN))
        .order_by(CUSTOMER.c.id.desc())
        .limit(limit)
    )
    if (wanted := typed(text)) is not None:
        query = query.where(CUSTOMER.c.id.in_(await _customers_like(sql, wanted)))
    if after is not None:
        query = query.where(CUSTOMER.c.id < after)
    return list(await sql.execute(query))


async def _customers_like(sql: AsyncConnection, text: str) -> list[str]:
    """The ids of the customers that a text may mean."""
    beginning = begins_with(CUSTOMER_EMAIL.c.email, address_beginning(text), sql.dialect.name)
    by_address = select(CUSTOMER_EMAIL.c.customer_id).where(beginning).limit(MOST_FOUND)
    found = dict.fromkeys(each for (each,) in await sql.execute(by_address))
    numbers = numbers_of(text)
    named = or_(ORDER.c.number.in_(numbers), ORDER.c.external_id.in_(numbers))
    orders = select(ORDER.c.customer_id, ORDER.c.recipient_id).where(named).limit(MOST_FOUND)
    found |= dict.fromkeys(each for row in await sql.execute(orders) for each in row if each is not None)
    return [*found, text]


async def search_orders(
    sql: AsyncConnection, only: OrderSearch, limit: int, after: Position | None
) -> list[Row[Any]]:
    """Orders with their customers' email and name, the latest placed first."""
    query = (
        select(ORDER, CUSTOMER.c.name, CUSTOMER_EMAIL.c.email)
        .select_from(
            ORDER.outerjoin(CUSTOMER, CUSTOMER.c.id == ORDER.c.customer_id).outerjoin(CUSTOMER_EMAIL, _MAIN)
        )
        .order_by(ORDER.c.placed.desc(), ORDER.c.id.desc())
        .limit(limit)
    )
    wanted = typed(only.text)
    if wanted is not None:
        query = query.where(ORDER.c.id.in_(await _orders_like(sql, wanted)))
    if after is not None:
        query = query.where(tuple_(ORDER.c.placed, ORDER.c.id) < tuple_(*after))
        if only.end is not None:  # SQLite finds the place of a page by this bound alone
            only = replace(only, end=min(only.end, after[0] + 1))
    if only.product_id is not None and (few := await _orders_of_rare(sql, only.product_id)) is not None:
        query, only = query.where(ORDER.c.id.in_(few)), replace(only, product_id=None)
    return list(await sql.execute(_filtered(query, replace(only, text=None))))


async def _orders_of_rare(sql: AsyncConnection, product_id: str) -> list[str] | None:
    """The ids of the orders of a product that few have; None where many do."""
    granted = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.product_id == product_id)
    if await sql.scalar(granted.order_by(ENTITLEMENT.c.id).offset(RARE).limit(1)) is not None:
        return None
    rows = await sql.execute(
        select(ORDER_LINE.c.order_id)
        .join(ENTITLEMENT, ENTITLEMENT.c.line_id == ORDER_LINE.c.id)
        .where(ENTITLEMENT.c.product_id == product_id)
        .limit(RARE)
    )
    return [each for (each,) in rows]


def _filtered(query: Select[Any], only: OrderSearch) -> Select[Any]:
    if only.status is not None:
        query = query.where(ORDER.c.status == only.status)
    if only.start is not None:
        query = query.where(ORDER.c.placed >= only.start)
    if only.end is not None:
        query = query.where(ORDER.c.placed < only.end)
    if only.product_id is not None:
        granted = (
            select(ORDER_LINE.c.id)
            .join(ENTITLEMENT, ENTITLEMENT.c.line_id == ORDER_LINE.c.id)
            .where(ORDER_LINE.c.order_id == ORDER.c.id, ENTITLEMENT.c.product_id == only.product_id)
        )
        query = query.where(granted.exists())
    return query


async def _orders_like(sql: AsyncConnection, text: str) -> list[str]:
    """The ids of the orders that a text may mean."""
    numbers = numbers_of(text)
    named = or_(ORDER.c.number.in_(numbers), ORDER.c.external_id.in_(numbers), ORDER.c.id == text)
    found = dict.fromkeys(
        each for (each,) in await sql.execute(select(ORDER.c.id).where(named).limit(MOST_FOUND))
    )
    beginning = begins_with(CUSTOMER_EMAIL.c.email, address_beginning(text), sql.dialect.name)
    theirs = select(CUSTOMER_EMAIL.c.customer_id).where(beginning).limit(MOST_FOUND).scalar_subquery()
    for column in (ORDER.c.customer_id, ORDER.c.recipient_id):
        rows = await sql.execute(
            select(ORDER.c.id).where(column.in_(theirs)).order_by(ORDER.c.id.desc()).limit(MOST_FOUND)
        )
        found |= dict.fromkeys(each for (each,) in rows)
    return list(found)


async def count_orders(sql: AsyncConnection, start: int) -> dict[str, int]:
    """How many orders were placed since a moment, by status; without tests."""
    status = ORDER.c.status + ""  # by the bare column SQLite would walk through all orders, in its order
    query = select(status, func.count()).where(ORDER.c.placed >= start, ORDER.c.test.is_(False))
    return {name: int(number) for name, number in await sql.execute(query.group_by(status))}


async def lines_of(sql: AsyncConnection, orders: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """The lines of orders, by the orders' ids."""
    found: dict[str, list[Row[Any]]] = {each: [] for each in orders}
    query = select(ORDER_LINE).where(ORDER_LINE.c.order_id.in_(orders), ORDER_LINE.c.gone.is_(False))
    for row in await sql.execute(query.order_by(ORDER_LINE.c.position, ORDER_LINE.c.id)):
        found[row.order_id].append(row)
    return found


async def order_name(sql: AsyncConnection, identifier: str) -> tuple[str, str] | None:
    """The source of an order and the id that it has there, by our own id; None where there is none."""
    query = select(ORDER.c.source, ORDER.c.external_id).where(ORDER.c.id == _plain(identifier))
    row = (await sql.execute(query)).first()
    return None if row is None else (row.source, row.external_id)


async def customer_orders(sql: AsyncConnection, customer_id: str, limit: int) -> list[Row[Any]]:
    """What a customer bought or received, the latest placed first."""
    found: dict[str, Row[Any]] = {}
    for column in (ORDER.c.customer_id, ORDER.c.recipient_id):
        query = select(ORDER).where(column == customer_id).order_by(ORDER.c.placed.desc()).limit(limit)
        found |= {row.id: row for row in await sql.execute(query)}
    return sorted(found.values(), key=lambda row: (-row.placed, row.id))[:limit]

"""Mappings in the database, and those that hold for an order.

An order of a connection goes by the connection's mappings. An order that somebody else told (`PUT
/api/orders`) names products by themselves, or a SKU, which is looked up in all connections: it counts where
they agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import LINE_ITEM, MAPPING, ORDER, ORDER_LINE
from gateway.orders.fact_store import chunks
from gateway.orders.facts import Identifier, ItemKey
from gateway.orders.mappings import MappedProduct, Mappings, Scope


def _read_products(content: list[dict[str, Any]]) -> tuple[MappedProduct, ...]:
    return tuple(MappedProduct(**{**each, "scope": Scope(each["scope"])}) for each in content)


async def get_mappings(
    sql: AsyncConnection, connection_id: str
) -> dict[Identifier, tuple[MappedProduct, ...]]:
    """Read all mappings of a connection."""
    rows = await sql.execute(
        select(MAPPING.c.key, MAPPING.c.value, MAPPING.c.products)
        .where(MAPPING.c.connection_id == connection_id)
        .order_by(MAPPING.c.key, MAPPING.c.value)
    )
    return {Identifier(ItemKey(key), value): _read_products(products) for key, value, products in rows}


async def put_mappings(sql: AsyncConnection, connection_id: str, mappings: Mappings) -> set[Identifier]:
    """Replace all mappings of a connection. Returns the identifiers that are mapped in another way now."""
    before = await get_mappings(sql, connection_id)
    changed = {each for each in before.keys() | mappings.keys() if before.get(each) != mappings.get(each)}
    for pairs in chunks((each.key.value, each.value) for each in changed):
        await sql.execute(
            delete(MAPPING).where(
                MAPPING.c.connection_id == connection_id, tuple_(MAPPING.c.key, MAPPING.c.value).in_(pairs)
            )
        )
    for identifier in sorted(changed & mappings.keys(), key=lambda each: (each.key, each.value)):
        products = [asdict(product) for product in mappings[identifier]]
        await sql.execute(
            insert(sql, MAPPING).values(
                connection_id=connection_id,
                key=identifier.key.value,
                value=identifier.value,
                products=products,
            )
        )
    return changed


async def mappings_for(
    sql: AsyncConnection, connection_id: str | None, identifiers: Iterable[Identifier]
) -> Mappings:
    """The mappings that hold for an order's identifiers. connection_id: None for orders of no connection."""
    wanted = set(identifiers)
    found: dict[Identifier, set[tuple[MappedProduct, ...]]] = {}
    if connection_id is None:
        for identifier in wanted:
            if identifier.key is ItemKey.PRODUCT:
                found[identifier] = {(MappedProduct(identifier.value),)}
        wanted = {each for each in wanted if each.key is ItemKey.SKU}
    for pairs in chunks((each.key.value, each.value) for each in wanted):
        query = select(MAPPING.c.key, MAPPING.c.value, MAPPING.c.products).where(
            tuple_(MAPPING.c.key, MAPPING.c.value).in_(pairs)
        )
        if connection_id is not None:
            query = query.where(MAPPING.c.connection_id == connection_id)
        for key, value, products in await sql.execute(query):
            found.setdefault(Identifier(ItemKey(key), value), set()).add(_read_products(products))
    return {identifier: next(iter(told)) for identifier, told in found.items() if len(told) == 1}


async def orders_with(
    sql: AsyncConnection, connection_id: str, identifiers: Iterable[Identifier]
) -> set[tuple[str, str]]:
    """Sources and ids (of the platform) of the orders to which mappings of a connection may apply."""
    found: set[tuple[str, str]] = set()
    for pairs in chunks((each.key.value, each.value) for each in identifiers):
        rows = await sql.execute(
            select(ORDER.c.source, ORDER.c.external_id)
            .distinct()
            .select_from(LINE_ITEM.join(ORDER_LINE).join(ORDER))
            .where(
                tuple_(LINE_ITEM.c.key, LINE_ITEM.c.value).in_(pairs),
                ORDER.c.connection_id.is_(None) | (ORDER.c.connection_id == connection_id),
            )
        )
        found |= {(source, external_id) for source, external_id in rows}
    return found

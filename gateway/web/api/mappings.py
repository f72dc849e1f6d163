"""/api/connections/{id}/mappings and /api/unmapped: which item of a platform is which product."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections.applying import renew_connection
from gateway.database.engine import Database
from gateway.database.tables import CONNECTION
from gateway.orders.applying import remap
from gateway.orders.facts import Identifier, ItemKey
from gateway.orders.mapping_store import get_mappings
from gateway.orders.mappings import MappedProduct, Mappings, Scope, is_period
from gateway.orders.order_queries import list_unmapped
from gateway.tokens.repositories import Repositories
from gateway.web.api import order_models
from gateway.web.api.context import AdminContext
from gateway.web.api.order_documents import page_of
from gateway.web.api.order_models import ListUnmapped, PutMappings
from gateway.web.api.order_responses import MappingsResponse, UnmappedResponse
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.problems import Problem
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.times import format_time, parse_time
from gateway.web.validation import validate, validate_query

PUT_LIMIT: Final = 1024 * 1024
"""Bytes of the mappings of one connection."""


async def get_all(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with the mappings of a connection. Raises Problem: connection_unknown."""
    identifier = request.match_info["connectionId"]
    async with context.database.reading() as sql:
        await _require_connection(sql, identifier)
        mappings = await get_mappings(sql, identifier)
    return json_response({"success": True, "mappings": mapping_documents(mappings)})


async def put_all(request: web.Request, context: AdminContext) -> web.Response:
    """Replace the mappings of a connection. Raises Problem: connection_unknown, product_unknown."""
    body = validate(PutMappings, await read_json(request, PUT_LIMIT))
    identifier = request.match_info["connectionId"]
    mappings, changed = await put_mappings(context.database, context.store, identifier, body)
    context.enforcer.wake()
    context.desk.applier.wake()
    note_change(request, connection=identifier, mappings=len(mappings), orders=changed)
    return json_response({"success": True, "mappings": mapping_documents(mappings)})


async def put_mappings(
    database: Database, store: Repositories, identifier: str, body: PutMappings
) -> tuple[Mappings, int]:
    """Replace the mappings of a connection. Returns them, and how many orders changed. Raises Problem.

    What has waited is granted. Events that waited are applied again by the web process.
    """
    for product in sorted({each.productId for mapping in body.mappings for each in mapping.products}):
        if await store.products.get(product) is None:
            raise Problem("product_unknown", f"There is no product {product}; register it first.")
    async with database.reading() as sql:
        await _require_connection(sql, identifier)
    mappings = {
        Identifier(ItemKey(each.key), each.value): tuple(_read(product) for product in each.products)
        for each in body.mappings
    }
    changed = await remap(database, identifier, mappings)
    async with database.writing() as sql:
        await renew_connection(sql, identifier)
    return mappings, changed


async def get_unmapped(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of the items that wait for a mapping."""
    query = validate_query(ListUnmapped, request)
    offset = int(query.cursor or 0)
    async with context.database.reading() as sql:
        rows = await list_unmapped(sql, query.limit, offset)
    documents = [unmapped_document(row) for row in rows]
    cursor = str(offset + query.limit) if len(rows) == query.limit else None
    return json_response(page_of(documents, "unmapped", cursor))


def unmapped_document(row: Row[Any]) -> dict[str, Any]:
    """The document of an item that waits for a mapping."""
    return {
        "connectionId": row.source,
        "key": row.item_key,
        "value": row.item_value,
        "title": row.title,
        "customers": row.customers,
    }


async def _require_connection(sql: AsyncConnection, identifier: str) -> None:
    found = await sql.execute(select(CONNECTION.c.id).where(CONNECTION.c.id == identifier))
    if found.first() is None:
        raise Problem("connection_unknown", "There is no such connection.")


def _read(product: order_models.MappedProduct) -> MappedProduct:
    period = product.until if product.until is not None and is_period(product.until) else None
    moment = parse_time(product.until) if product.until is not None and period is None else None
    return MappedProduct(product.productId, Scope(product.scope or "all"), product.version, moment, period)


def mapping_documents(mappings: Mappings) -> list[dict[str, Any]]:
    """The documents of mappings."""
    return [
        {
            "key": identifier.key.value,
            "value": identifier.value,
            "products": [_product(product) for product in products],
        }
        for identifier, products in mappings.items()
    ]


def _product(product: MappedProduct) -> dict[str, Any]:
    document: dict[str, Any] = {"productId": product.product_id, "scope": product.scope.value}
    if product.version is not None:
        document["version"] = product.version
    if product.period is not None:
        document["until"] = product.period
    elif product.until is not None:
        document["until"] = format_time(product.until)
    return document


_MAPPINGS: Final = "/connections/{connectionId}/mappings"

MAPPING_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        _MAPPINGS,
        get_all,
        "getMappings",
        "Show which items are which products",
        MappingsResponse,
        refusals=(404,),
    ),
    Route(
        "PUT",
        _MAPPINGS,
        put_all,
        "putMappings",
        "Say which items are which products; what has waited is granted",
        MappingsResponse,
        body=PutMappings,
        refusals=(404,),
        audit="mappings.put",
    ),
    Route(
        "GET",
        "/unmapped",
        get_unmapped,
        "listUnmapped",
        "Items that nobody has mapped, with how many customers wait",
        UnmappedResponse,
        query=ListUnmapped,
    ),
)

"""/api/orders: orders are listed, shown, and told by whoever has no connection of their own."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import CONNECTION
from gateway.orders.applying import put_snapshot
from gateway.orders.email_addresses import normalise
from gateway.orders.facts import Identifier, ItemKey, Line, OrderSnapshot, Person
from gateway.orders.limits import MAX_ID, SOURCE_PATTERN
from gateway.orders.order_queries import OrderFilter, get_order, list_orders
from gateway.orders.order_writer import Source
from gateway.orders.states import OrderStatus
from gateway.products.validation import is_text
from gateway.tokens.repositories import Repositories
from gateway.web.api.context import AdminContext
from gateway.web.api.order_documents import order_document, page_of
from gateway.web.api.order_models import ListOrders, NewLine, PutOrder
from gateway.web.api.order_responses import OrderResponse, OrdersResponse
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.problems import Problem, invalid
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate, validate_query

PUT_LIMIT: Final = 512 * 1024
"""Bytes of an order. One of 1000 lines with long ids and titles fits."""
_SOURCE: Final = re.compile(SOURCE_PATTERN[1:-1])


async def get_orders(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of the orders."""
    query = validate_query(ListOrders, request)
    only = OrderFilter(
        email=None if query.email is None else normalise(query.email),
        product_id=query.productId,
        status=query.status,
        start=query.start,
        end=query.end,
    )
    async with context.database.reading() as sql:
        found = await list_orders(sql, only, query.limit, query.cursor)
    cursor = found[-1].row.id if len(found) == query.limit else None
    return json_response(page_of([order_document(each) for each in found], "orders", cursor))


async def get_one(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one order. Raises Problem: order_unknown."""
    return await _order_response(context, request.match_info["source"], request.match_info["orderId"])


async def put_order(request: web.Request, context: AdminContext) -> web.Response:
    """Take an order as it is now. Raises Problem."""
    body = validate(PutOrder, await read_json(request, PUT_LIMIT))
    source, order_id = request.match_info["source"], request.match_info["orderId"]
    is_new = await take_order(context.database, context.store, source, order_id, body)
    context.enforcer.wake()
    note_change(request, source=source, order=order_id, status=body.status)
    return await _order_response(context, source, order_id, 201 if is_new else 200)


async def take_order(
    database: Database, store: Repositories, source: str, order_id: str, body: PutOrder
) -> bool:
    """Take an order as it is now, and return whether it is a new one. Raises Problem, DatabaseError.

    Tokens of what it revokes end afterwards (`gateway.orders.enforcing`).
    """
    if _SOURCE.fullmatch(source) is None:
        raise invalid([("source", "must be 1 to 64 lower-case letters, digits and '-'")])
    if not (is_text(order_id) and 0 < len(order_id) <= MAX_ID):
        raise invalid([("orderId", f"must be 1 to {MAX_ID} characters without NUL")])
    async with database.reading() as sql:
        if (await sql.execute(select(CONNECTION.c.id).where(CONNECTION.c.id == source))).first():
            raise Problem("source_taken", "The source is a connection, which tells of its orders itself.")
    for product in sorted({line.productId for line in body.lines if line.productId}):
        if await store.products.get(product) is None:
            raise Problem("product_unknown", f"There is no product {product}; register it first.")

    def make(moment: int) -> OrderSnapshot:
        return OrderSnapshot(
            order_id,
            moment,
            OrderStatus(body.status),
            Person(email=body.customer.email, name=body.customer.name),
            test=bool(body.test),
            number=body.number,
            placed_at=body.placedAt,
            country=body.country,
            lines=tuple(_line(line) for line in body.lines),
            mail=body.mail,
        )

    _, is_new = await put_snapshot(database, Source(source), make)
    return is_new


def _line(line: NewLine) -> Line:
    if line.productId is not None:
        item = Identifier(ItemKey.PRODUCT, line.productId)
    else:
        assert line.sku is not None, "checked by the model"
        item = Identifier(ItemKey.SKU, line.sku)
    return Line(line.id, (item,), line.title, line.quantity, line.refunded)


async def _order_response(
    context: AdminContext, source: str, order_id: str, status: int = 200
) -> web.Response:
    found = None
    if is_text(source) and is_text(order_id):
        async with context.database.reading() as sql:
            found = await get_order(sql, source, order_id)
    if found is None:
        raise Problem("order_unknown", "There is no such order.")
    return json_response({"success": True, "order": order_document(found)}, status)


_ORDER: Final = "/orders/{source}/{orderId}"

ORDER_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route("GET", "/orders", get_orders, "listOrders", "List orders", OrdersResponse, query=ListOrders),
    Route("GET", _ORDER, get_one, "getOrder", "Show an order", OrderResponse, refusals=(404,)),
    Route(
        "PUT",
        _ORDER,
        put_order,
        "putOrder",
        "Tell of an order as it is now",
        OrderResponse,
        body=PutOrder,
        creates=True,
        refusals=(404, 409),
        audit="order.put",
    ),
)

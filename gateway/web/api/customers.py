"""/api/customers: found, exported, moved to another address, and erased."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import LINK
from gateway.database.types import now
from gateway.orders.customer_store import Customer, get_customer, list_customers, move_customer
from gateway.orders.email_addresses import normalise
from gateway.orders.entitlements import EntitlementFilter, list_entitlements
from gateway.orders.erasing import erase
from gateway.orders.fact_store import chunks, facts_of, lock_orders
from gateway.orders.fact_text import write_fact
from gateway.orders.facts import order_reference
from gateway.orders.order_queries import OrderFilter, list_orders
from gateway.web.api.context import AdminContext
from gateway.web.api.order_documents import (
    customer_document,
    entitlement_document,
    order_document,
    page_of,
)
from gateway.web.api.order_models import ListCustomers, MoveCustomer
from gateway.web.api.order_responses import CustomerResponse, CustomersResponse, ExportResponse
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.problems import Problem
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.times import format_time
from gateway.web.validation import validate, validate_query

CLEAN_SECONDS: Final = 10.0
"""How long an answer waits until the files are written anew. If it takes longer, it is done afterwards."""
_AT_ONCE: Final = 500
"""Rows of an export that are read together."""


async def get_customers(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of the customers."""
    query = validate_query(ListCustomers, request)
    email = None if query.email is None else normalise(query.email)
    async with context.database.reading() as sql:
        found = await list_customers(sql, email, query.limit, query.cursor)
    cursor = found[-1].id if len(found) == query.limit else None
    return json_response(page_of([customer_document(each) for each in found], "customers", cursor))


async def get_one(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one customer. Raises Problem: customer_unknown."""
    async with context.database.reading() as sql:
        customer = await _find(sql, request)
    return json_response({"success": True, "customer": customer_document(customer)})


async def export_customer(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with everything that is known of a customer. Raises Problem: customer_unknown."""
    async with context.database.reading() as sql:
        customer = await _find(sql, request)
        orders = await _all_orders(sql, customer.id)
        entitlements = await _all_entitlements(sql, customer.id)
        links: list[dict[str, Any]] = []
        for ids in chunks(each["id"] for each in entitlements):
            theirs = select(LINK).where(LINK.c.entitlement_id.in_(ids)).order_by(LINK.c.created)
            rows = await sql.execute(theirs)
            links += [
                {
                    "tokenId": row.token_id,
                    "entitlementId": row.entitlement_id,
                    "version": row.version,
                    "createdAt": format_time(row.created),
                    "expiresAt": format_time(row.expires),
                }
                for row in rows
            ]
        facts: list[dict[str, Any]] = []
        for order in orders:
            parts = await facts_of(sql, order["source"], [order_reference(order["orderId"])])
            facts += [{"source": order["source"], **write_fact(part)} for part in parts]
    note_change(request, customer=customer.id)
    return json_response(
        {
            "success": True,
            "customer": customer_document(customer),
            "orders": orders,
            "entitlements": entitlements,
            "tokens": links,
            "facts": facts,
        }
    )


async def _all_orders(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await list_orders(sql, OrderFilter(customer_id=customer_id), _AT_ONCE, after)
        found += [order_document(each) for each in page]
        if len(page) < _AT_ONCE:
            return found
        after = page[-1].row.id


async def _all_entitlements(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await list_entitlements(sql, EntitlementFilter(customer_id=customer_id), _AT_ONCE, after)
        found += [entitlement_document(each) for each in page]
        if len(page) < _AT_ONCE:
            return found
        after = page[-1].id


async def move(request: web.Request, context: AdminContext) -> web.Response:
    """Move a customer to another address, and everything of theirs. Raises Problem: customer_unknown."""
    body = validate(MoveCustomer, await read_json(request))
    async with context.database.writing() as sql:
        await lock_orders(sql)
        customer = await _find(sql, request)
        if customer.erased is not None:
            raise Problem("customer_unknown", "The customer was erased.")
        identifier = await move_customer(sql, customer.id, normalise(body.email), body.email, now())
        moved = await get_customer(sql, identifier)
    assert moved is not None
    note_change(request, customer=moved.id)
    return json_response({"success": True, "customer": customer_document(moved)})


async def erase_one(request: web.Request, context: AdminContext) -> web.Response:
    """Erase a customer. Raises Problem: customer_unknown; StoreUnavailable."""
    identifier = request.match_info["customerId"].replace("\0", "")
    await erase(context.database, context.store, context.data, identifier)
    context.enforcer.wake()
    await context.cleaner.wait(CLEAN_SECONDS)
    note_change(request, customer=identifier)
    return web.Response(status=204)


async def _find(sql: AsyncConnection, request: web.Request) -> Customer:
    customer = await get_customer(sql, request.match_info["customerId"].replace("\0", ""))
    if customer is None:
        raise Problem("customer_unknown", "There is no such customer.")
    return customer


_CUSTOMER: Final = "/customers/{customerId}"

CUSTOMER_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        "/customers",
        get_customers,
        "listCustomers",
        "List customers",
        CustomersResponse,
        query=ListCustomers,
    ),
    Route("GET", _CUSTOMER, get_one, "getCustomer", "Show a customer", CustomerResponse, refusals=(404,)),
    Route(
        "DELETE",
        _CUSTOMER,
        erase_one,
        "eraseCustomer",
        "Erase a customer; orders stay, without the person",
        None,
        204,
        refusals=(404,),
        audit="customer.erase",
    ),
    Route(
        "GET",
        f"{_CUSTOMER}/export",
        export_customer,
        "exportCustomer",
        "Everything that is known of a customer",
        ExportResponse,
        refusals=(404,),
        audit="customer.export",
    ),
    Route(
        "POST",
        f"{_CUSTOMER}/email",
        move,
        "moveCustomer",
        "Move a customer to another address",
        CustomerResponse,
        body=MoveCustomer,
        refusals=(404,),
        audit="customer.move",
    ),
)

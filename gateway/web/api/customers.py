"""/api/customers: found, exported, moved to another address, and erased."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.orders.customer_store import Customer, list_customers
from gateway.orders.email_addresses import normalise
from gateway.web.api.context import AdminContext
from gateway.web.api.customer_export import export_document
from gateway.web.api.customer_work import erase_person, find_one, move_to
from gateway.web.api.order_documents import customer_document, page_of
from gateway.web.api.order_models import ListCustomers, MoveCustomer
from gateway.web.api.order_responses import CustomerResponse, CustomersResponse, ExportResponse
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate, validate_query

CLEAN_SECONDS: Final = 10.0
"""How long an answer waits until the files are written anew. If it takes longer, it is done afterwards."""


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
        document = await export_document(sql, customer, context.store)
    note_change(request, customer=customer.id)
    return json_response({"success": True, **document})


async def move(request: web.Request, context: AdminContext) -> web.Response:
    """Move a customer to another address, and everything of theirs. Raises Problem: customer_unknown."""
    body = validate(MoveCustomer, await read_json(request))
    moved = await move_to(context.database, request.match_info["customerId"], body.email)
    note_change(request, customer=moved.id)
    return json_response({"success": True, "customer": customer_document(moved)})


async def erase_one(request: web.Request, context: AdminContext) -> web.Response:
    """Erase a customer. Raises Problem: customer_unknown; StoreUnavailable."""
    identifier = await erase_person(
        context.database, context.store, context.data, request.match_info["customerId"]
    )
    context.enforcer.wake()
    await context.cleaner.wait(CLEAN_SECONDS)
    note_change(request, customer=identifier)
    return web.Response(status=204)


async def _find(sql: AsyncConnection, request: web.Request) -> Customer:
    return await find_one(sql, request.match_info["customerId"])


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

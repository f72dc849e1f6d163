"""What is done with a customer: exported, moved, erased. For the admin API, and for the commands."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER_EMAIL, LINK
from gateway.database.types import now
from gateway.orders.customer_store import Customer, get_customer, move_customer
from gateway.orders.email_addresses import normalise
from gateway.orders.entitlements import EntitlementFilter, list_entitlements
from gateway.orders.fact_store import chunks, facts_of, lock_orders
from gateway.orders.fact_text import write_fact
from gateway.orders.facts import order_reference
from gateway.orders.order_queries import OrderFilter, list_orders
from gateway.orders.privacy import erase_customer
from gateway.tokens.erasing import end_tokens_of
from gateway.tokens.repositories import Repositories
from gateway.web.api.order_documents import customer_document, entitlement_document, order_document
from gateway.web.problems import Problem
from gateway.web.times import format_time

_AT_ONCE: Final = 500
"""Rows of an export that are read together."""


async def find_one(sql: AsyncConnection, identifier: str) -> Customer:
    """Find a customer by the id. Raises Problem: customer_unknown."""
    customer = await get_customer(sql, identifier.replace("\0", ""))
    if customer is None:
        raise Problem("customer_unknown", "There is no such customer.")
    return customer


async def export_document(sql: AsyncConnection, customer: Customer) -> dict[str, Any]:
    """Everything that is known of a customer."""
    orders = await _all_orders(sql, customer.id)
    entitlements = await _all_entitlements(sql, customer.id)
    links: list[dict[str, Any]] = []
    for ids in chunks(each["id"] for each in entitlements):
        theirs = select(LINK).where(LINK.c.entitlement_id.in_(ids)).order_by(LINK.c.created)
        links += [
            {
                "tokenId": row.token_id,
                "entitlementId": row.entitlement_id,
                "version": row.version,
                "createdAt": format_time(row.created),
                "expiresAt": format_time(row.expires),
            }
            for row in await sql.execute(theirs)
        ]
    facts: list[dict[str, Any]] = []
    for order in orders:
        parts = await facts_of(sql, order["source"], [order_reference(order["orderId"])])
        facts += [{"source": order["source"], **write_fact(part)} for part in parts]
    return {
        "customer": customer_document(customer),
        "orders": orders,
        "entitlements": entitlements,
        "tokens": links,
        "facts": facts,
    }


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


async def move_to(database: Database, identifier: str, email: str) -> Customer:
    """Move a customer to another address, and everything of theirs. Raises Problem: customer_unknown.

    Returns the customer who has everything now: whose address it was already, if it was anybody's.
    """
    async with database.writing() as sql:
        await lock_orders(sql)
        customer = await find_one(sql, identifier)
        if customer.erased is not None:
            raise Problem("customer_unknown", "The customer was erased.")
        other = await move_customer(sql, customer.id, normalise(email), email, now())
        moved = await get_customer(sql, other)
    assert moved is not None
    return moved


async def erase_person(database: Database, store: Repositories, identifier: str) -> str:
    """Erase a customer, and return the id. Raises Problem: customer_unknown; StoreUnavailable.

    What is left to do for tokens, the enforcer does (`gateway.orders.enforcing`).
    """
    async with database.reading() as sql:
        customer = await find_one(sql, identifier)
        rows = await sql.execute(
            select(CUSTOMER_EMAIL.c.email, CUSTOMER_EMAIL.c.written).where(
                CUSTOMER_EMAIL.c.customer_id == customer.id
            )
        )
        addresses = {address for row in rows for address in row}
    # the store first: when it fails, the addresses are still known, and the caller asks again
    await end_tokens_of(store, addresses)
    async with database.writing() as sql:
        await lock_orders(sql)
        await erase_customer(sql, customer.id, now())
    await end_tokens_of(store, addresses)  # those that were made meanwhile
    return customer.id

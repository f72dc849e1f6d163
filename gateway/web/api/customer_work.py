"""What is done with a customer: moved, erased. For the admin API, and for the commands."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.orders.customer_store import Customer, get_customer, move_customer
from gateway.orders.email_addresses import normalise
from gateway.orders.erasing import erase
from gateway.orders.fact_store import lock_orders
from gateway.tokens.repositories import Repositories
from gateway.web.problems import Problem


async def find_one(sql: AsyncConnection, identifier: str) -> Customer:
    """Find a customer by the id. Raises Problem: customer_unknown."""
    customer = await get_customer(sql, identifier.replace("\0", ""))
    if customer is None:
        raise Problem("customer_unknown", "There is no such customer.")
    return customer


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


async def erase_person(database: Database, store: Repositories, data: Path, identifier: str) -> str:
    """Erase a customer, and return the id. data: the folder of the setting.

    Raises Declined (customer_unknown), StoreUnavailable, DatabaseError. What is left to do for tokens, the
    enforcer does (`gateway.orders.enforcing`), and for files `gateway.orders.cleaning`.
    """
    identifier = identifier.replace("\0", "")
    await erase(database, store, data, identifier)
    return identifier

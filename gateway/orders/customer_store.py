"""Customers in the database, found by their addresses.

An address is kept in its normal form (`gateway.orders.email_addresses`) and belongs to one customer. The main
one is where mails go.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, NEWS, ORDER, OUTBOX_MAIL, SEAT
from gateway.database.types import new_id
from gateway.database.usage_tables import DOWNLOAD, TOKEN
from gateway.orders.email_addresses import AddressError, normalise


class Customer(NamedTuple):
    """Who bought. email: the main address in its normal form; None of a customer who was erased."""

    id: str
    email: str | None
    name: str | None
    created: int
    erased: int | None


_SELECT = select(
    CUSTOMER.c.id, CUSTOMER_EMAIL.c.email, CUSTOMER.c.name, CUSTOMER.c.created, CUSTOMER.c.erased
).select_from(
    CUSTOMER.outerjoin(
        CUSTOMER_EMAIL, and_(CUSTOMER_EMAIL.c.customer_id == CUSTOMER.c.id, CUSTOMER_EMAIL.c.main)
    )
)


def normal_or_none(email: str | None) -> str | None:
    """The normal form of what a platform told; None where it is no address."""
    try:
        return None if email is None else normalise(email)
    except AddressError:
        return None


async def find_customer(sql: AsyncConnection, email: str) -> str | None:
    """The id of the customer who has this address, which is in its normal form."""
    found = await sql.execute(select(CUSTOMER_EMAIL.c.customer_id).where(CUSTOMER_EMAIL.c.email == email))
    identifier: str | None = found.scalar_one_or_none()
    return identifier


async def keep_customer(sql: AsyncConnection, email: str, written: str, name: str | None, moment: int) -> str:
    """Find the customer who has this address, or make one. Returns the id.

    email: in its normal form. written: as it was told. name: taken where none is known. moment: now, ms.
    """
    identifier = await find_customer(sql, email)
    if identifier is None:
        identifier = new_id()
        await sql.execute(insert(sql, CUSTOMER).values(id=identifier, name=name, created=moment))
        await sql.execute(
            insert(sql, CUSTOMER_EMAIL).values(
                email=email, customer_id=identifier, written=written.strip(), main=True, created=moment
            )
        )
    elif name is not None:
        await sql.execute(
            update(CUSTOMER).where(CUSTOMER.c.id == identifier, CUSTOMER.c.name.is_(None)).values(name=name)
        )
    return identifier


async def get_customer(sql: AsyncConnection, identifier: str) -> Customer | None:
    """Read a customer."""
    row = (await sql.execute(_SELECT.where(CUSTOMER.c.id == identifier))).first()
    return None if row is None else Customer(*row)


async def list_customers(
    sql: AsyncConnection, email: str | None, limit: int, after: str | None
) -> list[Customer]:
    """Read customers in the order of their ids. email: only who has this address. after: an id."""
    query = _SELECT.order_by(CUSTOMER.c.id).limit(limit)
    if email is not None:
        having = select(CUSTOMER_EMAIL.c.customer_id).where(CUSTOMER_EMAIL.c.email == email)
        query = query.where(CUSTOMER.c.id.in_(having))
    if after is not None:
        query = query.where(CUSTOMER.c.id > after)
    return [Customer(*row) for row in await sql.execute(query)]


async def move_customer(sql: AsyncConnection, identifier: str, email: str, written: str, moment: int) -> str:
    """Give a customer another address, and everything of theirs with it. Returns the customer's id.

    The former address is nobody's afterwards: it may have been a stranger's. Orders that were told with it
    stay with the customer (`order.customer_told`), and so do seats of others' purchases. Where the new
    address belongs to another customer, the two become one.
    """
    former = select(CUSTOMER_EMAIL.c.email).where(CUSTOMER_EMAIL.c.customer_id == identifier)
    await sql.execute(update(SEAT).where(SEAT.c.email.in_(former)).values(email=email))
    await sql.execute(delete(CUSTOMER_EMAIL).where(CUSTOMER_EMAIL.c.customer_id == identifier))
    other = await find_customer(sql, email)
    if other is None:
        await sql.execute(
            insert(sql, CUSTOMER_EMAIL).values(
                email=email, customer_id=identifier, written=written.strip(), main=True, created=moment
            )
        )
        return identifier
    columns = (
        ORDER.c.customer_id,
        ORDER.c.recipient_id,
        ENTITLEMENT.c.customer_id,
        OUTBOX_MAIL.c.customer_id,
        TOKEN.c.customer,
        DOWNLOAD.c.customer,
    )
    for column in columns:
        await sql.execute(update(column.table).where(column == identifier).values({column.name: other}))
    await _join_news(sql, identifier, other)
    await sql.execute(delete(CUSTOMER).where(CUSTOMER.c.id == identifier))
    return other


async def _join_news(sql: AsyncConnection, identifier: str, other: str) -> None:
    """Whoever wanted no news as one of two customers wants none as both."""
    theirs = NEWS.c.customer_id == other
    if (await sql.execute(select(NEWS.c.secret).where(theirs))).first() is None:
        await sql.execute(update(NEWS).where(NEWS.c.customer_id == identifier).values(customer_id=other))
        return
    declined = await sql.scalar(select(NEWS.c.declined).where(NEWS.c.customer_id == identifier))
    if declined is not None:
        await sql.execute(update(NEWS).where(theirs, NEWS.c.declined.is_(None)).values(declined=declined))


async def ids_of_orders(sql: AsyncConnection, identifier: str) -> list[str]:
    """The ids of a customer's orders: bought, or received."""
    rows = await sql.execute(
        select(ORDER.c.id).where(or_(ORDER.c.customer_id == identifier, ORDER.c.recipient_id == identifier))
    )
    return [each for (each,) in rows]

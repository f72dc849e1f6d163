"""Seats: who, besides the buyer, may download what was bought for several people.

An entitlement of the quantity N is for N people. The buyer has seat 1 and manages the others, 2 to N: invites
an address to a free one, and takes it away again. What counts is the quantity now: where some of it was
returned, the seats with the highest numbers open nothing any more, until they are taken away or bought again.

A seat belongs to an address, which need not be a customer's. Who signs in with that address has it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import Row, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, LINK, SEAT
from gateway.errors import Declined
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.fact_store import lock_orders

OF_BUYER: Final = 1
"""The number of the buyer's own seat. It has no row."""


class Seat(NamedTuple):
    """One seat that somebody has. email: in its normal form. is_open: whether its number is still bought."""

    number: int
    email: str
    created: int
    is_open: bool


def free_seat(quantity: int, taken: Collection[int]) -> int | None:
    """The lowest number of a seat that nobody has; None where there is none."""
    numbers = range(OF_BUYER + 1, quantity + 1)
    return next((number for number in numbers if number not in taken), None)


def count_free(quantity: int, taken: Collection[int]) -> int:
    """How many more people can be invited."""
    return max(0, quantity - OF_BUYER - sum(OF_BUYER < number <= quantity for number in taken))


async def list_seats(sql: AsyncConnection, entitlement_id: str, quantity: int) -> list[Seat]:
    """The seats that somebody has, by number. quantity: of the entitlement."""
    rows = await sql.execute(
        select(SEAT.c.number, SEAT.c.email, SEAT.c.created)
        .where(SEAT.c.entitlement_id == entitlement_id, SEAT.c.email.is_not(None))
        .order_by(SEAT.c.number)
    )
    return [Seat(row.number, row.email, row.created, row.number <= quantity) for row in rows]


async def invite_to_seat(
    sql: AsyncConnection, entitlement_id: str, customer_id: str, email: str, moment: int
) -> int:
    """Give a seat of the customer's entitlement to an address, in its normal form. Returns its number.

    Raises Declined: entitlement_unknown, entitlement_not_active, seat_own (the address is the buyer's),
    seat_given (it has one already), seats_taken.
    """
    await lock_orders(sql)
    row = await _owned(sql, entitlement_id, customer_id)
    if row.status != EntitlementStatus.ACTIVE:
        raise Declined("entitlement_not_active", "the purchase is suspended or revoked")
    own = select(CUSTOMER_EMAIL.c.email).where(CUSTOMER_EMAIL.c.customer_id == customer_id)
    if (await sql.execute(own.where(CUSTOMER_EMAIL.c.email == email))).first() is not None:
        raise Declined("seat_own", "the first place is the buyer's own")
    held = await list_seats(sql, entitlement_id, row.quantity)
    if any(seat.email == email and seat.is_open for seat in held):
        raise Declined("seat_given", "the address has a place already")
    number = free_seat(row.quantity, {seat.number for seat in held})
    if number is None:
        raise Declined("seats_taken", "all places are taken; take one away, or buy more")
    await sql.execute(
        delete(SEAT).where(SEAT.c.entitlement_id == entitlement_id, SEAT.c.number == number)
    )  # of somebody who was erased
    await sql.execute(
        insert(sql, SEAT).values(entitlement_id=entitlement_id, number=number, email=email, created=moment)
    )
    return number


async def remove_seat(sql: AsyncConnection, entitlement_id: str, customer_id: str, number: int) -> str:
    """Take a seat of the customer's entitlement away. Returns the address that had it.

    Raises Declined: entitlement_unknown, seat_unknown. Afterwards `links_of_entitlement` tells which tokens
    may be of that address.
    """
    await lock_orders(sql)
    await _owned(sql, entitlement_id, customer_id)
    which = (SEAT.c.entitlement_id == entitlement_id, SEAT.c.number == number, SEAT.c.email.is_not(None))
    email: str | None = (await sql.execute(select(SEAT.c.email).where(*which))).scalar_one_or_none()
    if email is None:
        raise Declined("seat_unknown", "nobody has this place")
    await sql.execute(delete(SEAT).where(*which))
    return email


async def links_of_entitlement(sql: AsyncConnection, entitlement_id: str, moment: int) -> list[str]:
    """The ids of the tokens that were made from an entitlement and may live at a moment."""
    rows = await sql.execute(
        select(LINK.c.token_id).where(
            LINK.c.entitlement_id == entitlement_id, LINK.c.expires > moment, LINK.c.ended.is_(None)
        )
    )
    return [token_id for (token_id,) in rows]


async def _owned(sql: AsyncConnection, entitlement_id: str, customer_id: str) -> Row[str, int]:
    """The customer's own entitlement. Raises Declined (entitlement_unknown), also for that of another."""
    found = await sql.execute(
        select(ENTITLEMENT.c.status, ENTITLEMENT.c.quantity).where(
            ENTITLEMENT.c.id == entitlement_id, ENTITLEMENT.c.customer_id == customer_id
        )
    )
    row = found.first()
    if row is None:
        raise Declined("entitlement_unknown", "there is no such purchase")
    return row

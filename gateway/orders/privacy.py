"""Erasing a customer: the person leaves every table, and what is told again brings nobody back.

Orders and entitlements stay for the books, with the customer's id and without the person. Their facts are
rewritten without name, address and IP address. What a platform tells again about such an order, or about such
a customer of it, is stripped of the person before it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeVar

from sqlalchemy import delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import (
    CUSTOMER,
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    FACT,
    INBOX,
    INBOX_REFERENCE,
    ORDER,
    ORDER_REFERENCE,
    SEAT,
)
from gateway.orders.fact_store import chunks, customer_reference, facts_of, key_text
from gateway.orders.fact_text import write_fact
from gateway.orders.facts import CustomerFact, Fact, OrderSnapshot, Person, Reference, order_reference
from gateway.orders.knowledge import Part

Each = TypeVar("Each", bound=Part)

ERASED: Final = "erased"
"""What `entitlement.enforced` says when its tokens must end, whatever its status is."""
_NOBODY: Final = Person()


def without_person(part: Each) -> Each:
    """The fact without the person it tells of. The platform's id of the customer goes, too."""
    if isinstance(part, OrderSnapshot):
        return replace(part, customer=_NOBODY, recipients=(), ip=None)
    if isinstance(part, CustomerFact):
        return replace(part, email=None, name=None)
    return part


async def forget_buyers(sql: AsyncConnection, source: str, facts: Iterable[Fact]) -> list[Fact]:
    """Strip facts of persons who were erased."""
    listed = list(facts)
    orders = {each.order_id for each in listed if isinstance(each, OrderSnapshot)}
    erased: set[str] = set()
    for ids in chunks(orders):
        rows = await sql.execute(
            select(ORDER.c.external_id).where(
                ORDER.c.source == source, ORDER.c.external_id.in_(ids), ORDER.c.erased.is_not(None)
            )
        )
        erased |= {each for (each,) in rows}
    told: list[Fact] = []
    for fact in listed:
        if isinstance(fact, CustomerFact):
            gone = await _is_forgotten(sql, source, fact.platform_id)
        else:
            gone = isinstance(fact, OrderSnapshot) and fact.order_id in erased
        told.append(without_person(fact) if gone else fact)
    return told


async def _is_forgotten(sql: AsyncConnection, source: str, platform_id: str) -> bool:
    """Whether a platform's customer was erased, and has ordered nothing since."""
    lead = customer_reference(platform_id)
    rows = await sql.execute(
        select(ORDER.c.erased).where(
            ORDER.c.source == ORDER_REFERENCE.c.source,
            ORDER.c.external_id == ORDER_REFERENCE.c.external_id,
            ORDER_REFERENCE.c.source == source,
            ORDER_REFERENCE.c.kind == lead.kind,
            ORDER_REFERENCE.c.value == lead.value,
        )
    )
    moments = [each for (each,) in rows]
    return bool(moments) and all(each is not None for each in moments)


async def erase_customer(sql: AsyncConnection, identifier: str, moment: int) -> None:
    """Erase a customer, within the caller's transaction. moment: now, in ms since 1970.

    Their tokens end after it (`gateway.orders.enforcing`).
    """
    is_theirs = or_(ORDER.c.customer_id == identifier, ORDER.c.recipient_id == identifier)
    rows = await sql.execute(select(ORDER.c.source, ORDER.c.external_id, ORDER.c.details).where(is_theirs))
    for source, external_id, details in rows.all():
        references = {order_reference(external_id)}
        found = await sql.execute(
            select(ORDER_REFERENCE.c.kind, ORDER_REFERENCE.c.value).where(
                ORDER_REFERENCE.c.source == source, ORDER_REFERENCE.c.external_id == external_id
            )
        )
        references |= {Reference(kind, value) for kind, value in found}
        await _erase_facts(sql, source, external_id, references)
        await _erase_events(sql, source, references)
        await sql.execute(
            update(ORDER)
            .where(ORDER.c.source == source, ORDER.c.external_id == external_id)
            .values(
                details={**details, "ip": None},
                customer_told=None,
                recipient_told=None,
                erased=moment,
            )
        )
    theirs = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == identifier)
    await sql.execute(update(SEAT).where(SEAT.c.entitlement_id.in_(theirs)).values(email=None, name=None))
    await sql.execute(
        update(ENTITLEMENT)
        .where(ENTITLEMENT.c.customer_id == identifier)
        .values(enforced=ERASED, reason=None, updated=moment)
    )
    await sql.execute(delete(CUSTOMER_EMAIL).where(CUSTOMER_EMAIL.c.customer_id == identifier))
    await sql.execute(update(CUSTOMER).where(CUSTOMER.c.id == identifier).values(name=None, erased=moment))


async def _erase_facts(
    sql: AsyncConnection, source: str, external_id: str, references: Iterable[Reference]
) -> None:
    for part in await facts_of(sql, source, references):
        if isinstance(part, OrderSnapshot) and part.order_id != external_id:
            continue
        stripped = without_person(part)
        if stripped != part:
            await sql.execute(
                update(FACT)
                .where(FACT.c.source == source, FACT.c.fact_key == key_text(part))
                .values(body=write_fact(stripped))
            )


async def _erase_events(sql: AsyncConnection, source: str, references: Iterable[Reference]) -> None:
    """Empty the events as they came. They cannot be applied again, and need not: their facts are kept."""
    for pairs in chunks((each.kind, each.value) for each in references):
        events = select(INBOX_REFERENCE.c.inbox_id).where(
            tuple_(INBOX_REFERENCE.c.kind, INBOX_REFERENCE.c.value).in_(pairs)
        )
        await sql.execute(
            update(INBOX)
            .where(INBOX.c.connection_id == source, INBOX.c.id.in_(events))
            .values(body=b"", headers={}, due=None)
        )

"""Facts in the database: of several with one key the one with the greatest precedence is kept.

Everything here runs within a transaction of the caller, which has taken `lock_orders`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Select, and_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import FACT, ORDER_REFERENCE
from gateway.orders.fact_text import read_fact, write_fact
from gateway.orders.facts import CustomerFact, Fact, Reference, order_reference
from gateway.orders.knowledge import Part, join, references_of

CHUNK: Final = 400
"""Values in one statement: SQLite takes 32,766, and longer texts of statements only cost time."""
_LOCK: Final = 0x6467_6F72_6465_7273
"""The number of PostgreSQL's advisory lock under which orders are changed."""
_CUSTOMER: Final = "@customer"
"""The kind of reference from a platform's customer to orders. No platform's word begins with `@`."""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))

Each = TypeVar("Each")


async def lock_orders(sql: AsyncConnection) -> None:
    """Wait until no other transaction changes orders, until the end of this one.

    On SQLite a writing transaction is alone anyway.
    """
    if sql.dialect.name == "postgresql":
        await sql.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def chunks(values: Iterable[Each]) -> Iterable[Sequence[Each]]:
    """Divide values into pieces that one statement can take."""
    listed = list(values)
    return (listed[start : start + CHUNK] for start in range(0, len(listed), CHUNK))


def customer_reference(platform_id: str) -> Reference:
    """The reference that leads from a platform's customer to their orders."""
    return Reference(_CUSTOMER, platform_id)


def leads_of(part: Part) -> tuple[Reference, ...]:
    """The references that lead from a fact to its orders."""
    if isinstance(part, CustomerFact):
        return (customer_reference(part.platform_id),)
    return references_of(part)


def key_text(part: Part) -> str:
    """Write a fact's key for the database."""
    return _ENCODER.encode(part.key)


async def keep_facts(sql: AsyncConnection, source: str, facts: Iterable[Fact], moment: int) -> list[Part]:
    """Add facts to what is kept of a source. Returns the parts that are new or replace another.

    moment: now, in ms since 1970.
    """
    told = {key_text(part): part for part in join({}, facts).values()}
    known: dict[str, Part] = {}
    for keys in chunks(told):
        rows = await sql.execute(
            select(FACT.c.fact_key, FACT.c.body).where(FACT.c.source == source, FACT.c.fact_key.in_(keys))
        )
        known |= {key: read_fact(body) for key, body in rows}
    changed = {
        key: part for key, part in told.items() if key not in known or known[key].precedence < part.precedence
    }
    for key, part in changed.items():
        [lead] = leads_of(part)
        values: dict[str, Any] = {
            "reference_kind": lead.kind,
            "reference_value": lead.value,
            "as_of": part.as_of,
            "body": write_fact(part),
            "received": moment,
        }
        await sql.execute(
            insert(sql, FACT)
            .values(source=source, fact_key=key, **values)
            .on_conflict_do_update(index_elements=["source", "fact_key"], set_=values)
        )
    return list(changed.values())


async def facts_of(sql: AsyncConnection, source: str, references: Iterable[Reference]) -> list[Part]:
    """Read the facts that references lead to."""
    found: list[Part] = []
    for pairs in chunks({(each.kind, each.value) for each in references}):
        rows = await sql.execute(
            select(FACT.c.body).where(
                FACT.c.source == source,
                tuple_(FACT.c.reference_kind, FACT.c.reference_value).in_(pairs),
            )
        )
        found += [read_fact(body) for (body,) in rows]
    return found


def others_with_same(source: str, external_id: str, kinds: Iterable[str]) -> Select[Any]:
    """The query for the ids of other orders of a source that share a reference of one of the kinds."""
    mine, theirs = ORDER_REFERENCE.alias("mine"), ORDER_REFERENCE.alias("theirs")
    same = and_(
        theirs.c.source == mine.c.source,
        theirs.c.kind == mine.c.kind,
        theirs.c.value == mine.c.value,
        theirs.c.external_id != mine.c.external_id,
    )
    return (
        select(theirs.c.external_id)
        .select_from(mine.join(theirs, same))
        .where(mine.c.source == source, mine.c.external_id == external_id, mine.c.kind.in_(tuple(kinds)))
    )


async def orders_of(sql: AsyncConnection, source: str, parts: Iterable[Part]) -> set[str]:
    """Find the ids (of the platform) of all orders that facts are about, known or not."""
    listed = list(parts)
    leads = {lead for part in listed for lead in leads_of(part)}
    own = {lead.value for lead in leads if lead == order_reference(lead.value)}
    for pairs in chunks({(each.kind, each.value) for each in leads}):
        rows = await sql.execute(
            select(ORDER_REFERENCE.c.external_id).where(
                ORDER_REFERENCE.c.source == source,
                tuple_(ORDER_REFERENCE.c.kind, ORDER_REFERENCE.c.value).in_(pairs),
            )
        )
        own |= {external_id for (external_id,) in rows}
    return own

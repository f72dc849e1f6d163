"""Erasing a customer: the person leaves every table, and what is told again brings nobody back.

Orders and entitlements stay for the books, with the customer's id and without the person. Their facts are
rewritten without name, address and IP address, without metadata that nobody has mapped, and without other
texts that have an address in them. What a platform tells again about such an order, or about such a customer
of it, is stripped in the same way before it is kept, so that the same facts are left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from sqlalchemy import Row, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.tables import (
    CUSTOMER,
    CUSTOMER_EMAIL,
    ENTITLEMENT,
    FACT,
    INBOX,
    INBOX_REFERENCE,
    LINE_ITEM,
    MAPPING,
    NEWS,
    ORDER,
    ORDER_LINE,
    ORDER_REFERENCE,
    OUTBOX_MAIL,
    SEAT,
)
from gateway.orders.cleaning import ask_to_clean
from gateway.orders.fact_store import chunks, customer_reference, facts_of, key_text
from gateway.orders.fact_text import write_fact
from gateway.orders.facts import (
    CustomerFact,
    Fact,
    Identifier,
    ItemKey,
    Line,
    OrderLines,
    OrderSnapshot,
    Person,
    Reference,
    order_reference,
)
from gateway.orders.knowledge import Part
from gateway.orders.order_writer import Source, read_order, write_order
from gateway.orders.traces import Traces, has_address

Each = TypeVar("Each", bound=Part)

ERASED: Final = "erased"
"""What `entitlement.enforced` says when its tokens must end, whatever its status is."""
_NOBODY: Final = Person()
_DIGEST: Final = "erased-"
"""What ids begin with that stand for others."""


def without_person(part: Each, mapped: frozenset[Identifier] = frozenset()) -> Each:
    """The fact without the person it tells of. The platform's id of the customer goes, too.

    mapped: the metadata that decides which product an item is.
    """
    if isinstance(part, OrderSnapshot):
        return replace(
            part,
            customer=_NOBODY,
            recipients=(),
            ip=None,
            number=None if part.number is None or has_address(part.number) else part.number,
            identifiers=_kept(part.identifiers, mapped),
            lines=None if part.lines is None else tuple(_impersonal(line, mapped) for line in part.lines),
        )
    if isinstance(part, OrderLines):
        return replace(part, lines=tuple(_impersonal(line, mapped) for line in part.lines))
    if isinstance(part, CustomerFact):
        return replace(part, email=None, name=None)
    return part


def _kept(identifiers: Iterable[Identifier], mapped: frozenset[Identifier]) -> tuple[Identifier, ...]:
    return tuple(each for each in identifiers if each.key is not ItemKey.METADATA or each in mapped)


def _impersonal(line: Line, mapped: frozenset[Identifier]) -> Line:
    kept = _kept(line.identifiers, mapped)
    lost = {each.value for each in line.identifiers} - {each.value for each in kept}
    named = has_address(line.id) or any(line.id.startswith(f"{value}#") for value in lost)
    return replace(
        line,
        id=_unnamed(line.id) if named else line.id,
        identifiers=kept,
        title=None if line.title is None or has_address(line.title) else line.title,
    )


def _unnamed(identifier: str) -> str:
    """Another id for a line whose own tells of the person: the same one each time."""
    return f"{_DIGEST}{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


async def forget_buyers(sql: AsyncConnection, source: str, facts: Iterable[Fact]) -> tuple[list[Fact], bool]:
    """Strip facts of persons who were erased. Returns them, and whether any was told of such a person."""
    listed = list(facts)
    orders = {each.order_id for each in listed if isinstance(each, OrderSnapshot | OrderLines)}
    erased: set[str] = set()
    for ids in chunks(orders):
        rows = await sql.execute(
            select(ORDER.c.external_id).where(
                ORDER.c.source == source, ORDER.c.external_id.in_(ids), ORDER.c.erased.is_not(None)
            )
        )
        erased |= {each for (each,) in rows}
    mapped = await _mapped_metadata(sql, source) if erased else frozenset()
    told: list[Fact] = []
    forgotten = bool(erased)
    for fact in listed:
        if isinstance(fact, CustomerFact) and await _is_forgotten(sql, source, fact.platform_id):
            forgotten = True
        elif isinstance(fact, OrderSnapshot | OrderLines) and fact.order_id in erased:
            told.append(without_person(fact, mapped))
        else:
            told.append(fact)
    return told, forgotten


async def _mapped_metadata(sql: AsyncConnection, source: str) -> frozenset[Identifier]:
    rows = await sql.execute(
        select(MAPPING.c.value).where(
            MAPPING.c.connection_id == source, MAPPING.c.key == ItemKey.METADATA.value
        )
    )
    return frozenset(Identifier(ItemKey.METADATA, value) for (value,) in rows)


async def _is_forgotten(sql: AsyncConnection, source: str, platform_id: str) -> bool:
    """Whether a platform's customer was erased, and has ordered nothing since."""
    lead = customer_reference(platform_id)
    rows = await sql.execute(
        select(ORDER.c.erased).where(
            ORDER.c.source == ORDER_REFERENCE.c.source,
            ORDER.c.external_id == ORDER_REFERENCE.c.external_id,
            ORDER_REFERENCE.c.source == source,
            ORDER_REFERENCE.c.kind == lead.kind,
            ORDER_REFERENCE.c.value.in_((lead.value, _unnamed(lead.value))),
        )
    )
    moments = [each for (each,) in rows]
    return bool(moments) and all(each is not None for each in moments)


async def references_of_order(sql: AsyncConnection, source: str, external_id: str) -> set[Reference]:
    """Everything that leads to an order."""
    found = await sql.execute(
        select(ORDER_REFERENCE.c.kind, ORDER_REFERENCE.c.value).where(
            ORDER_REFERENCE.c.source == source, ORDER_REFERENCE.c.external_id == external_id
        )
    )
    return {order_reference(external_id), *(Reference(kind, value) for kind, value in found)}


async def erase_customer(
    sql: AsyncConnection, identifier: str, moment: int, traces: Traces, events: Iterable[str] = ()
) -> None:
    """Erase a customer, within the caller's transaction. moment: now, in ms since 1970.

    traces: what the person is found by. events: ids of further events of the inbox that mention them. Their
    tokens end after it (`gateway.orders.enforcing`).
    """
    is_theirs = or_(ORDER.c.customer_id == identifier, ORDER.c.recipient_id == identifier)
    orders = (await sql.execute(select(ORDER).where(is_theirs))).all()
    for order in orders:
        await _erase_order(sql, order, moment)
    await _erase_customer_facts(sql, traces)
    for ids in chunks(events):
        await _empty_events(sql, INBOX.c.id.in_(ids))
    theirs = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == identifier)
    of_seats = SEAT.c.entitlement_id.in_(theirs) | SEAT.c.email.in_(sorted(traces.addresses))
    await sql.execute(update(SEAT).where(of_seats).values(email=None, name=None))
    await sql.execute(
        update(ENTITLEMENT)
        .where(ENTITLEMENT.c.customer_id == identifier)
        .values(enforced=ERASED, reason=None, updated=moment)
    )
    await sql.execute(delete(CUSTOMER_EMAIL).where(CUSTOMER_EMAIL.c.customer_id == identifier))
    await sql.execute(delete(NEWS).where(NEWS.c.customer_id == identifier))
    to_them = OUTBOX_MAIL.c.customer_id == identifier
    await sql.execute(
        delete(OUTBOX_MAIL).where(to_them | OUTBOX_MAIL.c.recipient.in_(sorted(traces.addresses)))
    )
    await sql.execute(update(CUSTOMER).where(CUSTOMER.c.id == identifier).values(name=None, erased=moment))


async def _erase_order(sql: AsyncConnection, order: Row[Any], moment: int) -> None:
    source, external_id = order.source, order.external_id
    references = await references_of_order(sql, source, external_id)
    mapped = await _mapped_metadata(sql, source)
    await _erase_facts(sql, source, external_id, references, mapped)
    for pairs in chunks((each.kind, each.value) for each in references):
        about = select(INBOX_REFERENCE.c.inbox_id).where(
            tuple_(INBOX_REFERENCE.c.kind, INBOX_REFERENCE.c.value).in_(pairs)
        )
        await _empty_events(sql, (INBOX.c.connection_id == source) & INBOX.c.id.in_(about))
    await _unname_references(sql, source, external_id)
    await sql.execute(
        update(ORDER)
        .where(ORDER.c.id == order.id)
        .values(details={**order.details, "ip": None}, customer_told=None, recipient_told=None, erased=moment)
    )
    await _unname_lines(sql, order, mapped)
    await write_order(sql, Source(source, order.connection_id), external_id, moment)


async def _unname_lines(sql: AsyncConnection, order: Row[Any], mapped: frozenset[Identifier]) -> None:
    """Give lines the ids that they have without the person, so that what they granted stays theirs."""
    rows = await _lines(sql, order.id)
    state = await read_order(sql, order.source, order.external_id)
    shown = [line for line in rows if not line.gone]
    names = [line.id for line in state.lines] if state is not None else []
    same = dict(zip((line.id for line in shown), names, strict=True)) if len(names) == len(shown) else {}
    await sql.execute(delete(LINE_ITEM).where(LINE_ITEM.c.line_id.in_([line.id for line in rows])))
    for line in rows:
        item = None if line.item_key is None else Identifier(ItemKey(line.item_key), line.item_value)
        items = () if item is None else (item,)
        changed = _impersonal(Line(line.external_id, items, line.title), mapped)
        values: dict[str, Any] = {"external_id": same.get(line.id, changed.id), "title": changed.title}
        if items and not changed.identifiers:
            values |= {"item_key": None, "item_value": None}
        await sql.execute(update(ORDER_LINE).where(ORDER_LINE.c.id == line.id).values(**values))


async def _lines(sql: AsyncConnection, order_id: str) -> list[Row[Any]]:
    query = select(ORDER_LINE).where(ORDER_LINE.c.order_id == order_id)
    return list(await sql.execute(query.order_by(ORDER_LINE.c.position, ORDER_LINE.c.id)))


async def _unname_references(sql: AsyncConnection, source: str, external_id: str) -> None:
    """Keep the platform's id of the customer only as a digest, which tells when it is told again."""
    kind = customer_reference("").kind
    where = (
        (ORDER_REFERENCE.c.source == source)
        & (ORDER_REFERENCE.c.kind == kind)
        & (ORDER_REFERENCE.c.external_id == external_id)
    )
    rows = (await sql.execute(select(ORDER_REFERENCE.c.value).where(where))).all()
    for (value,) in rows:
        if value.startswith(_DIGEST):
            continue
        await sql.execute(delete(ORDER_REFERENCE).where(where & (ORDER_REFERENCE.c.value == value)))
        row = {"source": source, "kind": kind, "value": _unnamed(value), "external_id": external_id}
        await sql.execute(insert(sql, ORDER_REFERENCE).values(**row).on_conflict_do_nothing())
        await sql.execute(
            delete(INBOX_REFERENCE).where(INBOX_REFERENCE.c.kind == kind, INBOX_REFERENCE.c.value == value)
        )


async def _erase_facts(
    sql: AsyncConnection,
    source: str,
    external_id: str,
    references: Iterable[Reference],
    mapped: frozenset[Identifier],
) -> None:
    for part in await facts_of(sql, source, references):
        if isinstance(part, OrderSnapshot | OrderLines) and part.order_id != external_id:
            continue
        where = (FACT.c.source == source) & (FACT.c.fact_key == key_text(part))
        if isinstance(part, CustomerFact):
            await sql.execute(delete(FACT).where(where))
            continue
        stripped = without_person(part, mapped)
        if stripped != part:
            await sql.execute(update(FACT).where(where).values(body=write_fact(stripped)))


async def _erase_customer_facts(sql: AsyncConnection, traces: Traces) -> None:
    """Delete what platforms told of a customer of this address who has no order."""
    kind = customer_reference("").kind
    for address in traces.addresses:
        needle = address.encode("ascii", "replace").decode().replace("?", "%").lower()
        rows = await sql.execute(
            select(FACT.c.source, FACT.c.fact_key, FACT.c.body).where(
                FACT.c.reference_kind == kind, func.lower(FACT.c.body).like(f"%{needle}%")
            )
        )
        for name, key, body in rows.all():
            if traces.are_in(str(body.get("email") or "")):
                await sql.execute(delete(FACT).where(FACT.c.source == name, FACT.c.fact_key == key))


async def _empty_events(sql: AsyncConnection, which: Any) -> None:
    """Empty events as they came. They cannot be applied again, and need not: their facts are kept."""
    await sql.execute(
        update(INBOX)
        .where(which, INBOX.c.state.in_(("received", "waiting", "failed")))
        .values(state="ignored", error="its customer was erased")
    )
    await sql.execute(update(INBOX).where(which).values(body=b"", headers=[], due=None))


async def empty_event(sql: AsyncConnection, inbox_id: str) -> None:
    """Empty an event that told again of somebody who was erased, and let the files be cleaned of it."""
    await ask_to_clean(sql)
    await sql.execute(update(INBOX).where(INBOX.c.id == inbox_id).values(body=b"", headers=[], due=None))

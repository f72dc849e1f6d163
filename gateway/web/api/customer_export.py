"""Everything that is known of a customer, as one JSON object: what a person may ask for.

PARTS says of each table in which part of it its rows are. A test walks from `customer` through all tables
that refer to it, directly or not, so a new one cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import (
    CUSTOMER_EMAIL,
    INBOX,
    INBOX_REFERENCE,
    LINK,
    NEWS,
    OUTBOX_MAIL,
    SEAT,
)
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.orders.customer_store import Customer
from gateway.orders.entitlements import EntitlementFilter, list_entitlements
from gateway.orders.fact_store import chunks, facts_of
from gateway.orders.fact_text import write_fact
from gateway.orders.order_queries import OrderFilter, list_orders
from gateway.orders.privacy import references_of_order
from gateway.orders.traces import spellings
from gateway.tokens.listing import MAX_LIMIT, TokenFilter
from gateway.tokens.repositories import Repositories
from gateway.web.api.order_documents import customer_document, entitlement_document, order_document
from gateway.web.times import format_time
from gateway.webhooks.outbox.announcements import customer_mark
from gateway.webhooks.signing import ID_PREFIX

PARTS: Final = {
    "customer": "customer",
    "customer_email": "addresses",
    "order": "orders",
    "order_line": "orders",
    "line_item": "facts",
    "entitlement": "entitlements",
    "seat": "seats",
    "link": "tokens",
    "outbox_mail": "mails",
    "news": "news",
}
_AT_ONCE: Final = 500
"""Rows that are read together."""


async def export_document(
    sql: AsyncConnection, customer: Customer, store: Repositories | None = None
) -> dict[str, Any]:
    """Everything that is known of a customer. store: also what it has. Raises StoreUnavailable."""
    addresses = await _addresses(sql, customer.id)
    orders, facts, events = await _orders(sql, customer.id)
    entitlements = await _entitlements(sql, customer.id)
    ids = [each["id"] for each in entitlements]
    return {
        "customer": customer_document(customer),
        "addresses": addresses,
        "orders": orders,
        "entitlements": entitlements,
        "seats": await _seats(sql, ids, [each["email"] for each in addresses]),
        "tokens": await _links(sql, ids),
        "mails": await _mails(sql, customer.id),
        "news": await _news(sql, customer.id),
        "liveTokens": [] if store is None else await _tokens(store, addresses),
        "facts": facts,
        "events": events,
        "webhookMessages": await _webhook_messages(sql, customer.id, addresses),
    }


async def _addresses(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    rows = await sql.execute(
        select(CUSTOMER_EMAIL)
        .where(CUSTOMER_EMAIL.c.customer_id == customer_id)
        .order_by(CUSTOMER_EMAIL.c.created)
    )
    return [
        {
            "email": row.email,
            "written": row.written,
            "main": row.main,
            "createdAt": format_time(row.created),
        }
        for row in rows
    ]


async def _mails(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    """The mails that were made for a customer and are still known. What was secret in them is not."""
    rows = await sql.execute(
        select(OUTBOX_MAIL).where(OUTBOX_MAIL.c.customer_id == customer_id).order_by(OUTBOX_MAIL.c.created)
    )
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "state": row.state,
            "recipient": row.recipient,
            "createdAt": format_time(row.created),
            "triedAt": None if row.tried is None else format_time(row.tried),
        }
        for row in rows
    ]


async def _news(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    """Whether the customer was asked about mails of new versions, and has declined them."""
    rows = await sql.execute(select(NEWS.c.declined).where(NEWS.c.customer_id == customer_id))
    return [{"declinedAt": None if row.declined is None else format_time(row.declined)} for row in rows]


async def _webhook_messages(
    sql: AsyncConnection, customer_id: str, addresses: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What outgoing webhooks tell of a customer, by the id or by the mark of an address: the log of them."""
    named = [customer_id, *sorted({customer_mark(each) for each in _spelled(addresses)})]
    found: dict[str, dict[str, Any]] = {}
    for some in chunks(named):
        messages = select(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.customer.in_(some))
        for row in await sql.execute(messages):
            found[row.id] = {
                "id": ID_PREFIX + row.id,
                "type": row.type,
                "happenedAt": format_time(row.happened),
                "data": row.data,
                "deliveries": [],
            }
    for some in chunks(sorted(found)):
        deliveries = (
            select(OUTBOX_WEBHOOK, WEBHOOK.c.name, WEBHOOK.c.url)
            .select_from(OUTBOX_WEBHOOK.outerjoin(WEBHOOK, WEBHOOK.c.id == OUTBOX_WEBHOOK.c.webhook_id))
            .where(OUTBOX_WEBHOOK.c.event_id.in_(some))
            .order_by(OUTBOX_WEBHOOK.c.id)
        )
        for row in await sql.execute(deliveries):
            found[row.event_id]["deliveries"].append(_webhook_delivery(row))
    return [found[each] for each in sorted(found)]


def _webhook_delivery(row: Row[Any]) -> dict[str, Any]:
    """To whom a message went and what came of it. The URL is not told, because it may have secrets."""
    return {
        "webhook": row.name,
        "host": None if row.url is None else urlsplit(row.url).hostname,
        "state": row.state,
        "attempts": row.attempts,
        "tries": [{"at": format_time(at), "status": status} for at, status, _, _ in row.tries],
    }


async def _orders(sql: AsyncConnection, customer_id: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The orders, what platforms told of them, and the events in which they did."""
    orders: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    after = None
    while True:
        page = await list_orders(sql, OrderFilter(customer_id=customer_id), _AT_ONCE, after)
        for shown in page:
            row = shown.row
            orders.append({**order_document(shown), "ip": row.details.get("ip")})
            references = await references_of_order(sql, row.source, row.external_id)
            parts = await facts_of(sql, row.source, references)
            facts += [{"source": row.source, **write_fact(part)} for part in parts]
            events += await _events(sql, row.source, ((each.kind, each.value) for each in references))
        if len(page) < _AT_ONCE:
            return orders, facts, list({each["id"]: each for each in events}.values())
        after = page[-1].row.id


async def _events(
    sql: AsyncConnection, source: str, references: Iterable[tuple[str, str]]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for pairs in chunks(references):
        about = select(INBOX_REFERENCE.c.inbox_id).where(
            tuple_(INBOX_REFERENCE.c.kind, INBOX_REFERENCE.c.value).in_(pairs)
        )
        rows = await sql.execute(
            select(INBOX).where(INBOX.c.connection_id == source, INBOX.c.id.in_(about)).order_by(INBOX.c.id)
        )
        found += [_event(row) for row in rows]
    return found


def _event(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "connectionId": row.connection_id,
        "type": row.type,
        "state": row.state,
        "receivedAt": format_time(row.received),
        "body": row.body.decode("utf-8", "replace"),
    }


async def _entitlements(sql: AsyncConnection, customer_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await list_entitlements(sql, EntitlementFilter(customer_id=customer_id), _AT_ONCE, after)
        found += [entitlement_document(each) for each in page]
        if len(page) < _AT_ONCE:
            return found
        after = page[-1].id


async def _seats(sql: AsyncConnection, ids: list[str], addresses: list[str]) -> list[dict[str, Any]]:
    """The seats of the customer's entitlements, and those that others have given to the customer."""
    rows: list[Row[Any]] = []
    for some in chunks(ids):
        rows += await sql.execute(select(SEAT).where(SEAT.c.entitlement_id.in_(some)))
    if addresses:
        rows += await sql.execute(
            select(SEAT).where(SEAT.c.email.in_(addresses), SEAT.c.entitlement_id.not_in(ids))
        )
    return [
        {
            "entitlementId": row.entitlement_id,
            "number": row.number,
            "email": row.email,
            "name": row.name,
            "createdAt": format_time(row.created),
        }
        for row in rows
    ]


async def _links(sql: AsyncConnection, ids: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for some in chunks(ids):
        theirs = select(LINK).where(LINK.c.entitlement_id.in_(some)).order_by(LINK.c.created)
        found += [
            {
                "tokenId": row.token_id,
                "entitlementId": row.entitlement_id,
                "version": row.version,
                "createdAt": format_time(row.created),
                "expiresAt": format_time(row.expires),
                "endedAt": None if row.ended is None else format_time(row.ended),
            }
            for row in await sql.execute(theirs)
        ]
    return found


async def _tokens(store: Repositories, addresses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the store has for the customer's addresses: every live token, however it was made."""
    found: dict[str, dict[str, Any]] = {}
    for address in _spelled(addresses):
        cursor = None
        while True:
            page = await store.tokens.list_page(TokenFilter(email=address), MAX_LIMIT, cursor)
            for record in page.tokens:
                found[record.id] = {
                    "tokenId": record.id,
                    "productId": record.product,
                    "version": record.version,
                    "customer": {"email": record.email, "name": record.name},
                    "metadata": dict(record.metadata),
                    "createdAt": format_time(record.created),
                    "expiresAt": format_time(record.expires),
                }
            cursor = page.cursor
            if cursor is None:
                break
    return list(found.values())


def _spelled(addresses: list[dict[str, Any]]) -> set[str]:
    """The customer's addresses, as others may have written them."""
    return {one for each in addresses for one in (*spellings(each["email"]), each["written"])}

"""The record of tokens in the database: for whom each was made, also when Redis has forgotten it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.config.units import LAST_MOMENT
from gateway.database.statements import insert
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, LINK
from gateway.database.usage_tables import TOKEN
from gateway.usage.announcing import token_created
from gateway.webhooks.outbox.announcements import EventType, customer_mark
from gateway.webhooks.outbox.writing import announce, find_subscribers

T = TypeVar("T")

CHUNK: Final = 500
"""Values that one statement is given: SQLite takes 32,766 in all, older ones 999."""

FIELDS: Final = ("product", "version", "created", "expires", "email", "name", "key", "max", "metadata")
"""What is read of a token's hash in Redis."""


class KnownToken(NamedTuple):
    """What counting needs of a token.

    entitlement: the id of the one that it came from. customer: whom to count; None: nobody knows, so the
    token stands for its customer. test: what it sends is kept out of usage. erased: its customer was, so
    nothing is kept of clients.
    """

    entitlement: str | None
    customer: str | None
    test: bool
    erased: bool = False


class FoundToken(NamedTuple):
    """A token that is to be recorded. fields: as FIELDS names them, None where Redis has forgotten the token.

    created, expires: ms since 1970 UTC, for a token that Redis has forgotten.
    """

    id: str
    fields: Sequence[str | None]
    created: int
    expires: int
    product: str | None = None
    version: str | None = None


def chunks(values: Iterable[T]) -> Iterable[list[T]]:
    """Divide values into pieces that one statement takes."""
    listed = list(values)
    return (listed[start : start + CHUNK] for start in range(0, len(listed), CHUNK))


def is_test(metadata: Any) -> bool:
    """Whether the metadata of a token say that what it sends is a test: `{"test": true}`."""
    return isinstance(metadata, Mapping) and metadata.get("test") in (True, "true")


async def recorded_tokens(sql: AsyncConnection, identifiers: Iterable[str]) -> set[str]:
    """Which of these tokens are recorded."""
    found: set[str] = set()
    for some in chunks(identifiers):
        found |= {each for (each,) in await sql.execute(select(TOKEN.c.id).where(TOKEN.c.id.in_(some)))}
    return found


async def read_tokens(sql: AsyncConnection, identifiers: Iterable[str]) -> dict[str, KnownToken]:
    """What is recorded of tokens."""
    found: dict[str, KnownToken] = {}
    for some in chunks(identifiers):
        columns = (TOKEN.c.id, TOKEN.c.entitlement_id, TOKEN.c.customer, TOKEN.c.test, CUSTOMER.c.erased)
        query = select(*columns).outerjoin(CUSTOMER, CUSTOMER.c.id == TOKEN.c.customer)
        for row in await sql.execute(query.where(TOKEN.c.id.in_(some))):
            erased = row.erased is not None
            found[row.id] = KnownToken(row.entitlement_id, row.customer, row.test, erased)
    return found


async def record_tokens(sql: AsyncConnection, tokens: Iterable[FoundToken]) -> None:
    """Record tokens that may not be recorded yet, within the caller's transaction.

    Those that are recorded now are announced (gateway/webhooks/), but for those that Redis has forgotten.
    """
    subscribers = await find_subscribers(sql)
    for some in chunks(tokens):
        links = {
            row.token_id: row
            for row in await sql.execute(
                select(LINK.c.token_id, ENTITLEMENT.c.id, ENTITLEMENT.c.customer_id, ENTITLEMENT.c.test)
                .join(ENTITLEMENT, ENTITLEMENT.c.id == LINK.c.entitlement_id)
                .where(LINK.c.token_id.in_([token.id for token in some]))
            )
        }
        rows = [_row(token) for token in some]
        emails = {row["email"].strip().casefold() for row in rows if row["email"]}
        customers: dict[str, str] = {}
        if emails:
            columns = (CUSTOMER_EMAIL.c.email, CUSTOMER_EMAIL.c.customer_id)
            known = await sql.execute(select(*columns).where(CUSTOMER_EMAIL.c.email.in_(emails)))
            customers = {row.email: row.customer_id for row in known}
        for row in rows:
            email = row["email"]
            if email:
                row["customer"] = customers.get(email.strip().casefold(), customer_mark(email))
            link = links.get(row["id"])
            if link is not None:
                row["entitlement_id"], row["customer"] = link.id, link.customer_id
                row["test"] = row["test"] or link.test
        statement = insert(sql, TOKEN).on_conflict_do_nothing()
        if not subscribers.want(EventType.TOKEN_CREATED):
            await sql.execute(statement, rows)
            continue
        told_of = {token.id for token in some if token.fields[0] is not None}
        told_of &= set(await sql.scalars(statement.returning(TOKEN.c.id), rows))
        told = [token_created(row) for row in rows if row["id"] in told_of]
        await announce(sql, told, subscribers)


def _row(token: FoundToken) -> dict[str, Any]:
    product, version, created, expires, email, name, key, maximum, metadata = token.fields
    try:
        values = None if metadata is None else json.loads(metadata)
    except ValueError:
        values = None
    return {
        "id": token.id,
        "product": _text(product or token.product),
        "version": _text(version or token.version),
        "entitlement_id": None,
        "customer": None,
        "email": _text(email),
        "name": _text(name),
        "key": _text(key),
        "max_downloads": _number(maximum),
        "metadata": values,
        "test": is_test(values),
        "created": _number(created) or token.created,
        "expires": _number(expires) or token.expires,
    }


def _text(value: str | None) -> str | None:
    """A text of Redis as every database takes it."""
    if value is None:
        return None
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")


def _number(value: str | None) -> int | None:
    return min(int(value), LAST_MOMENT) if value is not None and value.isascii() and value.isdigit() else None

"""What usage knows of a person who is erased: copies of tokens, and the addresses of clients.

What outgoing webhooks have told of the person, or are about to tell, goes, too.

Counts stay: a download has the customer's id, which orders keep, too. What arrives afterwards of a token that
was theirs is kept without the client (`gateway.usage.repository`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.attempt_texts import GONE, without_clients
from gateway.database.statements import insert, lock_usage
from gateway.database.tables import ENTITLEMENT
from gateway.database.usage_tables import DOWNLOAD, TOKEN, TOKEN_SERIES, USAGE_CUSTOMER
from gateway.orders.fact_store import chunks
from gateway.orders.traces import Traces, spellings
from gateway.webhooks.outbox.announcements import customer_mark
from gateway.webhooks.outbox.writing import erase_announcements


async def erase_usage(sql: AsyncConnection, identifier: str, traces: Traces) -> None:
    """Take a customer out of copies of tokens and of downloads, within the caller's transaction."""
    await lock_usage(sql)
    written = {one for each in traces.addresses for one in (each, each.lower(), each.casefold())}
    theirs = select(ENTITLEMENT.c.id).where(ENTITLEMENT.c.customer_id == identifier)
    rows = await sql.execute(
        select(TOKEN.c.id, TOKEN.c.customer).where(
            or_(
                TOKEN.c.customer == identifier,
                TOKEN.c.entitlement_id.in_(theirs),
                TOKEN.c.email.in_(sorted(written)),
                func.lower(TOKEN.c.email).in_(sorted(written)),
            )
        )
    )
    found = {row.id: row.customer for row in rows}
    marks = {each for each in found.values() if each not in (None, identifier)}
    marks |= {customer_mark(one) for each in traces.addresses for one in (each, *spellings(each))}
    for ids in chunks(found):
        nobody = {"email": None, "name": None, "metadata": None, "customer": identifier}
        await sql.execute(update(TOKEN).where(TOKEN.c.id.in_(ids)).values(**nobody))
        series = select(TOKEN_SERIES.c.series_id).where(TOKEN_SERIES.c.token_id.in_(ids))
        await _erase_downloads(sql, DOWNLOAD.c.series_id.in_(series), identifier)
    await _erase_downloads(sql, DOWNLOAD.c.customer.in_([identifier, *sorted(marks)]), identifier)
    await erase_announcements(sql, [identifier, *marks])
    if marks:
        await _count_by_id(sql, sorted(marks), identifier)


async def _count_by_id(sql: AsyncConnection, marks: list[str], identifier: str) -> None:
    """Count the customer of days by the id, and not by marks of addresses."""
    table = USAGE_CUSTOMER.c
    others = (table.day, table.product, table.version, table.client)
    marked = select(*others, literal(identifier)).where(table.customer.in_(marks)).distinct()
    names = [*(each.name for each in others), "customer"]
    await sql.execute(insert(sql, USAGE_CUSTOMER).from_select(names, marked).on_conflict_do_nothing())
    await sql.execute(delete(USAGE_CUSTOMER).where(table.customer.in_(marks)))


async def _erase_downloads(sql: AsyncConnection, which: Any, identifier: str) -> None:
    columns = (DOWNLOAD.c.series_id, DOWNLOAD.c.number, DOWNLOAD.c.client, DOWNLOAD.c.attempts)
    for series, number, program, attempts in (await sql.execute(select(*columns).where(which))).all():
        nobody = without_clients(attempts, program)
        await sql.execute(
            update(DOWNLOAD)
            .where(DOWNLOAD.c.series_id == series, DOWNLOAD.c.number == number)
            .values(attempts=nobody, customer=identifier, privacy=GONE)
        )

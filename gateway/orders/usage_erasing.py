"""Erasing a customer from the tables of usage: what was downloaded stays, and who it was goes."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import CUSTOMER_EMAIL
from gateway.database.usage_tables import DOWNLOAD, TOKEN, TOKEN_SERIES

GONE: Final = 2
"""What `download.privacy` says where neither address nor program is there any more."""
_CLIENT, _AGENT = 7, 8
"""Their places in a row of `download.attempts` (gateway.usage.downloads.Attempt)."""


async def erase_usage(sql: AsyncConnection, identifier: str) -> None:
    """Take a customer out of tokens and downloads, within the caller's transaction.

    The customer's addresses must still be there: by them the tokens are found that came from no entitlement.
    """
    addresses = select(CUSTOMER_EMAIL.c.email).where(CUSTOMER_EMAIL.c.customer_id == identifier)
    is_theirs = or_(TOKEN.c.customer == identifier, func.lower(TOKEN.c.email).in_(addresses))
    series = (
        select(TOKEN_SERIES.c.series_id)
        .join(TOKEN, TOKEN.c.id == TOKEN_SERIES.c.token_id)
        .where(is_theirs)
        .distinct()
    )
    rows = await sql.execute(select(DOWNLOAD).where(DOWNLOAD.c.series_id.in_(series)))
    for row in rows.all():
        mine = (DOWNLOAD.c.series_id == row.series_id) & (DOWNLOAD.c.number == row.number)
        await sql.execute(
            update(DOWNLOAD).where(mine).values(attempts=_without_person(row.attempts), privacy=GONE)
        )
    await sql.execute(update(TOKEN).where(is_theirs).values(email=None, name=None, metadata=None))


def _without_person(attempts: dict[str, Any]) -> dict[str, Any]:
    """The attempts without addresses and programs."""
    texts: list[str] = [""]
    rows = []
    for row in attempts["rows"]:
        kept = list(row)
        token = attempts["texts"][row[4]]
        if token not in texts:
            texts.append(token)
        kept[4] = texts.index(token)
        kept[_CLIENT] = kept[_AGENT] = 0
        rows.append(kept)
    return {**attempts, "texts": texts, "rows": rows}

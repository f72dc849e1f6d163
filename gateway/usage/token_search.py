"""Tokens as the database remembers them: those that have expired, which the store has forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.usage_tables import TOKEN


class TokenSearch(NamedTuple):
    """Which recorded tokens are looked for; None means any. before: ms since 1970 by which they expired."""

    before: int
    product: str | None = None
    email: str | None = None


TokenPosition = tuple[int, str]
"""After which token a page begins: its expiry, and its id."""


async def expired_tokens(
    sql: AsyncConnection, only: TokenSearch, after: TokenPosition | None, limit: int
) -> Sequence[Row[Any]]:
    """Tokens that have expired, the latest first."""
    # SQLite finds the place of a page by this bound alone
    before = only.before if after is None else min(only.before, after[0])
    query = select(TOKEN).where(TOKEN.c.expires <= before)
    if only.product is not None:
        query = query.where(TOKEN.c.product == only.product)
    if only.email is not None:
        query = query.where(TOKEN.c.email == only.email)
    if after is not None:
        query = query.where(tuple_(TOKEN.c.expires, TOKEN.c.id) < tuple_(*after))
    query = query.order_by(TOKEN.c.expires.desc(), TOKEN.c.id.desc()).limit(limit)
    return (await sql.execute(query)).all()

"""The report of links that look shared: tokens of a time, looked at one after the other, the latest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.config.usage_settings import UsageSettings
from gateway.database.engine import Database
from gateway.database.usage_tables import DOWNLOAD, TOKEN, TOKEN_SERIES, USAGE_FILE
from gateway.usage.downloads import Attempt
from gateway.usage.repository import read_attempts
from gateway.usage.sharing import Sharing, SharingLimits, look_at
from gateway.usage.token_search import TokenPosition

AT_ONCE: Final = 200
"""Tokens that are looked at in one transaction."""
READ_AT_ONCE: Final = 40
"""Tokens whose downloads are read together: a page is often full after a few of them."""
LOOKS: Final = 10
"""Transactions of one answer; then the reader goes on with the next page."""


def sharing_limits(settings: UsageSettings) -> SharingLimits:
    """The limits of the settings."""
    return SharingLimits(
        settings.sharing_networks,
        settings.sharing_overlap,
        settings.sharing_programs,
        settings.sharing_copies,
    )


class SharingFilter(NamedTuple):
    """Which tokens are looked at: those that expire at `start` or later, and were made before `end` (ms)."""

    start: int | None = None
    end: int | None = None
    product: str | None = None


class SharedLink(NamedTuple):
    """A token that looks shared. token: its row. bytes, requests: of all its files."""

    token: Row[Any]
    found: Sharing
    bytes: int
    requests: int


class SharingPage(NamedTuple):
    """Some tokens that look shared, and after which token to go on; None: there are no more."""

    links: list[SharedLink]
    after: TokenPosition | None


async def search_shared(
    database: Database,
    only: SharingFilter,
    limits: SharingLimits,
    after: TokenPosition | None,
    limit: int,
    looks: int = LOOKS,
) -> SharingPage:
    """Look at the next tokens in at most so many transactions, or until `limit` were found.

    A page may be short, even empty, and have a next one. Raises DatabaseError.
    """
    found: list[SharedLink] = []
    for _ in range(looks):
        async with database.reading() as sql:
            page = await look_for_shared(sql, only, limits, after, limit - len(found))
        found += page.links
        after = page.after
        if after is None or len(found) >= limit:
            break
    return SharingPage(found, after)


async def look_for_shared(
    sql: AsyncConnection,
    only: SharingFilter,
    limits: SharingLimits,
    after: TokenPosition | None = None,
    limit: int = AT_ONCE,
) -> SharingPage:
    """Look at the next AT_ONCE tokens, or until `limit` were found. A page may be short, even empty."""
    tokens = await _tokens(sql, only, after)
    found: list[SharedLink] = []
    received: dict[str, dict[str, tuple[int, list[Attempt]]]] = {}
    for place, token in enumerate(tokens):
        if place % READ_AT_ONCE == 0:
            received = await _received(sql, [each.id for each in tokens[place : place + READ_AT_ONCE]])
        files = received.get(token.id, {})
        shared = look_at(files.values(), limits)
        if shared.looks_shared:
            attempts = [each for _, some in files.values() for each in some]
            sent, requests = sum(each.sent for each in attempts), sum(each.times for each in attempts)
            found.append(SharedLink(token, shared, sent, requests))
            if len(found) == limit:
                return SharingPage(found, (token.expires, token.id))
    if len(tokens) < AT_ONCE:
        return SharingPage(found, None)
    return SharingPage(found, (tokens[-1].expires, tokens[-1].id))


async def _tokens(
    sql: AsyncConnection, only: SharingFilter, after: TokenPosition | None
) -> Sequence[Row[Any]]:
    query = select(TOKEN).where(TOKEN.c.test.is_(False))
    if only.start is not None:
        query = query.where(TOKEN.c.expires >= only.start)
    if only.end is not None:
        query = query.where(TOKEN.c.created < only.end)
    if only.product is not None:
        query = query.where(TOKEN.c.product == only.product)
    if after is not None:
        query = query.where(tuple_(TOKEN.c.expires, TOKEN.c.id) < tuple_(*after))
    query = query.order_by(TOKEN.c.expires.desc(), TOKEN.c.id.desc()).limit(AT_ONCE)
    return (await sql.execute(query)).all()


async def _received(
    sql: AsyncConnection, tokens: Sequence[str]
) -> dict[str, dict[str, tuple[int, list[Attempt]]]]:
    """What tokens received, by file: its size, and the attempts. One request alone is never shared."""
    joined = TOKEN_SERIES.join(DOWNLOAD, DOWNLOAD.c.series_id == TOKEN_SERIES.c.series_id)
    several = (
        select(TOKEN_SERIES.c.token_id)
        .select_from(joined)
        .where(TOKEN_SERIES.c.token_id.in_(tokens))
        .group_by(TOKEN_SERIES.c.token_id)
        .having(func.sum(DOWNLOAD.c.times) > 1)
    )
    wanted = [identifier for (identifier,) in await sql.execute(several)] if tokens else []
    if not wanted:
        return {}
    rows = await sql.execute(
        select(DOWNLOAD.c.series_id, DOWNLOAD.c.attempts, USAGE_FILE.c.size)
        .join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
        .where(
            DOWNLOAD.c.series_id.in_(
                select(TOKEN_SERIES.c.series_id).where(TOKEN_SERIES.c.token_id.in_(wanted))
            )
        )
    )
    known = set(wanted)
    found: dict[str, dict[str, tuple[int, list[Attempt]]]] = defaultdict(dict)
    for row in rows:
        for attempt in read_attempts(row, known):
            found[attempt.token].setdefault(row.series_id, (row.size, []))[1].append(attempt)
    return found

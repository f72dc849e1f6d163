"""What somebody received: the downloads of a customer, and the bytes of each file that a token covered.

Everything is found by the holders of its series (an entitlement's id, or that of a token which came from
none), by indexes, so that it is quick among any number of downloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.usage_tables import DOWNLOAD, SERIES, TOKEN, TOKEN_SERIES, USAGE_FILE
from gateway.usage.coverage import Spans, unite
from gateway.usage.known_tokens import chunks
from gateway.usage.repository import read_download

FILES_SHOWN: Final = 100
"""Files of one token whose bytes are shown, the latest ones."""
DOWNLOADS_READ: Final = 20
"""Downloads of one file in which a token's bytes are looked for, the latest ones: a token has rarely two."""
TOKENS_READ: Final = 500
"""Tokens without an entitlement of one address, the latest ones."""


class CoveredFile(NamedTuple):
    """What a token received of one file. spans: of its bytes, each once. size: of the file, in bytes."""

    name: str
    size: int
    spans: Spans


async def covered_files(sql: AsyncConnection, token: str) -> list[CoveredFile]:
    """The bytes of each file that a token received, in whatever order and how often; by the files' names."""
    series = await sql.execute(
        select(SERIES.c.id, USAGE_FILE.c.name, USAGE_FILE.c.size)
        .join(TOKEN_SERIES, TOKEN_SERIES.c.series_id == SERIES.c.id)
        .join(USAGE_FILE, USAGE_FILE.c.id == SERIES.c.file_id)
        .where(TOKEN_SERIES.c.token_id == token)
        .order_by(USAGE_FILE.c.name, SERIES.c.id)
        .limit(FILES_SHOWN)
    )
    found = []
    for identifier, name, size in series.all():
        rows = await sql.execute(
            select(DOWNLOAD)
            .where(DOWNLOAD.c.series_id == identifier)
            .order_by(DOWNLOAD.c.number.desc())
            .limit(DOWNLOADS_READ)
        )
        spans = [
            span
            for row in rows
            for attempt in read_download(row).attempts
            if attempt.token == token
            for span in attempt.spans
        ]
        found.append(CoveredFile(name, size, unite(spans)))
    return found


async def tokens_of_address(sql: AsyncConnection, emails: Iterable[str]) -> list[str]:
    """The ids of tokens that were made for an address without an entitlement, the latest first."""
    listed = list(emails)
    if not listed:
        return []
    query = select(TOKEN.c.id).where(TOKEN.c.email.in_(listed), TOKEN.c.entitlement_id.is_(None))
    rows = await sql.execute(query.order_by(TOKEN.c.created.desc()).limit(TOKENS_READ))
    return [each for (each,) in rows]


async def downloads_of(sql: AsyncConnection, holders: Sequence[str], limit: int) -> list[Row[Any]]:
    """Downloads of the holders of series, the latest first: with file, product, version and token."""
    found: list[Row[Any]] = []
    columns = (
        DOWNLOAD.c["first", "last", "completed", "times", "bytes", "covered", "client", "test", "token_id"],
        USAGE_FILE.c["product", "version", "name", "size"],
    )
    for some in chunks(holders):
        query: Select[Any] = (
            select(*columns[0], *columns[1], SERIES.c.holder)
            .select_from(SERIES)
            .join(DOWNLOAD, DOWNLOAD.c.series_id == SERIES.c.id)
            .join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
            .where(SERIES.c.holder.in_(some))
            .order_by(DOWNLOAD.c.first.desc(), DOWNLOAD.c.series_id)
            .limit(limit)
        )
        found.extend((await sql.execute(query)).all())
    return sorted(found, key=lambda row: -row.first)[:limit]

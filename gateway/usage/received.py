"""What somebody received: the downloads of a customer, and the bytes of each file that a token covered.

Everything is found by the holders of its series (an entitlement's id, or that of a token which came from
none), by indexes, so that it is quick among any number of downloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.usage_tables import DOWNLOAD, SERIES, TOKEN, TOKEN_SERIES, USAGE_FILE
from gateway.usage.coverage import Spans, unite
from gateway.usage.known_tokens import chunks
from gateway.usage.repository import read_attempts

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


class ReceivedDownload(NamedTuple):
    """A download, with its file and the holder of its series. Times: ms since 1970 UTC; sizes: bytes."""

    first: int
    last: int
    completed: int | None
    times: int
    bytes: int
    covered: int
    client: str
    test: bool
    token_id: str
    product: str
    version: str
    name: str
    size: int
    holder: str


_COLUMNS: Final = (
    *DOWNLOAD.c["first", "last", "completed", "times", "bytes", "covered", "client", "test", "token_id"],
    *USAGE_FILE.c["product", "version", "name", "size"],
)
"""Of a `ReceivedDownload`, in its order, but for the holder."""


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
        spans = [span for row in rows for attempt in read_attempts(row, {token}) for span in attempt.spans]
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


async def downloads_of(sql: AsyncConnection, holders: Sequence[str], limit: int) -> list[ReceivedDownload]:
    """Downloads of the holders of series, the latest first: with file, product, version and token.

    First the keys of all of them, and then the rows of the latest: an engine that is asked for both at once
    may look through the downloads of everybody, from the latest on, until it has found enough of these.
    """
    keys: list[tuple[int, str, int]] = []
    owners: dict[str, str] = {}
    for some in chunks(holders):
        series = await sql.execute(select(SERIES.c.id, SERIES.c.holder).where(SERIES.c.holder.in_(some)))
        owners |= {row.id: row.holder for row in series}
    for part in chunks(owners):
        query = select(DOWNLOAD.c.first, DOWNLOAD.c.series_id, DOWNLOAD.c.number)
        found = await sql.execute(query.where(DOWNLOAD.c.series_id.in_(part)))
        keys = nlargest(limit, [*keys, *((row.first, row.series_id, row.number) for row in found)])
    latest = {(series_id, number) for _, series_id, number in keys}
    rows = await sql.execute(
        select(*_COLUMNS, DOWNLOAD.c.series_id, DOWNLOAD.c.number)
        .join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
        .where(
            DOWNLOAD.c.series_id.in_({series_id for series_id, _ in latest}),
            DOWNLOAD.c.number.in_({number for _, number in latest}),
        )
    )
    shown = [
        ReceivedDownload._make((*row[: len(_COLUMNS)], owners[row.series_id]))
        for row in rows
        if (row.series_id, row.number) in latest
    ]
    return sorted(shown, key=lambda each: -each.first)

"""Ends that no event tells: tokens whose time is over, and downloads that stopped before their end.

| what | when | told as |
| --- | --- | --- |
| a token | its time is over, by the store | `token.expired` |
| a download | it is not completed, and nothing of it was sent for QUIET_SECONDS | `download.failed` |

Each is told once, in the transaction that writes down that it was found; several web processes may look at
the same time. A token whose expiry was moved is in the store still, and its new time is recorded. A download
that goes on after it was told as failed is completed later, which is told then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from sqlalchemy import Row, select, update

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.usage_tables import DOWNLOAD, SERIES, TOKEN, USAGE_FILE
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.runtime.background import repeat
from gateway.store.client import StoreClient
from gateway.store.key_names import token_key
from gateway.usage.announcing import Holder, download_changed, download_name, token_expired
from gateway.usage.events import FileOfVersion
from gateway.usage.repository import read_download
from gateway.webhooks.outbox.announcements import EventType
from gateway.webhooks.outbox.writing import announce, find_subscribers

AT_ONCE: Final = 200
QUIET_SECONDS: Final = 3600
"""A request tells of itself when it ends. So a download of one request that lasts longer is first heard of at
its end, and one that is resumed by such a request is told as failed, and later as completed."""

_log = logging.getLogger("gateway.usage")


class Lapses:
    """Finds what has ended without an event."""

    def __init__(self, database: Database, client: StoreClient, quiet_seconds: int = QUIET_SECONDS) -> None:
        self._database = database
        self._client = client
        self._quiet = 1000 * quiet_seconds

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        faults = (DatabaseError, StoreUnavailable)
        message = "tokens and downloads that have ended are not looked for now: %s"
        await repeat(self.find, asyncio.Event(), faults, _log, message)

    async def find(self) -> bool:
        """Find some. Returns whether there may be more. Raises DatabaseError, StoreUnavailable."""
        tokens = await self.find_tokens()
        downloads = await self.find_downloads()
        return tokens or downloads

    async def find_tokens(self) -> bool:
        """Find tokens whose time is over. Returns whether there may be more."""
        alive = TOKEN.c.expired.is_(False)
        query = select(TOKEN).where(alive, TOKEN.c.expires <= now()).order_by(TOKEN.c.expires)
        async with self._database.reading() as sql:
            rows = (await sql.execute(query.limit(AT_ONCE))).all()
        if not rows:
            return False
        commands = [("HGET", token_key(row.id), "expires") for row in rows]
        found = await self._client.call_all(*commands)
        ended = [row for row, text in zip(rows, found, strict=True) if text is None]
        later = [(row, int(text)) for row, text in zip(rows, found, strict=True) if _is_number(text)]
        moved = [(row, moment) for row, moment in later if moment > row.expires]
        async with self._database.writing() as sql:
            for row, moment in moved:
                await sql.execute(update(TOKEN).where(TOKEN.c.id == row.id).values(expires=moment))
            if ended:
                theirs = TOKEN.c.id.in_([row.id for row in ended])
                changed = update(TOKEN).where(theirs, alive).values(expired=True).returning(TOKEN.c.id)
                mine = set(await sql.scalars(changed))
                await announce(sql, [token_expired(row._asdict()) for row in ended if row.id in mine])
        return len(rows) == AT_ONCE and bool(ended or moved)

    async def find_downloads(self) -> bool:
        """Find downloads that have stopped. Returns whether there may be more."""
        moment = now()
        stopped = (
            DOWNLOAD.c.completed.is_(None),
            DOWNLOAD.c.failed.is_(None),
            DOWNLOAD.c.last <= moment - self._quiet,
        )
        keys = select(DOWNLOAD.c.series_id, DOWNLOAD.c.number).where(*stopped).order_by(DOWNLOAD.c.last)
        async with self._database.reading() as sql:
            found = (await sql.execute(keys.limit(AT_ONCE))).all()
        if not found:
            return False
        async with self._database.writing() as sql:
            mine = []
            for series, number in found:
                this = (DOWNLOAD.c.series_id == series, DOWNLOAD.c.number == number)
                done = await sql.execute(update(DOWNLOAD).where(*this, *stopped).values(failed=moment))
                if done.rowcount:
                    mine.append((series, number))
            subscribers = await find_subscribers(sql)
            if mine and subscribers.want(EventType.DOWNLOAD_FAILED):
                told = [
                    _failed(row, self._quiet)
                    for series, number in mine
                    for row in await _read_download(sql, series, number)
                ]
                await announce(sql, told, subscribers)
        return len(found) == AT_ONCE


def _is_number(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


async def _read_download(sql: Any, series: str, number: int) -> Sequence[Row[Any]]:
    query = (
        select(
            *(DOWNLOAD.c[name] for name in ("series_id", "number", "attempts", "customer", "test", "last")),
            *(USAGE_FILE.c[name] for name in FileOfVersion._fields),
            TOKEN.c.entitlement_id,
        )
        .select_from(
            DOWNLOAD.join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
            .join(SERIES, SERIES.c.id == DOWNLOAD.c.series_id)
            .outerjoin(TOKEN, TOKEN.c.id == DOWNLOAD.c.token_id)
        )
        .where(DOWNLOAD.c.series_id == series, DOWNLOAD.c.number == number)
    )
    return list(await sql.execute(query))


def _failed(row: Row[Any], quiet: int) -> Any:
    file = FileOfVersion(*(row._mapping[name] for name in FileOfVersion._fields))
    holder = Holder(row.entitlement_id, row.customer, row.test)
    name = download_name(row.series_id, row.number)
    happened = row.last + quiet
    return download_changed(EventType.DOWNLOAD_FAILED, name, file, read_download(row), holder, happened)

"""Applies events to the tables of usage: each once, in whatever order they come (rules: `downloads.py`).

One transaction applies some batches: which events of a worker have been applied is a row of the same
transaction (`usage_position`), so a batch that comes again changes nothing. Only one process applies at a
time.

The days are the sums of all downloads. When an event changes a download, what it added to the days before is
taken off, and what it adds now is put on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.attempt_texts import FULL, GONE, program_class
from gateway.database.statements import insert, lock_usage
from gateway.database.types import now
from gateway.database.usage_tables import (
    DOWNLOAD,
    SERIES,
    TOKEN_SERIES,
    USAGE_CUSTOMER,
    USAGE_FILE,
    USAGE_POSITION,
)
from gateway.usage.announcing import Holder, download_changed, download_name
from gateway.usage.client_classes import classify
from gateway.usage.coverage import contains, count, unite
from gateway.usage.day_totals import add_to_days
from gateway.usage.downloads import DAY, Attempt, DayKey, Download, add_up, compact, days_of
from gateway.usage.events import Event, FileOfVersion
from gateway.usage.known_tokens import KnownToken, chunks
from gateway.webhooks.outbox.announcements import Announcement, EventType
from gateway.webhooks.outbox.writing import Subscribers, announce, find_subscribers

MILLISECOND: Final = 1_000
"""Microseconds."""

Series = tuple[str, FileOfVersion]
"""Holder (the id of an entitlement, or of a token that came from none) and file."""


async def apply_events(
    sql: AsyncConnection, events: Iterable[Event], tokens: Mapping[str, KnownToken]
) -> int:
    """Apply events within a writing transaction. Returns how many had not been applied before.

    tokens: of all events.
    """
    await lock_usage(sql)
    fresh = await _take_fresh(sql, events)
    by_series: dict[Series, list[Event]] = defaultdict(list)
    for event in fresh:
        holder = tokens[event.token].entitlement or event.token
        by_series[holder, event.file].append(event)
    if by_series:
        await _Change(sql, by_series, tokens, await find_subscribers(sql)).apply()
    return len(fresh)


async def _take_fresh(sql: AsyncConnection, events: Iterable[Event]) -> list[Event]:
    """Those events that have not been applied; they are noted as applied."""
    by_worker: dict[str, dict[int, Event]] = defaultdict(dict)
    for event in events:
        by_worker[event.worker][event.number] = event
    fresh: list[Event] = []
    columns = (USAGE_POSITION.c.worker, USAGE_POSITION.c.applied)
    for workers in chunks(by_worker):
        rows = await sql.execute(select(*columns).where(USAGE_POSITION.c.worker.in_(workers)))
        applied = {row.worker: tuple((start, stop) for start, stop in row.applied) for row in rows}
        changed = []
        for worker in workers:
            before = applied.get(worker, ())
            some = [event for number, event in by_worker[worker].items() if not contains(before, number)]
            if some:
                after = unite([*before, *((event.number, event.number + 1) for event in some)])
                changed.append({"worker": worker, "applied": after, "updated": now()})
                fresh += some
        if changed:
            statement = insert(sql, USAGE_POSITION)
            new = {name: statement.excluded[name] for name in ("applied", "updated")}
            await sql.execute(statement.on_conflict_do_update(index_elements=["worker"], set_=new), changed)
    return fresh


class _Change:
    """What some new events change. The series are loaded, added up again, and written."""

    def __init__(
        self,
        sql: AsyncConnection,
        events: Mapping[Series, Sequence[Event]],
        tokens: Mapping[str, KnownToken],
        subscribers: Subscribers,
    ) -> None:
        self._sql = sql
        self._subscribers = subscribers
        self._tells = subscribers.want(EventType.DOWNLOAD_STARTED, EventType.DOWNLOAD_COMPLETED)
        self._told: list[Announcement] = []
        self._events = events
        self._tokens = tokens
        self._ids = {series: series_id(*series) for series in events}
        self._days: dict[tuple[DayKey, str, str], list[int]] = {}
        self._customers: set[tuple[int, str, str, str, str]] = set()
        self._rows: list[dict[str, Any]] = []
        self._gone: list[tuple[str, int]] = []

    async def apply(self) -> None:
        newest = await self._newest()
        old = await self._load(newest)
        heads = []
        for series, events in self._events.items():
            identifier = self._ids[series]
            number = await self._add_up(series, events, old.get(identifier, []))
            heads.append({
                "id": identifier, "holder": series[0], "file_id": file_id(series[1]), "newest": number
            })  # fmt: skip
        await self._write(heads)
        await announce(self._sql, self._told, self._subscribers)

    async def _newest(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for some in chunks(self._ids.values()):
            rows = await self._sql.execute(select(SERIES.c.id, SERIES.c.newest).where(SERIES.c.id.in_(some)))
            found |= {row.id: row.newest for row in rows}
        return found

    async def _load(self, newest: Mapping[str, int]) -> dict[str, list[Any]]:
        """The newest download of each series."""
        found: dict[str, list[Any]] = {}
        for some in chunks(newest.items()):
            where = tuple_(DOWNLOAD.c.series_id, DOWNLOAD.c.number).in_(some)
            for row in await self._sql.execute(select(DOWNLOAD).where(where)):
                found[row.series_id] = [row]
        return found

    async def _add_up(self, series: Series, events: Sequence[Event], rows: list[Any]) -> int:
        """Add up one series from the download in which the first new attempt lies. Its newest number."""
        (_, file), identifier = series, self._ids[series]
        attempts = [_attempt(event, self._tokens[event.token]) for event in events]
        first = min(attempt.started for attempt in attempts)
        if (
            rows and first // MILLISECOND <= rows[0].first
        ):  # it lies before the newest download, or near to it
            rows = await self._load_from(identifier, first // MILLISECOND)
        before = [read_download(row) for row in rows]
        numbers = [row.number for row in rows]
        after = add_up([*(each for one in before for each in one.attempts), *attempts], file.size)
        start = numbers[0] if numbers else 1
        known = self._tokens[events[0].token]  # all tokens of a holder are for the same customer
        if not known.test:
            self._count(file, before, -1)
            self._count(file, after, 1)
            self._note_customers(file, attempts, known)
        for number, download in enumerate(after, start):
            old = before[number - start] if number - start < len(before) else None
            if old != download:
                self._rows.append(_row(identifier, number, file, download, known))
                if self._tells:
                    holder = Holder(known.entitlement, known.customer, known.test)
                    self._tell(download_name(identifier, number), file, old, download, holder)
        self._gone += [(identifier, number) for number in numbers[len(after) :]]
        return start + len(after) - 1

    def _tell(
        self, name: str, file: FileOfVersion, old: Download | None, new: Download, holder: Holder
    ) -> None:
        """Note what is to be announced of a download."""
        if old is None:
            began = new.first_at // MILLISECOND
            self._told.append(download_changed(EventType.DOWNLOAD_STARTED, name, file, new, holder, began))
        if new.completed is not None and (old is None or old.completed is None):
            ended = new.completed // MILLISECOND
            self._told.append(download_changed(EventType.DOWNLOAD_COMPLETED, name, file, new, holder, ended))

    async def _load_from(self, identifier: str, moment: int) -> list[Any]:
        """The downloads of a series, from the one that was under way at this moment."""
        mine = DOWNLOAD.c.series_id == identifier
        earlier = mine & (DOWNLOAD.c.first < moment)
        number = (await self._sql.execute(select(func.max(DOWNLOAD.c.number)).where(earlier))).scalar() or 1
        rows = select(DOWNLOAD).where(mine & (DOWNLOAD.c.number >= number)).order_by(DOWNLOAD.c.number)
        return list(await self._sql.execute(rows))

    def _count(self, file: FileOfVersion, downloads: Sequence[Download], sign: int) -> None:
        agents = {attempt.agent for download in downloads for attempt in download.attempts}
        for key, values in days_of(downloads, {agent: classify(agent) for agent in agents}).items():
            row = self._days.setdefault((key, file.product, file.version), [0, 0, 0])
            for place, value in enumerate(values):
                row[place] += sign * value

    def _note_customers(self, file: FileOfVersion, attempts: Sequence[Attempt], known: KnownToken) -> None:
        for attempt in attempts:
            day, client = attempt.started // DAY, classify(attempt.agent)
            customer = known.customer or attempt.token
            self._customers.add((day, file.product, file.version, client, customer))

    async def _write(self, heads: list[dict[str, Any]]) -> None:
        sql = self._sql
        files = {file_id(file): file for _, file in self._events}
        rows = [{"id": identifier, **file._asdict()} for identifier, file in files.items()]
        await sql.execute(insert(sql, USAGE_FILE).on_conflict_do_nothing(), rows)
        statement = insert(sql, SERIES)
        await sql.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_={"newest": statement.excluded.newest}
            ),
            heads,
        )
        pairs = {(event.token, self._ids[series]) for series, some in self._events.items() for event in some}
        await sql.execute(
            insert(sql, TOKEN_SERIES).on_conflict_do_nothing(),
            [{"token_id": token, "series_id": identifier} for token, identifier in sorted(pairs)],
        )
        for identifier, number in self._gone:
            mine = (DOWNLOAD.c.series_id == identifier) & (DOWNLOAD.c.number == number)
            await sql.execute(delete(DOWNLOAD).where(mine))
        if self._rows:
            statement = insert(sql, DOWNLOAD)
            keys = ("series_id", "number")
            new = {name: statement.excluded[name] for name in self._rows[0] if name not in keys}
            await sql.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), self._rows)
        await add_to_days(sql, self._days)
        if self._customers:
            names = ("day", "product", "version", "client", "customer")
            rows = [dict(zip(names, each, strict=True)) for each in sorted(self._customers)]
            await sql.execute(insert(sql, USAGE_CUSTOMER).on_conflict_do_nothing(), rows)


def _row(
    identifier: str, number: int, file: FileOfVersion, download: Download, known: KnownToken
) -> dict[str, Any]:
    kept = compact(download)
    return {
        "series_id": identifier,
        "number": number,
        "file_id": file_id(file),
        "token_id": kept.attempts[0].token,
        "customer": known.customer,
        "test": known.test,
        "direct": known.entitlement is None,
        "client": classify(kept.attempts[0].agent),
        "first": download.first_at // MILLISECOND,
        "last": download.last_at // MILLISECOND,
        "completed": None if download.completed is None else download.completed // MILLISECOND,
        "times": download.times,
        "bytes": download.bytes,
        "covered": count(download.covered),
        "attempts": write_download(kept),
        "privacy": GONE if known.erased else FULL,
    }


def file_id(file: FileOfVersion) -> str:
    """The id of a file's row: made from what it says, so that nobody has to look it up."""
    return _mark(file.product, file.version, file.name, str(file.size), file.sha256)


def series_id(holder: str, file: FileOfVersion) -> str:
    """The id of a series' row."""
    return _mark(holder, file_id(file))


def _mark(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:26]


def _attempt(event: Event, known: KnownToken) -> Attempt:
    client, agent = event.client, event.agent
    if known.erased:
        client, agent = "", program_class(classify(agent))
    return Attempt(
        event.started,
        event.worker,
        event.number,
        event.ended,
        event.token,
        event.sent,
        unite(event.spans),
        client,
        agent,
        event.whole,
    )


_SHARED: Final = ("token", "client", "agent")
_TOKEN: Final = Attempt._fields.index("token")


def write_download(download: Download) -> dict[str, Any]:
    """The attempts of a download as JSON. Texts that many have are written once."""
    texts: dict[str, int] = {}
    rows = []
    for attempt in download.attempts:
        values = attempt._asdict()
        for name in _SHARED:
            values[name] = texts.setdefault(values[name], len(texts))
        rows.append(list(values.values()))
    return {"texts": list(texts), "rows": rows, "completed": download.completed}


def read_download(row: Any) -> Download:
    """The download of a row."""
    texts = row.attempts["texts"]
    attempts = tuple(_read_attempt(values, texts) for values in row.attempts["rows"])
    return Download(attempts, row.attempts["completed"])


def read_attempts(row: Any, tokens: Container[str]) -> Iterator[Attempt]:
    """The attempts of a row that came by one of the tokens."""
    texts = row.attempts["texts"]
    wanted = {number for number, text in enumerate(texts) if text in tokens}
    for values in row.attempts["rows"]:
        if values[_TOKEN] in wanted:
            yield _read_attempt(values, texts)


def _read_attempt(values: Sequence[Any], texts: Sequence[str]) -> Attempt:
    started, worker, number, ended, token, sent, spans, client, agent, whole, times = values
    spans = tuple((start, stop) for start, stop in spans)
    names = texts[token], sent, spans, texts[client], texts[agent], whole, times
    return Attempt(started, worker, number, ended, *names)

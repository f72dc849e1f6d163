"""What is asked of the tables of usage: a token, what it received, the report, sums over periods."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, distinct, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.tables import CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.database.usage_tables import (
    DOWNLOAD,
    SERIES,
    TOKEN,
    TOKEN_SERIES,
    USAGE_CUSTOMER,
    USAGE_DAY,
    USAGE_FILE,
)
from gateway.usage.downloads import COMPLETED, UNDER_WAY, add_up
from gateway.usage.repository import MILLISECOND, read_attempts

DOWNLOADS_READ: Final = 1_000
"""Downloads of one series, the newest, in which the attempts of one token are looked for."""
DAY_MS: Final = 86_400_000
EPOCH: Final = datetime.date(1970, 1, 1)


class FileUsage(NamedTuple):
    """What a token received of one file, in bytes of its content; times in ms since 1970 UTC."""

    name: str
    bytes: int
    started: int
    completed: int
    attempts: int
    first_at: int
    last_at: int


async def get_token(sql: AsyncConnection, identifier: str) -> Row[Any] | None:
    """What is recorded of a token; None: it was never known."""
    return (await sql.execute(select(TOKEN).where(TOKEN.c.id == identifier))).first()


async def token_usage(sql: AsyncConnection, identifier: str) -> list[FileUsage]:
    """What a token itself received, by file, in the order in which it began with them."""
    own = DOWNLOAD.c.series_id == SERIES.c.id
    sums = await sql.execute(
        select(
            USAGE_FILE.c.name,
            func.sum(DOWNLOAD.c.bytes),
            func.count(),
            func.count(DOWNLOAD.c.completed),
            func.sum(DOWNLOAD.c.times),
            func.min(DOWNLOAD.c.first),
            func.max(DOWNLOAD.c.last),
        )
        .select_from(DOWNLOAD)
        .join(SERIES, own)
        .join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
        .where(SERIES.c.holder == identifier)
        .group_by(USAGE_FILE.c.id, USAGE_FILE.c.name)
    )
    found = [FileUsage(name, *map(int, values)) for name, *values in sums]
    shared = await sql.execute(
        select(SERIES.c.id, USAGE_FILE.c.name, USAGE_FILE.c.size)
        .join(TOKEN_SERIES, TOKEN_SERIES.c.series_id == SERIES.c.id)
        .join(USAGE_FILE, USAGE_FILE.c.id == SERIES.c.file_id)
        .where(TOKEN_SERIES.c.token_id == identifier, SERIES.c.holder != identifier)
    )
    for series, name, size in shared.all():
        rows = await sql.execute(
            select(DOWNLOAD)
            .where(DOWNLOAD.c.series_id == series)
            .order_by(DOWNLOAD.c.number.desc())
            .limit(DOWNLOADS_READ)
        )
        attempts = [attempt for row in rows for attempt in read_attempts(row, {identifier})]
        downloads = add_up(attempts, size)
        if downloads:
            found.append(
                FileUsage(
                    name,
                    sum(each.bytes for each in downloads),
                    len(downloads),
                    sum(each.completed is not None for each in downloads),
                    sum(each.times for each in downloads),
                    downloads[0].first_at // MILLISECOND,
                    max(each.last_at for each in downloads) // MILLISECOND,
                )
            )
    return sorted(found, key=lambda usage: (usage.first_at, usage.name))


class ReportFilter(NamedTuple):
    """Which downloads a report has. start, end: ms since 1970 UTC of the first byte; end is not in it."""

    start: int | None = None
    end: int | None = None
    product: str | None = None
    status: str | None = None


ReportPosition = tuple[int, str, int]


def position_of(row: Any) -> ReportPosition:
    """Where the report goes on after a row."""
    return row.first, row.series_id, row.number


async def report_page(
    sql: AsyncConnection, only: ReportFilter, after: ReportPosition | None, limit: int
) -> Sequence[Row[Any]]:
    """Rows of the report of downloads, the oldest first, without tests."""
    main = (CUSTOMER_EMAIL.c.customer_id == ENTITLEMENT.c.customer_id) & CUSTOMER_EMAIL.c.main
    query = (
        select(
            DOWNLOAD,
            USAGE_FILE.c.product,
            USAGE_FILE.c.version,
            USAGE_FILE.c.name,
            USAGE_FILE.c.size,
            USAGE_FILE.c.sha256,
            TOKEN.c.email,
            CUSTOMER_EMAIL.c.email.label("customer_email"),
            ORDER.c.number.label("order_number"),
            ORDER.c.external_id.label("order_id"),
            ORDER.c.country,
        )
        .join(USAGE_FILE, USAGE_FILE.c.id == DOWNLOAD.c.file_id)
        .outerjoin(TOKEN, TOKEN.c.id == DOWNLOAD.c.token_id)
        .outerjoin(ENTITLEMENT, ENTITLEMENT.c.id == TOKEN.c.entitlement_id)
        .outerjoin(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id)
        .outerjoin(ORDER, ORDER.c.id == ORDER_LINE.c.order_id)
        .outerjoin(CUSTOMER_EMAIL, main)
        .where(DOWNLOAD.c.test.is_(False))
    )
    start = only.start if after is None else after[0]  # SQLite finds the place of a page by this bound alone
    if start is not None:
        query = query.where(DOWNLOAD.c.first >= start)
    if only.end is not None:
        query = query.where(DOWNLOAD.c.first < only.end)
    if only.product is not None:
        query = query.where(USAGE_FILE.c.product == only.product)
    if only.status == COMPLETED:
        query = query.where(DOWNLOAD.c.completed.is_not(None))
    elif only.status == UNDER_WAY:
        query = query.where(DOWNLOAD.c.completed.is_(None))
    keys = (DOWNLOAD.c.first, DOWNLOAD.c.series_id, DOWNLOAD.c.number)
    if after is not None:
        query = query.where(tuple_(*keys) > tuple_(*after))
    return (await sql.execute(query.order_by(*keys).limit(limit))).all()


class Sum(NamedTuple):
    """What one period has. start: its first moment, ms since 1970 UTC."""

    start: int
    product: str | None
    version: str | None
    client: str | None
    started: int
    completed: int
    bytes: int
    customers: int


_GROUPS: Final[dict[str | None, tuple[str, ...]]] = {
    None: (),
    "product": ("product",),
    "version": ("product", "version"),
    "client": ("client",),
}


def period_of(day: int, period: str) -> tuple[int, int]:
    """The period of a day: its first day, and that of the next one. Weeks begin on Monday."""
    if period == "day":
        return day, day + 1
    date = EPOCH + datetime.timedelta(days=day)
    if period == "week":
        start = day - date.weekday()
        return start, start + 7
    first = date.replace(day=1)
    following = (first + datetime.timedelta(days=31)).replace(day=1)
    return (first - EPOCH).days, (following - EPOCH).days


async def sum_up(
    sql: AsyncConnection, first: int, stop: int, period: str, group: str | None, product: str | None = None
) -> list[Sum]:
    """Sums of the days from `first` to before `stop`, a row for each period and group that has any."""
    names = _GROUPS[group]
    columns = [USAGE_DAY.c[name] for name in names]
    values = [func.sum(USAGE_DAY.c[name]) for name in ("started", "completed", "bytes")]
    query = select(USAGE_DAY.c.day, *columns, *values).where(USAGE_DAY.c.day >= first, USAGE_DAY.c.day < stop)
    if product is not None:
        query = query.where(USAGE_DAY.c.product == product)
    sums: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for day, *rest in await sql.execute(query.group_by(USAGE_DAY.c.day, *columns)):
        key = period_of(day, period)[0], tuple(rest[: len(names)])
        row = sums.setdefault(key, [0, 0, 0])
        for place, value in enumerate(rest[len(names) :]):
            row[place] += int(value)
    customers: dict[tuple[int, tuple[str, ...]], int] = {}
    for start in sorted({start for start, _ in sums}):
        end = period_of(start, period)[1]
        query = _customers(names, max(start, first), min(end, stop), product)
        for count, *rest in await sql.execute(query):
            customers[start, tuple(rest)] = count
    found = []
    for (start, group_values), (started, completed, sent) in sorted(sums.items()):
        groups: dict[str, str] = dict(zip(names, group_values, strict=True))
        found.append(
            Sum(
                start * DAY_MS,
                groups.get("product"),
                groups.get("version"),
                groups.get("client"),
                started,
                completed,
                sent,
                customers.get((start, group_values), 0),
            )
        )
    return found


def _customers(names: Sequence[str], first: int, stop: int, product: str | None) -> Select[Any]:
    """How many customers a period has, each counted once."""
    columns = [USAGE_CUSTOMER.c[name] for name in names]
    query = select(func.count(distinct(USAGE_CUSTOMER.c.customer)), *columns)
    query = query.where(USAGE_CUSTOMER.c.day >= first, USAGE_CUSTOMER.c.day < stop)
    if product is not None:
        query = query.where(USAGE_CUSTOMER.c.product == product)
    return query.group_by(*columns) if columns else query

"""Sums of whole days, for pages: read from the levels of `usage_total` that have the fewest rows for it.

Where no level keeps apart what is asked for (a client's products of a day), they are read from `usage_day`.

How many customers there were is not in it: see `sum_up` in queries.py, which takes a search for each period.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.day_totals import BLOCK_DAYS, level_for

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "day": ("day",),
    "product": ("product",),
    "version": ("product", "version"),
    "client": ("client",),
}
"""By what sums are grouped, and the columns of each."""
FILTERS: Final = ("product", "version", "client")
_FEW: Final = frozenset({"client"})
"""What keeps the rows of a day so few that blocks of days are no gain."""
MOST_ROWS: Final = 1_000
"""Groups of one answer: a page shows fewer, and a table of more is the report's (CSV)."""


class DayFilter(NamedTuple):
    """Which usage is summed up. first, stop: days since 1970 UTC; `stop` is not in it. None means any."""

    first: int
    stop: int
    product: str | None = None
    version: str | None = None
    client: str | None = None


class Usage(NamedTuple):
    """A sum. bytes: of files' content that was sent."""

    started: int = 0
    completed: int = 0
    bytes: int = 0


def add_up(sums: Iterable[Usage]) -> Usage:
    """The sum of sums."""
    listed = list(sums)
    return Usage(*(sum(values) for values in zip(*listed, strict=True))) if listed else Usage()


async def sums_by_day(sql: AsyncConnection, only: DayFilter) -> list[Usage]:
    """The sum of each day from the first to the last, also of those without any usage."""
    rows = await sql.execute(_chosen(only, "day"))
    found = {int(day): Usage(*map(int, values)) for day, *values in rows}
    return [found.get(day, Usage()) for day in range(only.first, only.stop)]


async def sums_by(
    sql: AsyncConnection, only: DayFilter, group: str, limit: int = MOST_ROWS
) -> list[tuple[tuple[str, ...], Usage]]:
    """The sum of each product, version or client, the most downloaded first. group: of GROUPS."""
    names = GROUPS[group]
    query = _chosen(only, *names)
    started, *_ = list(query.selected_columns)[len(names) :]
    columns = list(query.selected_columns)[: len(names)]
    query = query.order_by(started.desc(), *columns).limit(limit)
    return [
        (tuple(map(str, row[: len(names)])), Usage(*map(int, row[len(names) :])))
        for row in await sql.execute(query)
    ]


def _chosen(only: DayFilter, *names: str) -> Select[Any]:
    filters = {name: value for name in FILTERS if (value := getattr(only, name)) is not None}
    parts = [_rows(part, names, filters) for part in _parts(only, names, filters)]
    rows = parts[0].subquery() if len(parts) == 1 else union_all(*parts).subquery()
    columns = [rows.c[name] for name in names]
    query = select(*columns, *(func.sum(rows.c[name]) for name in Usage._fields))
    return query.group_by(*columns) if columns else query


class _Part(NamedTuple):
    """Days that are read from one level; None: from `usage_day`."""

    level: int | None
    first: int
    stop: int


def _parts(only: DayFilter, names: Collection[str], filters: Mapping[str, str]) -> list[_Part]:
    """From where the days are read: whole blocks from one level where that is less, and the rest by day."""
    columns = {*names, *filters} - {"day"}
    days, blocks = level_for(columns), level_for(columns, BLOCK_DAYS)
    first, stop = -(-only.first // BLOCK_DAYS) * BLOCK_DAYS, only.stop // BLOCK_DAYS * BLOCK_DAYS
    if blocks is None or "day" in names or columns <= _FEW or first >= stop:
        return [_Part(days, only.first, only.stop)]
    ends = (_Part(days, only.first, first), _Part(days, stop, only.stop))
    return [_Part(blocks, first, stop), *(each for each in ends if each.first < each.stop)]


def _rows(part: _Part, names: Sequence[str], filters: Mapping[str, str]) -> Select[Any]:
    table = USAGE_DAY if part.level is None else USAGE_TOTAL
    query = select(*(table.c[name] for name in (*names, *Usage._fields)))
    query = query.where(table.c.day >= part.first, table.c.day < part.stop)
    if part.level is not None:
        query = query.where(table.c.level == part.level)
    for name, value in filters.items():
        query = query.where(table.c[name] == value)
    return query

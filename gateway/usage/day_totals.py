"""The sums of days, and their totals: what many products, versions and clients had together on a day.

`usage_day` has a row for each product, version, client and outcome of a day: some hundred thousand a year,
which take a page half a second to add up. So the same is kept added up in `usage_total`, at the levels that
pages ask for, and written by the same transactions.

A level may keep the days apart, or put BLOCK_DAYS of them together. A year by version is 200,000 rows where
days are apart, and 40,000 where its blocks are read, and the days of the two blocks that it has a part of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, bindparam, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.downloads import DayKey

BLOCK_DAYS: Final = 16
"""Blocks begin at the days since 1970 that this number divides. With months, which are longer, as many rows
would be those of days at both ends."""


class Level(NamedTuple):
    """What a level of `usage_total` keeps apart: so many days, whose first one its rows have, and columns."""

    days: int
    kept: frozenset[str]


LEVELS: Final = (
    Level(1, frozenset()),
    Level(1, frozenset({"client"})),
    Level(1, frozenset({"product"})),
    Level(1, frozenset({"product", "version"})),
    Level(BLOCK_DAYS, frozenset({"product", "version"})),
    Level(BLOCK_DAYS, frozenset({"product", "version", "client"})),
)
"""By its number. More columns make more rows, so of several that answer, the first one has the fewest."""
SUMS: Final = ("started", "completed", "bytes")

DayName = tuple[DayKey, str, str]
"""A row of `usage_day`: its key, product and version."""


def level_for(columns: Collection[str], days: int = 1) -> int | None:
    """The level with the fewest rows that keeps so many days and these columns apart; None: there is none."""
    wanted = frozenset(columns)
    fitting = (number for number, level in enumerate(LEVELS) if level.days == days and wanted <= level.kept)
    return next(fitting, None)


async def add_to_days(sql: AsyncConnection, changes: Mapping[DayName, Sequence[int]]) -> None:
    """Add to the days and their totals. changes: started, completed and bytes, which may be below zero."""
    days: list[dict[str, Any]] = []
    totals: dict[tuple[int, int, str, str, str], list[int]] = {}
    for (key, product, version), values in sorted(changes.items()):
        if not any(values):
            continue
        names = {"product": product, "version": version, "client": key.client}
        days.append({"day": key.day, "outcome": key.outcome, **names, **_sums(values)})
        for number, level in enumerate(LEVELS):
            kept = (name if column in level.kept else "" for column, name in names.items())
            first = key.day // level.days * level.days
            total = totals.setdefault((number, first, *kept), [0, 0, 0])  # type: ignore[arg-type]
            for place, value in enumerate(values):
                total[place] += value
    columns = ("level", "day", "product", "version", "client")
    rows = [dict(zip(columns, key, strict=True)) | _sums(values) for key, values in sorted(totals.items())]
    await _add(sql, USAGE_DAY, days)
    await _add(sql, USAGE_TOTAL, rows)


def _sums(values: Iterable[int]) -> dict[str, int]:
    return dict(zip(SUMS, values, strict=True))


async def _add(sql: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(sql, table)
    new = {name: table.c[name] + statement.excluded[name] for name in SUMS}
    keys = [column.name for column in table.primary_key]
    await sql.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), rows)
    fewer = [
        {f"its_{name}": row[name] for name in keys} for row in rows if any(row[name] < 0 for name in SUMS)
    ]
    if fewer:  # nothing else can have become empty
        this = [table.c[name] == bindparam(f"its_{name}") for name in keys]
        await sql.execute(delete(table).where(*this, *(table.c[name] == 0 for name in SUMS)), fewer)

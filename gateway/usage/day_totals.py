"""The sums of days, and their totals: what many products, versions and clients had together on a day.

`usage_day` has a row for each product, version, client and outcome of a day: some hundred thousand a year,
which take a page half a second to add up. So the same is kept added up in `usage_total`, at the levels that
pages ask for, and written by the same transactions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.downloads import DayKey

LEVELS: Final[tuple[frozenset[str], ...]] = (
    frozenset(),
    frozenset({"client"}),
    frozenset({"product"}),
    frozenset({"product", "version"}),
)
"""By its number: what a level of `usage_total` keeps apart beside the days."""
SUMS: Final = ("started", "completed", "bytes")

DayName = tuple[DayKey, str, str]
"""A row of `usage_day`: its key, product and version."""


def level_for(columns: Collection[str]) -> int | None:
    """The level with the fewest rows that keeps these columns apart; None: only `usage_day` does."""
    wanted = frozenset(columns)
    return next((number for number, level in enumerate(LEVELS) if wanted <= level), None)


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
            kept = (name if column in level else "" for column, name in names.items())
            total = totals.setdefault((number, key.day, *kept), [0, 0, 0])  # type: ignore[arg-type]
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

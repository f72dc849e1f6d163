"""Totals of days: always what the days add up to, at each level, whatever is added and taken off again."""

from __future__ import annotations

import importlib
from collections import defaultdict

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.day_totals import LEVELS, level_for
from tests.support.usage import add_days

STEPS = (
    [
        (100, "drums", "1", "curl", "started", 1, 0, 10),
        (100, "drums", "1", "browser", "completed", 5, 5, 500),
        (100, "bass", "1", "curl", "started", 2, 0, 20),
        (101, "drums", "2", "curl", "completed", 1, 1, 100),
    ],
    [
        (100, "drums", "1", "curl", "started", -1, 0, -10),
        (100, "drums", "1", "curl", "completed", 1, 1, 100),
    ],
    [(100, "bass", "1", "curl", "started", -2, 0, -20), (101, "drums", "2", "curl", "completed", 0, 0, 0)],
    [(101, "drums", "2", "curl", "completed", -1, -1, -100)],
)


async def test_totals_are_what_the_days_add_up_to(database: Database) -> None:
    for rows in STEPS:
        async with database.writing() as sql:
            await add_days(sql, rows)
        async with database.reading() as sql:
            days = list(await sql.execute(select(USAGE_DAY)))
            totals = {tuple(row[:5]): tuple(row[5:]) for row in await sql.execute(select(USAGE_TOTAL))}
        wanted: dict[tuple[int | str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in days:
            for number, level in enumerate(LEVELS):
                names = (
                    getattr(row, name) if name in level else "" for name in ("product", "version", "client")
                )
                sums = wanted[number, row.day, *names]
                for place, value in enumerate((row.started, row.completed, row.bytes)):
                    sums[place] += value
        assert totals == {key: tuple(values) for key, values in wanted.items()}
        assert all(any(values) for values in totals.values()), "what is nothing any more has no row"
    assert {day for _level, day, *_ in totals} == {100}


@pytest.mark.parametrize(
    ("columns", "level"),
    [
        ((), 0),
        (("client",), 1),
        (("product",), 2),
        (("version",), 3),
        (("product", "version"), 3),
        (("product", "client"), None),
        (("version", "client"), None),
    ],
)
def test_the_level_with_the_fewest_rows_answers(columns: tuple[str, ...], level: int | None) -> None:
    assert level_for(columns) == level


def test_the_migration_adds_up_the_levels_that_the_code_reads() -> None:
    step = importlib.import_module("gateway.database.migrations.versions.v0011_totals_of_days")
    assert tuple(frozenset(kept) for _, kept in step.LEVELS) == LEVELS
    assert [number for number, _ in step.LEVELS] == list(range(len(LEVELS)))

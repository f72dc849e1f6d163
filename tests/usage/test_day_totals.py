"""Totals of days: always what the days add up to, at each level, whatever is added and taken off again."""

from __future__ import annotations

import importlib
from collections import defaultdict

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.usage_tables import USAGE_DAY, USAGE_TOTAL
from gateway.usage.day_totals import BLOCK_DAYS, LEVELS, Level, level_for
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
                    getattr(row, name) if name in level.kept else ""
                    for name in ("product", "version", "client")
                )
                sums = wanted[number, row.day - row.day % level.days, *names]
                for place, value in enumerate((row.started, row.completed, row.bytes)):
                    sums[place] += value
        assert totals == {key: tuple(values) for key, values in wanted.items()}
        assert all(any(values) for values in totals.values()), "what is nothing any more has no row"
    assert {day for level, day, *_ in totals if LEVELS[level].days == 1} == {100}
    assert {day for level, day, *_ in totals if LEVELS[level].days == BLOCK_DAYS} == {96}


@pytest.mark.parametrize(
    ("columns", "level", "of_blocks"),
    [
        ((), 0, 4),
        (("client",), 1, 5),
        (("product",), 2, 4),
        (("version",), 3, 4),
        (("product", "version"), 3, 4),
        (("product", "client"), None, 5),
        (("version", "client"), None, 5),
    ],
)
def test_the_level_with_the_fewest_rows_answers(
    columns: tuple[str, ...], level: int | None, of_blocks: int
) -> None:
    assert level_for(columns) == level
    assert level_for(columns, BLOCK_DAYS) == of_blocks


def test_the_migrations_add_up_the_levels_that_the_code_reads() -> None:
    versions = "gateway.database.migrations.versions"
    days = importlib.import_module(f"{versions}.v0011_totals_of_days")
    blocks = importlib.import_module(f"{versions}.v0012_pages_of_large_shops")
    found = [(number, Level(1, frozenset(kept))) for number, kept in days.LEVELS]
    found += [(number, Level(blocks.DAYS, frozenset(kept))) for number, kept in blocks.LEVELS]
    assert found == list(enumerate(LEVELS))

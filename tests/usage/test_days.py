"""Sums of days for pages: what passes, groups, days without usage, and that they are read by an index."""

from __future__ import annotations

import pytest

from gateway.database.engine import Database
from gateway.usage.days import DayFilter, Usage, add_up, sums_by, sums_by_day
from tests.support.plans import noted_statements, whole_tables
from tests.support.usage import add_days

ROWS = [
    # day, product, version, client, outcome, started, completed, bytes
    (100, "drums", "1", "curl", "completed", 3, 2, 300),
    (100, "drums", "1", "curl", "started", 1, 0, 10),
    (100, "drums", "2", "browser", "completed", 5, 5, 500),
    (102, "bass", "1", "bot", "completed", 7, 6, 700),
    (109, "bass", "1", "curl", "completed", 9, 9, 900),
]


@pytest.fixture
async def days(database: Database) -> Database:
    async with database.writing() as sql:
        await add_days(sql, ROWS)
    return database


async def test_totals_and_filters(days: Database) -> None:
    cases = {
        DayFilter(100, 110): Usage(25, 22, 2410),
        DayFilter(100, 109): Usage(16, 13, 1510),
        DayFilter(0, 100): Usage(),
        DayFilter(100, 110, product="drums"): Usage(9, 7, 810),
        DayFilter(100, 110, product="drums", version="2"): Usage(5, 5, 500),
        DayFilter(100, 110, client="curl"): Usage(13, 11, 1210),
        DayFilter(100, 110, product="x' OR 1=1"): Usage(),
    }
    async with days.reading() as sql:
        for only, expected in cases.items():
            assert add_up(await sums_by_day(sql, only)) == expected, only


async def test_every_day_has_a_sum(days: Database) -> None:
    async with days.reading() as sql:
        found = await sums_by_day(sql, DayFilter(99, 104))
    assert found == [Usage(), Usage(9, 7, 810), Usage(), Usage(7, 6, 700), Usage()]


async def test_groups_come_the_most_downloaded_first(days: Database) -> None:
    async with days.reading() as sql:
        assert await sums_by(sql, DayFilter(0, 200), "product") == [
            (("bass",), Usage(16, 15, 1600)),
            (("drums",), Usage(9, 7, 810)),
        ]
        assert [key for key, _ in await sums_by(sql, DayFilter(0, 200), "version")] == [
            ("bass", "1"),
            ("drums", "2"),
            ("drums", "1"),
        ]
        assert [key for key, _ in await sums_by(sql, DayFilter(0, 200), "client", 2)] == [("curl",), ("bot",)]


async def test_days_are_read_by_the_key_of_the_table(days: Database) -> None:
    with noted_statements(days) as statements:
        async with days.reading() as sql:
            await sums_by_day(sql, DayFilter(100, 110, product="drums"))
            await sums_by(sql, DayFilter(100, 110), "version")
    assert await whole_tables(days, statements) == []

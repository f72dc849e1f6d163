"""Sums of days for pages: what passes, groups, days without usage, and that they are read by an index."""

from __future__ import annotations

import pytest

from gateway.database.engine import Database
from gateway.usage.days import GROUPS, DayFilter, Usage, add_up, sums_by, sums_by_day
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


@pytest.mark.parametrize("group", ["product", "version", "client"])
@pytest.mark.parametrize(
    "filters",
    [{}, {"product": "p1"}, {"version": "2"}, {"client": "curl"}, {"product": "p1", "client": "bot"}],
)
async def test_blocks_and_the_days_at_both_ends_are_the_same_as_the_days(
    database: Database, group: str, filters: dict[str, str]
) -> None:
    rows = [
        (day, f"p{day % 3}", str(day % 5), ("curl", "bot")[day % 2], "completed", day, day, 10 * day)
        for day in range(150, 260)
    ]
    async with database.writing() as sql:
        await add_days(sql, rows)
    places = {"product": 1, "version": 2, "client": 3}
    async with database.reading() as sql:
        for first, stop in ((150, 260), (160, 176), (161, 176), (160, 175), (165, 170), (175, 177), (0, 999)):
            found = await sums_by(sql, DayFilter(first, stop, **filters), group)
            wanted: dict[tuple[str, ...], int] = {}
            for row in rows:
                fits = all(row[places[name]] == value for name, value in filters.items())
                if first <= int(row[0]) < stop and fits:
                    key = tuple(str(row[places[name]]) for name in GROUPS[group])
                    wanted[key] = wanted.get(key, 0) + int(row[5])
            assert {key: usage.started for key, usage in found} == wanted, (first, stop)
            assert all(usage.bytes == 10 * usage.started for _, usage in found)


async def test_a_year_is_read_from_blocks_by_the_key(days: Database) -> None:
    with noted_statements(days) as statements:
        async with days.reading() as sql:
            await sums_by(sql, DayFilter(0, 365), "version")
            await sums_by(sql, DayFilter(3, 360, client="curl"), "product")
    selects = [statement for statement, _ in statements if statement.startswith("SELECT")]
    assert ["UNION ALL" in statement for statement in selects] == [True, True]
    whole = await whole_tables(days, statements)
    assert [step for step in whole if "usage_" in step] == [], "only what the parts have found is read whole"

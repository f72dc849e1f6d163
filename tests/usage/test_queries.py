"""The report of downloads is read page by page, and no page reads again what came before it."""

from __future__ import annotations

from gateway.database.engine import Database
from gateway.usage.known_tokens import KnownToken
from gateway.usage.queries import ReportFilter, ReportPosition, position_of, report_page
from gateway.usage.repository import apply_events
from tests.support.usage import NOON, event

COUNT = 23


async def fill(database: Database) -> None:
    """Downloads of as many tokens, three of which begin in each millisecond."""
    events = [
        event(number, token=f"{number:032x}", started=NOON + number // 3 * 1000, ended=NOON + 1_000_000)
        for number in range(COUNT)
    ]
    async with database.writing() as sql:
        known = {each.token: KnownToken(None, None, test=False) for each in events}
        await apply_events(sql, events, known)


async def test_each_row_comes_once_whatever_the_size_of_a_page(database: Database) -> None:
    await fill(database)
    start = NOON // 1000
    for only, wanted in (
        (ReportFilter(), COUNT),
        (ReportFilter(start=start), COUNT),
        (ReportFilter(start=start + 2, end=start + 5), 9),
    ):
        for size in (1, 2, 5, COUNT + 1):
            found: list[ReportPosition] = []
            while True:
                async with database.reading() as sql:
                    rows = await report_page(sql, only, found[-1] if found else None, size)
                found += map(position_of, rows)
                if len(rows) < size:
                    break
            assert found == sorted(set(found))
            assert len(found) == wanted


async def test_a_later_page_begins_where_the_one_before_ended(database: Database) -> None:
    """SQLite seeks by the plain bound; with that of the filter it walked through all pages before."""
    bounds: list[object] = []

    class Asked:
        async def execute(self, query: object) -> Asked:
            bounds.extend(query.compile().params.values())  # type: ignore[attr-defined]
            return self

        def all(self) -> list[object]:
            return []

    after = (77_777, "series", 3)
    await report_page(Asked(), ReportFilter(start=11_111), after, 10)  # type: ignore[arg-type]
    assert bounds.count(77_777) == 2
    assert 11_111 not in bounds

"""*Usage* in the dashboard: filters, charts with their tables, and files."""

from __future__ import annotations

import csv
import io
import re

import pytest

from gateway.config.settings import Settings
from gateway.database.types import now
from gateway.usage import never_downloaded, sharing_report
from gateway.usage.days import Usage, add_up
from gateway.usage.queries import DAY_MS
from gateway.usage.running import Running, RunningNow
from gateway.web.dashboard import live
from gateway.web.dashboard.answers import write_day
from gateway.web.dashboard.figures import MOST_BARS, by_period, choose_period
from gateway.web.times import format_time
from tests.support.control_plane import Api
from tests.support.dashboard import Visitor, check_markup, open_database_of
from tests.support.dashboard_data import record_shared_link
from tests.support.rows import each_row
from tests.support.usage import add_days

NAUGHTY = '"><script>alert(1)</script>'


@pytest.fixture
async def days(settings: Settings) -> int:
    """Usage of today, of a week ago, and of a year ago. Returns today's number."""
    today = now() // DAY_MS
    rows = [
        (today, "drums", "1.0.0", "browser", "completed", 7, 6, 7000),
        (today - 7, "drums", "2.0.0", "curl", "completed", 2, 2, 2000),
        (today - 7, NAUGHTY, NAUGHTY, "bot", "started", 1, 0, 10),
        (today - 365, "drums", "1.0.0", "curl", "completed", 100, 100, 10**12),
    ]
    async with open_database_of(settings) as database, database.writing() as sql:
        await add_days(sql, rows)
    return today


async def table(owner: Visitor, query: str) -> list[dict[str, str]]:
    found = await owner.get(f"/usage.csv{query}")
    return list(csv.DictReader(io.StringIO(found.text)))


async def test_usage_is_shown_with_charts_and_their_table(api: Api, owner: Visitor, days: int) -> None:
    page = await owner.get("/usage")
    assert page.status == 200
    assert page.text.count('<svg class="chart"') == 2
    assert "<script>" not in page.text
    assert '<span class="figure">10</span>' in page.text
    assert len(page.text) < 60_000


async def test_usage_is_filtered_and_grouped(api: Api, owner: Visitor, days: int) -> None:
    rows = await table(owner, "")
    assert [(row["product"], row["started"]) for row in rows] == [("drums", "9"), (NAUGHTY, "1")]
    rows = await table(owner, "?by=version&product=drums")
    assert [(row["version"], row["started"]) for row in rows] == [("1.0.0", "7"), ("2.0.0", "2")]
    rows = await table(owner, "?by=client")
    assert [row["client"] for row in rows] == ["browser", "curl", "bot"]
    rows = await table(owner, f"?by=day&from={write_day(days - 7)}&to={write_day(days)}&client=curl")
    assert (len(rows), rows[-1]["day"], rows[-1]["started"]) == (8, write_day(days - 7), "2")
    assert sum(int(row["started"]) for row in await table(owner, f"?from={write_day(days - 365)}")) == 110


@pytest.mark.slow
async def test_a_long_time_is_shown_by_week_or_month(
    api: Api, owner: Visitor, settings: Settings, days: int
) -> None:
    names = [f"product-{number}-{'long-name-' * 5}" for number in range(120)]
    async with open_database_of(settings) as database, database.writing() as sql:
        rows = [
            (days - back, names[back % len(names)], "1.0.0", "curl", "completed", 10**6 + back, 10**6, 10**12)
            for back in range(400)
        ]
        await add_days(sql, rows)
    for back, title in ((30, "Downloads by day"), (40, "Downloads by week"), (365, "Downloads by month")):
        for group in ("product", "version", "client", "day"):
            page = await owner.get(f"/usage?from={write_day(days - back)}&by={group}")
            assert title in page.text
            assert page.text.count("<title>") <= 2 * MOST_BARS + 1
            assert len(page.text) < 60_000, (back, group)


@each_row("count", [1, 7, 30, 32, 33, 90, 200, 217, 218, 365, 400])
@each_row("first", [20_000, 20_400, 20_453])
def test_periods_have_every_day_once(count: int, first: int) -> None:
    days = [Usage(2**place % 1009, 1, place) for place in range(count)]
    period = choose_period(count)
    found = by_period(first, days, period)
    assert len(found) <= MOST_BARS
    assert found[0][0] == first
    assert add_up(usage for _, usage in found) == add_up(days)
    assert [start for start, _ in found] == sorted({start for start, _ in found})


@pytest.mark.parametrize(
    "query",
    ["?from=never", "?from=2026-99-99&to=x", "?from=9999-01-01", "?to=1970-01-01", "?by=x&client=%00"],
)
async def test_filters_of_any_kind_are_taken(api: Api, owner: Visitor, days: int, query: str) -> None:
    assert (await owner.get(f"/usage{query}")).status == 200


async def test_without_usage_the_page_says_so(api: Api, owner: Visitor) -> None:
    assert "Nothing was downloaded yet" in (await owner.get("/usage")).text


async def test_every_download_is_saved_as_the_api_does(api: Api, owner: Visitor) -> None:
    found = await owner.get("/usage/downloads.csv")
    assert found.text.startswith("startedAt,lastAt,productId")
    assert "attachment" in found.headers["Content-Disposition"]


async def test_what_runs_is_shown_and_followed(
    api: Api, owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await owner.get("/usage/running")
    assert "No worker has answered" in page.text
    assert "hx-trigger" in page.text
    row = Running("a" * 32, "drums", "1", NAUGHTY, 2 * 2**20, 2**20, 2.0, NAUGHTY)

    async def answer(_: object) -> RunningNow:
        return RunningNow(7, [row], 2)

    monkeypatch.setattr(live, "ask_what_runs", answer)
    part = await owner.get("/usage/running", headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert "<script>" not in part.text
    for text in ("downloads run", "1.0 MiB / 2.0 MiB", "512.0 KiB/s", "aaaaaaaa"):
        assert text in part.text.replace("\xa0", " ")


async def test_what_was_paid_for_and_never_downloaded_is_listed(api: Api, owner: Visitor) -> None:
    assert "There is nothing to do" in (await owner.get("/usage/never")).text
    body = {
        "customer": {"email": "ann@example.com", "name": NAUGHTY},
        "status": "paid",
        "placedAt": "2026-01-31T12:00:00Z",
        "number": NAUGHTY,
        "lines": [{"id": "1", "productId": "drums"}],
    }
    await api.ask("PUT", "/api/orders/zapier/A-1", body)
    page = await owner.get("/usage/never")
    assert "ann@example.com" in page.text
    assert "<script>" not in page.text
    assert "ann@example.com" in (await owner.get("/usage/never.csv?missing=completed")).text
    assert "Nothing here fits" in (await owner.get("/usage/never?product=none")).text


async def test_a_window_without_any_leads_on_to_the_next_one(
    api: Api, owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(never_downloaded, "LOOKED_AT", 1)
    for name, days in (("new", 0), ("old", 9)):  # the first one was bought too late to be listed
        body = {
            "customer": {"email": f"{name}@example.com"},
            "status": "paid",
            "placedAt": format_time(now() - days * DAY_MS),
            "lines": [{"id": "1", "productId": "drums"}],
        }
        await api.ask("PUT", f"/api/orders/zapier/{name}", body)
    page = await owner.get("/usage/never")
    assert "Nothing was found among the purchases that were looked at" in page.text
    further = re.search(r'href="/dashboard(/usage/never\?[^"]*after=[^"]+)"', page.text)
    assert further is not None
    assert "old@example.com" in (await owner.get(further[1].replace("&amp;", "&"))).text
    file = await owner.get("/usage/never.csv")
    assert "old@example.com" in file.text
    assert "new@example.com" not in file.text


async def test_links_that_look_shared_are_listed_with_why(
    api: Api, owner: Visitor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No link looks shared" in (await owner.get("/usage/shared")).text
    token = await record_shared_link(settings)
    await record_shared_link(settings, 2, networks=2)
    page = await owner.get("/usage/shared")
    check_markup(page)
    assert page.text.count("/dashboard/tokens/") == 1
    for text in (
        f'href="/dashboard/tokens/{token}"',
        "jo@example.com",
        "8 networks",
        "as much as 8 downloads",
    ):
        assert text in page.text
    assert "/dashboard/usage/shared" in (await owner.get("/usage")).text
    file = await owner.get("/usage/shared.csv?product=drums")
    [line] = csv.DictReader(io.StringIO(file.text.removeprefix("\ufeff")))
    assert (line["tokenId"], line["networks"], line["programs"], line["requests"]) == (token, "8", "", "8")
    assert line["networkNames"].split()[0] == "198.51.0.0/24"
    assert "Nothing here fits" in (await owner.get("/usage/shared?product=kit&days=7")).text
    for odd in ("after=x", "days=1000", "days=x", f"after=9-{token}"):
        assert (await owner.get(f"/usage/shared?{odd}")).status == 200
    monkeypatch.setattr(sharing_report, "AT_ONCE", 1)
    page = await owner.get("/usage/shared")
    assert "There are more" in page.text, "the first one is honest"
    further = re.search(r'href="/dashboard(/usage/shared\?after=[^"]+)">look at', page.text)
    assert further is not None
    assert token in (await owner.get(further[1])).text


async def test_a_token_has_its_receipt(api: Api, owner: Visitor) -> None:
    minted = await api.store.tokens.create("drums", email="ann@example.com")
    page = await owner.get(f"/tokens/{minted.record.id}/receipt")
    assert page.status == 200
    assert "ann@example.com" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert f"/tokens/{minted.record.id}/receipt" in (await owner.get(f"/tokens/{minted.record.id}")).text
    for identifier in ("f" * 32, "x", "%00"):
        assert (await owner.get(f"/tokens/{identifier}/receipt")).status == 404

"""The command `pages` of the bench: it opens every page of a small shop."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.pages.asking import ENTITLED, MOST_BYTES, MOST_MS, Names, PageFigures, views
from bench.pages.shop import VERSIONS, Shop, ShopPlan
from bench.pages.traffic import Traffic
from bench.testbed.machine import find_redis
from gateway.database.tables import METADATA
from gateway.web.dashboard.application import SCREENS
from gateway.web.portal.application import PAGES

needs_redis = pytest.mark.skipif(find_redis() is None, reason="there is no Redis server")
PLAN = ShopPlan(customers=200, downloads=3000, end=1_800_000_000_000, products=20)


def rows_of(shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a shop by their tables."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for part in (shop.customers, shop.orders, shop.events):
        for group in part():
            for name, row in group.items():
                found.setdefault(name, []).append(row)
    traffic = Traffic(shop)
    for file in traffic.files():
        for name, row in file.items():
            found.setdefault(name, []).append(row)
    for several in traffic.downloads():
        for name, rows in several.items():
            found.setdefault(name, []).extend(rows)
    return found


def test_rows_fit_their_tables_and_each_other() -> None:
    found = rows_of(Shop(PLAN, ["s1", "s2"], "hook"))
    assert len(found["customer"]) == 200
    assert len(found["download"]) == 3000
    for name, rows in found.items():
        table = METADATA.tables[name]
        assert {len(row) for row in rows} == {len(table.columns)}, name
        places = [place for place, column in enumerate(table.columns) if column.primary_key]
        assert len({tuple(row[place] for place in places) for row in rows}) == len(rows), name
    column = {each.name: place for place, each in enumerate(METADATA.tables["download"].columns)}
    series = {row[0] for row in found["series"]}
    assert {row[column["series_id"]] for row in found["download"]} <= series
    assert {row[column["token_id"]] for row in found["download"]} <= {row[0] for row in found["token"]}
    for row in found["download"]:
        attempts = json.loads(row[column["attempts"]])
        assert len(attempts["rows"]) == row[column["times"]]
        assert attempts["texts"][0] == row[column["token_id"]]
    day = {each.name: place for place, each in enumerate(METADATA.tables["usage_day"].columns)}
    sent = sum(row[column["bytes"]] for row in found["download"])
    for sums, of_downloads in (("started", 3000), ("bytes", sent)):
        assert sum(row[day[sums]] for row in found["usage_day"]) == of_downloads


def test_few_have_most() -> None:
    found = rows_of(Shop(PLAN, ["s1"], "hook"))
    products = Counter(row[3] for row in found["entitlement"]).most_common()
    assert products[0][1] > 5 * products[-1][1]
    buyers = Counter(row[4] for row in found["order"]).most_common()
    assert buyers[0][1] >= PLAN.purchases_of_reseller > 3 * buyers[len(buyers) // 2][1]
    assert {row[2] for row in found["usage_file"]} == set(VERSIONS)


def test_each_page_of_both_tables_is_opened() -> None:
    shared = (
        *("product", "rare", "email", "token", "middle", "year", "yesterday", "job", "kind", "connection"),
        *("event", "webhook", "secret"),
    )
    of_customer = dict.fromkeys(("customer", "order", "number", "purchase", "right"), "x")
    names = Names(
        dict.fromkeys(shared, "x"), dict.fromkeys(ENTITLED, of_customer), dict.fromkeys(ENTITLED, "")
    )
    found = [view.name.partition(" ")[0].partition("?")[0] for view in views(names, "")]
    assert {screen.path for screen in SCREENS if screen.method == "GET"} <= set(found)
    assert {f"/my{page.path}" for page in PAGES if page.method == "GET"} <= set(found)


@pytest.mark.parametrize(
    ("figures", "is_above"),
    [
        (PageFigures("a", is_file=False, waits=False, bytes=MOST_BYTES, times=[MOST_MS, 9999, 1]), False),
        (PageFigures("a", is_file=False, waits=False, bytes=MOST_BYTES + 1, times=[1]), True),
        (PageFigures("a", is_file=False, waits=False, bytes=1, times=[101, 9999, 1]), True),
        (PageFigures("a", is_file=False, waits=True, bytes=1, times=[101]), False),
        (PageFigures("a", is_file=False, waits=True, status=503, bytes=1, times=[1]), True),
        (PageFigures("a", is_file=True, waits=False, bytes=1 << 20, times=[101]), False),
    ],
)
def test_the_budget_of_a_page(figures: PageFigures, is_above: bool) -> None:
    assert figures.is_above is is_above


@pytest.mark.slow
@needs_redis
def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    words = ("pages", "--customers", "60", "--downloads", "300", "--rounds", "1", "--scratch", str(tmp_path))
    assert main([*words, "--json", str(out)]) in (0, 1), "1: the machine is too slow for the budget"
    figures = json.loads(out.read_text())
    assert figures["rows"]["download"] == 300
    by_name = {page["name"]: page for page in figures["pages"]}
    for name in ("/", "/usage", "/customers/{customer} (reseller)", "/my/ (reseller)"):
        assert by_name[name]["status"] == 200, name
        assert 1000 < by_name[name]["bytes"] < MOST_BYTES
        assert by_name[name]["median"] > 0
    assert "Pages on sqlite: 60 customers, 300 downloads" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]

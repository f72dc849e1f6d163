"""Which item is which product: the most specific mapping decides; scopes; periods."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.orders.mappings import MappedProduct, Scope, Share, add_period, find, is_period
from tests.support.facts import item
from tests.support.rows import each_row

DRUMS = MappedProduct("drums")


def at(text: str) -> int:
    """The milliseconds of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


LINE = [
    item(each) for each in ("variant:v", "price:p", "product:d", "sku:s", "payment_link:l", "metadata:a=b")
]


@pytest.mark.parametrize("place", range(len(LINE)))
def test_the_most_specific_mapping_decides(place: int) -> None:
    mappings = dict.fromkeys(LINE[place:], (DRUMS,))
    assert find(mappings, LINE) == LINE[place]


def test_an_item_that_nobody_has_mapped_is_not_found() -> None:
    assert find({item("sku:other"): (DRUMS,)}, LINE) is None
    assert find({item("variant:s"): (DRUMS,)}, LINE) is None, "another kind of identifier"


def test_an_item_that_is_mapped_to_nothing_is_found() -> None:
    assert find({LINE[2]: (), LINE[3]: (DRUMS,)}, LINE) == LINE[2]


@pytest.mark.parametrize(
    ("share", "opens"),
    [
        (Share("drums"), {"1": True, "2": True}),
        (Share("drums", Scope.VERSION, version="1"), {"1": True, "2": False}),
        (Share("drums", Scope.UNTIL, until=99), {"1": False, "2": False}),
        (Share("drums", Scope.UNTIL, until=100), {"1": True, "2": False}),
        (Share("drums", Scope.UNTIL, until=200), {"1": True, "2": True}),
    ],
)
def test_a_window_keeps_what_was_published_before_its_end(share: Share, opens: dict[str, bool]) -> None:
    published = {"1": 100, "2": 200}
    assert {version: share.opens(version, moment) for version, moment in published.items()} == opens


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2026-01-31T12:00", "P1M", "2026-02-28T12:00"),
        ("2024-01-31T12:00", "P1M", "2024-02-29T12:00"),
        ("2024-02-29T23:59", "P1Y", "2025-02-28T23:59"),
        ("2026-11-30T00:00", "P3M", "2027-02-28T00:00"),
        ("2026-12-31T00:00", "P1Y6M", "2028-06-30T00:00"),
        ("2026-12-31T00:00", "P30D", "2027-01-30T00:00"),
        ("2026-12-31T00:00", "P2W", "2027-01-14T00:00"),
        ("2026-05-31T00:00", "P1Y1M1W1D", "2027-07-08T00:00"),
    ],
)
def test_periods_go_by_the_calendar(start: str, period: str, end: str) -> None:
    assert is_period(period)
    assert add_period(at(start), period) == at(end)


@each_row("text", ["", "P", "1Y", "P1", "P-1Y", "P1D1Y", "PT5M", "p1y", "P101Y", "P9999M", "P٣Y"])
def test_what_is_no_period(text: str) -> None:
    assert not is_period(text)


def test_a_share_is_dated_from_the_order() -> None:
    placed = at("2026-01-01T00:00")
    assert MappedProduct("d", Scope.UNTIL, period="P1Y").share(placed).until == at("2027-01-01T00:00")
    assert MappedProduct("d", Scope.UNTIL, until=5).share(placed).until == 5
    assert MappedProduct("d", Scope.VERSION, "1").share(placed) == Share("d", Scope.VERSION, "1")

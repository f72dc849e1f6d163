"""Percentiles, medians, ratios."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.stats import Spread, latency_figures, percentile, ratio
from tests.support.rows import each_row


@each_row(
    ("values", "share", "wanted"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.999, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0], 0.51, 2.0),
        (list(map(float, range(1, 101))), 0.50, 50.0),
        (list(map(float, range(1, 101))), 0.90, 90.0),
        (list(map(float, range(1, 101))), 0.99, 99.0),
        (list(map(float, range(1, 101))), 0.999, 100.0),
        (list(map(float, range(1, 1001))), 0.999, 999.0),
        ([1.0, 2.0, 3.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0], 1.0, 3.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float, wanted: float) -> None:
    assert percentile(values, share) == wanted


def test_no_values_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_a_value_that_its_share_does_not_exceed(values: list[float], share: float) -> None:
    values.sort()
    found = percentile(values, share)
    assert found in values
    below = sum(value <= found for value in values)
    assert below >= share * len(values) - 1e-9 * len(values)


def test_latencies_are_given_in_milliseconds() -> None:
    figures = latency_figures([0.003, 0.001, 0.002])
    assert figures["p50_ms"] == pytest.approx(2)
    assert figures["max_ms"] == pytest.approx(3)
    assert latency_figures([]) == {}


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert Spread.of([5, 1, 9]) == Spread(5, 1, 9)
    assert Spread.of([1, 2]) == Spread(1.5, 1, 2)
    with pytest.raises(ValueError, match="no rounds"):
        Spread.of([])


def test_a_ratio_is_of_medians_with_the_extremes_of_the_rounds() -> None:
    found = ratio([10, 20, 30], [10, 10, 10])
    assert found == Spread(2, 1, 3)


def test_what_slows_a_whole_round_does_not_widen_the_ratio() -> None:
    found = ratio([10, 5, 10], [20, 10, 20])
    assert found == Spread(0.5, 0.5, 0.5)


def test_the_ratio_of_the_medians_is_within_its_extremes() -> None:
    found = ratio([1, 10, 4], [1, 5, 10])
    assert found.least <= found.median <= found.most


def test_nothing_can_be_divided_by_nothing() -> None:
    with pytest.raises(ValueError, match="divide"):
        ratio([1.0], [0.0])

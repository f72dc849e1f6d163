"""Which lines of a flood are written."""

from __future__ import annotations

from gateway.runtime.line_budget import BURST, PER_SECOND, LineBudget


def test_a_burst_is_written_and_then_so_many_a_second() -> None:
    budget = LineBudget()
    assert [budget.take(100.0) for _ in range(BURST + 30)] == [0] * BURST + [None] * 30
    assert budget.take(100.0 + 1.01 / PER_SECOND) == 30
    assert budget.take(100.0 + 1.02 / PER_SECOND) is None
    assert budget.take(100.0 + 2.03 / PER_SECOND) == 1
    later = [budget.take(1000.0) for _ in range(2 * BURST)]
    assert later == [0] * BURST + [None] * BURST


def test_a_clock_that_goes_back_grants_nothing() -> None:
    budget = LineBudget()
    for _ in range(BURST):
        budget.take(100.0)
    assert budget.take(0.0) is None

"""Sets of numbers as spans, against Python's own sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.usage.coverage import Spans, contains, count, subtract, unite


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_a_union_is_the_union(spans: list[tuple[int, int]]) -> None:
    expected = {number for start, stop in spans for number in range(start, stop)}
    found = unite(spans)
    assert {number for start, stop in found for number in range(start, stop)} == expected
    assert count(found) == len(expected)
    assert all(first[1] < second[0] for first, second in pairwise(found))
    assert [number for number in range(31) if contains(found, number)] == sorted(expected)


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))).map(unite)


@given(SPANS, SPANS)
def test_a_difference_is_the_difference(spans: Spans, taken: Spans) -> None:
    found = subtract(spans, taken)
    assert [number for number in range(31) if contains(found, number)] == [
        number for number in range(31) if contains(spans, number) and not contains(taken, number)
    ]
    assert unite(found) == found

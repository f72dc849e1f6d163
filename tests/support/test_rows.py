"""Tables that are tried in one test: no row is lost, and each failure has its name."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from tests.support.rows import each_row


def test_every_row_is_tried_and_all_that_fail_are_named() -> None:
    tried = []

    @each_row(("number", "text"), [(1, "a"), pytest.param(2, "b", id="the second"), [3, "c"]])
    def test(number: int, text: str) -> None:
        tried.append((number, text))
        assert number == 1

    with pytest.raises(BaseExceptionGroup, match="2 of 3 rows failed") as raised:
        test()
    assert tried == [(1, "a"), (2, "b"), (3, "c")]
    notes = [error.__notes__ for error in raised.value.exceptions]
    assert notes == [["the second: number=2, text='b'"], ["row 2: number=3, text='c'"]]


def test_what_pytest_fails_is_a_failure_of_its_row() -> None:
    @each_row("value", [1, 2], ids=["one", "two"])
    def test(value: int) -> None:
        if value == 2:
            pytest.fail("it is two")

    with pytest.raises(BaseExceptionGroup) as raised:
        test()
    [error] = raised.value.exceptions
    assert "it is two" in str(error)
    assert error.__notes__ == ["two: value=2"]


def test_fixtures_stay_and_tables_can_be_combined() -> None:
    tried: list[Any] = []

    @each_row("left", "ab", ids=str.upper)
    @each_row("right", range(2))
    async def test(left: str, plane: str, right: int) -> None:
        tried.append((left, plane, right))

    assert list(inspect.signature(test).parameters) == ["plane"]
    asyncio.run(test(plane="the plane"))
    assert tried == [(left, "the plane", right) for left in "ab" for right in range(2)]


def test_rows_of_an_asynchronous_test_fail_one_by_one() -> None:
    @each_row("value", [1, 0, 2])
    async def test(value: int) -> None:
        await asyncio.sleep(0)
        assert value

    with pytest.raises(BaseExceptionGroup, match="1 of 3 rows failed"):
        asyncio.run(test())


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ("value", []),
        (("value", "other"), [(1,)]),
        ("value", [pytest.param(1, marks=pytest.mark.slow)]),
        ("unknown", [1]),
    ],
)
def test_a_table_that_would_be_tried_in_part_is_refused(names: Any, rows: list[Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011

        @each_row(names, rows)
        def test(value: int, other: int = 0) -> None:
            pass

"""When lost webhooks are looked for, and from where on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.platforms.reconciliation import (
    INTERVAL,
    MOST_BACK,
    OVERLAP,
    Cursor,
    advance,
    begin,
    first_cursor,
    is_due,
    read_cursor,
    write_cursor,
)

NOW = 1_790_000_000_000


def test_a_first_run_covers_the_time_since_the_connection_was_made() -> None:
    cursor = first_cursor(NOW - 5000)
    assert is_due(cursor, NOW)
    assert begin(cursor, NOW) == Cursor(done=NOW - 5000, since=NOW - 5000 - OVERLAP, until=NOW)


def test_a_run_goes_page_by_page_and_on_after_a_restart() -> None:
    cursor = begin(first_cursor(NOW - INTERVAL), NOW)
    cursor = advance(cursor, "page 2", "mark 1", NOW + 1)
    restarted = read_cursor(json.loads(json.dumps(write_cursor(cursor))), 0)
    assert restarted == cursor
    assert is_due(restarted, NOW + 2)
    assert begin(restarted, NOW + 99) == cursor  # the same time, the next page
    assert advance(restarted, None, None, NOW + 3) == Cursor(done=NOW, mark="mark 1", finished=NOW + 3)


def test_the_next_run_is_an_hour_later_and_overlaps() -> None:
    cursor = Cursor(done=NOW, mark="m", finished=NOW + 10)
    assert not is_due(cursor, NOW + 10)
    assert not is_due(cursor, NOW + 10 + INTERVAL - 1)
    assert is_due(cursor, NOW + 10 + INTERVAL)
    assert is_due(cursor, NOW - 1), "the clock was set back"
    later = begin(cursor, NOW + 10 + INTERVAL)
    assert (later.since, later.until, later.mark) == (NOW - OVERLAP, NOW + 10 + INTERVAL, "m")


def test_a_long_break_is_looked_through_as_far_back_as_platforms_remember() -> None:
    assert begin(Cursor(done=0), NOW).since == NOW - MOST_BACK


def test_a_page_that_leads_to_itself_ends_the_run() -> None:
    cursor = replace(begin(Cursor(done=NOW), NOW), page="x")
    assert advance(cursor, "x", None, NOW).finished == NOW


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "x",
        {},
        {"done": 1},
        {**write_cursor(Cursor(1)), "done": "1"},
        {**write_cursor(Cursor(1)), "page": 1},
        {**write_cursor(Cursor(1)), "done": None},
        {**write_cursor(Cursor(1)), "more": 1},
    ],
)
def test_what_is_no_cursor_is_a_new_one(content: Any) -> None:
    assert read_cursor(content, 7) == first_cursor(7)


@given(st.lists(st.tuples(st.integers(0, 4 * INTERVAL), st.integers(0, 4))))
def test_runs_leave_no_gap(steps: list[tuple[int, int]]) -> None:
    """However long the pauses and the runs, the next run begins before the one before ended."""
    cursor, now = first_cursor(NOW), NOW
    for pause, pages in steps:
        now += pause
        before = cursor.done
        cursor = begin(cursor, now)
        assert cursor.since is not None
        assert cursor.since <= before
        for page in range(pages):
            cursor = advance(cursor, str(page), None, now)
        cursor = advance(cursor, None, None, now)
        assert cursor.done == now

"""Refused attempts are counted by name, together with other processes, in memory that does not grow."""

from __future__ import annotations

import os
import time
import tracemalloc

import pytest

from gateway.runtime import attempts
from gateway.runtime.attempts import ROWS, WINDOW_SECONDS, Attempts, AttemptTable, new_table


@pytest.fixture
def table() -> AttemptTable:
    return AttemptTable()


def test_a_minute_begins_with_the_first_attempt(table: AttemptTable) -> None:
    assert [table.add("a", now) for now in (100, 100, 159)] == [(1, 100), (2, 100), (3, 100)]
    assert table.add("b", 130) == (1, 130)
    assert table.add("a", 160) == (1, 160)
    assert table.add("b", 161) == (2, 130)


def test_processes_count_together() -> None:
    memory = new_table()
    one, other = AttemptTable(memory), AttemptTable(memory)
    os.close(memory)
    assert [each.add("a", 7)[0] for each in (one, other, one, other)] == [1, 2, 3, 4]


def test_names_are_not_readable_in_the_memory() -> None:
    memory = new_table()
    AttemptTable(memory).add("203.0.113.7", 7)
    assert b"203.0.113.7" not in os.pread(memory, attempts.TABLE_BYTES, 0)
    os.close(memory)


@pytest.mark.slow
def test_a_flood_of_addresses_takes_no_memory_and_leaves_the_worst_alone(table: AttemptTable) -> None:
    """Ten times as many names as rows. Who has tried most often stays counted."""
    line = Attempts(600, table)
    now = int(time.monotonic())
    for _ in range(500):
        table.add("worst", now)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(ROWS // 4):
        line.note_refused(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 64 * 1024
    assert not line.over
    for number in range(10 * ROWS // 100):
        table.add(f"172.{number}", now)
    assert table.add("worst", now)[0] == 501


def test_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.5]
    monkeypatch.setattr(attempts, "monotonic", lambda: now[0])
    line = Attempts(3)
    assert [line.note_refused("a") for _ in range(3)] == [0, 0, 0]
    assert not line.over
    assert line.note_refused("a") == WINDOW_SECONDS
    assert (line.seconds_over("a"), line.seconds_over("b")) == (WINDOW_SECONDS, 0)
    now[0] += 58.6
    assert line.seconds_over("a") == 1
    assert line.note_refused("a") == 1
    now[0] += 1
    assert line.seconds_over("a") == 0
    now[0] += attempts.SWEEP_SECONDS
    assert (line.seconds_over("b"), line.over) == (0, {})
    assert line.note_refused("a") == 0


def test_what_was_valid_may_be_tried_over_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(attempts, "monotonic", lambda: now[0])
    line = Attempts(1)
    line.note_valid("good")
    for _ in range(2):
        line.note_refused("a", "bad")
    assert (line.seconds_over("a", "good"), line.seconds_over("a", "bad")) == (0, 60)
    now[0] += 599
    line.rotate()
    line.note_refused("a")
    line.note_refused("a")
    assert line.seconds_over("a", "good") == 0
    line.note_refused("a", "good")  # it was revoked
    assert line.seconds_over("a", "good") == 60


def test_valid_secrets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(attempts, "monotonic", lambda: now[0])
    monkeypatch.setattr(attempts, "VALID_KEPT", 100)
    line = Attempts(1)
    line.note_valid("old")
    for _ in range(2):
        now[0] += attempts.VALID_SECONDS
        line.rotate()
    assert not line.is_valid("old")
    for number in range(1000):
        line.note_valid(str(number))
        line.rotate()
    assert sum(line.is_valid(str(number)) for number in range(1000)) <= 200
    assert line.is_valid("999")


def test_who_is_over_is_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(attempts, "monotonic", lambda: now[0])
    monkeypatch.setattr(attempts, "OVER_KEPT", 10)
    line = Attempts(1)
    for number in range(100):
        line.note_refused(str(number))
        line.note_refused(str(number))
    assert len(line.over) == 10
    now[0] += 61
    assert line.seconds_over("99") == 0
    assert not line.over


@pytest.mark.parametrize(("limit", "name"), [(0, "a"), (1, "")])
def test_no_line_and_nobody(limit: int, name: str) -> None:
    line = Attempts(limit)
    assert [line.note_refused(name) for _ in range(3)] == [0, 0, 0]


def test_kinds_count_apart(table: AttemptTable) -> None:
    one, other = Attempts(1, table, "key "), Attempts(1, table, "link ")
    assert [one.note_refused("a"), other.note_refused("a")] == [0, 0]
    assert one.note_refused("a") > 0

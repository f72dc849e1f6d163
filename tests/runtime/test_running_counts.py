"""What runs for a name is counted by all processes together, without what a dead process counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.runtime import running_counts
from gateway.runtime.attempts import TABLE_BYTES, AttemptTable
from gateway.runtime.running_counts import RunningCounts, new_memory
from tests.support.processes import ROOT

OTHER = """
import sys
from gateway.runtime.attempts import AttemptTable
from gateway.runtime.running_counts import RunningCounts
counts = RunningCounts(int(sys.argv[2]), AttemptTable(int(sys.argv[1])))
for line in sys.stdin:
    action, name = line.split()
    print(getattr(counts, action)(name), flush=True)
"""


class Other:
    """Another process that counts. `ask` is one call of a method with a name."""

    def __init__(self, memory: int, limit: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(memory), str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[memory],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def ask(self, action: str, name: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{action} {name}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def memory() -> Iterator[int]:
    made = new_memory()
    yield made
    os.close(made)


@contextmanager
def other(memory: int, limit: int = 3) -> Iterator[Other]:
    process = Other(memory, limit)
    try:
        yield process
    finally:
        process.end()


def test_a_limit_of_one_process() -> None:
    counts = RunningCounts(2)
    assert [counts.enter(name) for name in "aaab"] == [True, True, False, True]
    counts.leave("a")
    assert [counts.enter("a"), counts.enter("a")] == [True, False]
    counts.add("a")  # has begun already
    counts.leave("a")
    assert not counts.enter("a")
    for _ in range(2):
        counts.leave("a")
    assert [counts.running(name) for name in "ab"] == [0, 1]


@pytest.mark.parametrize(("limit", "name"), [(0, "a"), (1, "")])
def test_nobody_is_limited(memory: int, limit: int, name: str) -> None:
    counts = RunningCounts(limit, AttemptTable(memory))
    assert all(counts.enter(name) for _ in range(5))
    counts.add(name)
    for _ in range(6):
        counts.leave(name)


def test_processes_count_together(memory: int) -> None:
    counts = RunningCounts(3, AttemptTable(memory))
    with other(memory) as second, other(memory) as third:
        assert [second.ask("enter", "a"), second.ask("enter", "a"), third.ask("enter", "a")] == ["True"] * 3
        assert [second.ask("enter", "a"), third.ask("enter", "a")] == ["False", "False"]
        assert not counts.enter("a")
        assert counts.enter("b")
        assert second.ask("running", "b") == "1"
        second.ask("leave", "a")
        assert counts.enter("a")
        assert third.ask("running", "a") == "3"


def test_what_a_dead_process_counted_does_not_stay_and_its_block_is_used_again(memory: int) -> None:
    counts = RunningCounts(3, AttemptTable(memory))
    with other(memory) as second:
        for _ in range(3):
            assert second.ask("enter", "a") == "True"
        assert not counts.enter("a")
        os.kill(second.process.pid, signal.SIGSTOP)
        assert not counts.enter("a")  # its connections are still open
        second.end()
        assert counts.enter("a")
        assert counts.running("a") == 1
    with other(memory) as third:
        assert third.ask("running", "a") == "1"
        assert [third.ask("enter", "a") for _ in range(3)] == ["True", "True", "False"]


def test_one_that_takes_the_place_of_a_dead_process_begins_with_nothing(memory: int) -> None:
    with other(memory) as first:
        first.ask("add", "a")
    with other(memory) as second:
        assert second.ask("running", "a") == "0"


def test_a_name_without_room_is_limited_by_its_process(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_counts, "WAYS", 1)
    monkeypatch.setattr(running_counts, "ROWS", 1)
    counts = RunningCounts(2, AttemptTable(memory))
    assert [counts.enter(name) for name in ("a", "b", "b", "b", "a")] == [True, True, True, False, True]
    for name in "aabb":
        counts.leave(name)
    assert counts.enter("c")
    assert counts.running("c") == 1


def test_more_processes_than_blocks_count_by_themselves(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_counts, "OWNERS", 1)
    with other(memory) as first:
        assert [first.ask("enter", "a") for _ in range(3)] == ["True"] * 3
        counts = RunningCounts(3, AttemptTable(memory))
        assert [counts.enter("a") for _ in range(4)] == [True] * 3 + [False]


def test_names_are_not_readable_in_the_memory(memory: int) -> None:
    RunningCounts(3, AttemptTable(memory)).add("203.0.113.7")
    assert b"203.0.113.7" not in os.pread(memory, 8 << 20, TABLE_BYTES)

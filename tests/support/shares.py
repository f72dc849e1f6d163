"""Which process of a test run gets which tests: a few at a time, and, if possible, tests of one module."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

PIECE = 4
"""Tests that a process gets at a time: few, so that all processes end at about the same time."""


@dataclass(eq=False)
class Group:
    """Consecutive tests of one module that nobody has got yet, by number. begun: a process works on it."""

    module: Path
    numbers: deque[int] = field(default_factory=deque)
    begun: bool = False

    @property
    def folder(self) -> Path:
        return self.module.parent


class Shares:
    """All tests that nobody has got yet.

    A process stays with one module, and then with one folder, as long as they have tests left: so fixtures of
    a module, and of the session, are made in few processes.
    """

    def __init__(self, modules: Sequence[Path]) -> None:
        """modules: that of each test, in the order of the tests."""
        self._groups: list[Group] = []
        for module, numbered in groupby(enumerate(modules), key=lambda each: each[1]):
            self._groups.append(Group(module, deque(number for number, _ in numbered)))
        self._busy: Counter[Path] = Counter()

    def take(self, before: Group | None = None) -> tuple[Group | None, list[int]]:
        """The next tests for a process, and their group; None when no test is left.

        before: the group that the process has worked on so far.
        """
        group = self._choose(before)
        if before is not None:
            self._busy[before.folder] -= 1
        if group is None:
            return None, []
        self._busy[group.folder] += 1
        group.begun = True
        return group, [group.numbers.popleft() for _ in range(min(PIECE, len(group.numbers)))]

    def put_back(self, group: Group, numbers: Sequence[int]) -> None:
        """Take back tests that a process did not come to, which works no more."""
        self._busy[group.folder] -= 1
        group.numbers.extendleft(reversed(numbers))
        group.begun = False
        if group not in self._groups:
            self._groups.append(group)

    def _choose(self, before: Group | None) -> Group | None:
        if before is not None and before.numbers:
            return before
        self._groups = [group for group in self._groups if group.numbers]
        fresh = [group for group in self._groups if not group.begun]
        if not fresh:  # help with the group of which most is left
            return max(self._groups, key=lambda group: len(group.numbers), default=None)
        near = [group for group in fresh if before is not None and group.folder == before.folder]
        if near:
            return near[0]
        left = Counter[Path]()
        for group in fresh:
            left[group.folder] += len(group.numbers)
        folder = max(left, key=lambda each: left[each] / (1 + self._busy[each]))
        return next(group for group in fresh if group.folder == folder)

"""The parts of `check`. Each returns findings, and raises no exception for the faults that it checks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding counts: only `fail` makes `check` exit with 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was checked, what was found, and how to repair it."""

    subject: str
    level: Level
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The text and the remedy in one line."""
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


def passed(subject: str, text: str) -> Finding:
    """Make a finding: this works."""
    return Finding(subject, Level.OK, text)


def warned(subject: str, text: str, remedy: str) -> Finding:
    """Make a finding: this works, but not as well or as safely as it should."""
    return Finding(subject, Level.WARN, text, remedy)


def failed(subject: str, text: str, remedy: str = "") -> Finding:
    """Make a finding: this does not work."""
    return Finding(subject, Level.FAIL, text, remedy)


def skipped(subject: str, text: str) -> Finding:
    """Make a finding: this was not checked."""
    return Finding(subject, Level.SKIP, text)

"""What `check` looks at. Each part returns findings; none of them raises for what it looks for."""

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
    """One line of the report. subject: what was looked at; text: what was found; mend: the remedy."""

    subject: str
    level: Level
    text: str
    mend: str = ""

    @property
    def line(self) -> str:
        """Text and remedy in one line."""
        return f"{self.text}: {self.mend}" if self.mend else self.text


def passed(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(subject, Level.OK, text)


def warned(subject: str, text: str, mend: str) -> Finding:
    """It works, but not as well or as safely as it should."""
    return Finding(subject, Level.WARN, text, mend)


def failed(subject: str, text: str, mend: str = "") -> Finding:
    """It does not work."""
    return Finding(subject, Level.FAIL, text, mend)


def skipped(subject: str, text: str) -> Finding:
    """It was not looked at."""
    return Finding(subject, Level.SKIP, text)

"""What can go wrong while measuring, told in one line."""

from __future__ import annotations


class BenchError(Exception):
    """The bench cannot go on; the text says what is wrong and how to mend it."""


class WrongAnswers(BenchError):
    """A server did not answer as it must: its figures would mean nothing, so there are none."""

"""The errors of the bench. Each is printed as one line."""

from __future__ import annotations


class BenchError(Exception):
    """The bench cannot go on. The text says what is wrong and how to fix it."""


class WrongResponse(BenchError):
    """A server sent a wrong response: its figures would mean nothing, so none are given."""

"""Sets of whole numbers as spans that do not touch: what was sent of a file, which events were applied. Pure.

A set is a sorted tuple of spans (start, stop) with start < stop, of which each starts after the one before it
has stopped.
"""

from __future__ import annotations

from collections.abc import Iterable

Spans = tuple[tuple[int, int], ...]


def unite(spans: Iterable[tuple[int, int]]) -> Spans:
    """The set of all numbers that are in any of the spans, which may be in any order and overlap."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            if stop > found[-1][1]:
                found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return tuple(found)


def subtract(spans: Spans, taken: Spans) -> Spans:
    """The set of all numbers that are in `spans` and not in `taken`."""
    found: list[tuple[int, int]] = []
    place = 0
    for first, stop in spans:
        start = first
        while place < len(taken) and taken[place][1] <= start:
            place += 1
        number = place
        while number < len(taken) and taken[number][0] < stop:
            if taken[number][0] > start:
                found.append((start, taken[number][0]))
            start = max(start, taken[number][1])
            number += 1
        if start < stop:
            found.append((start, stop))
    return tuple(found)


def count(spans: Spans) -> int:
    """How many numbers are in a set."""
    return sum(stop - start for start, stop in spans)


def contains(spans: Spans, number: int) -> bool:
    """Whether a number is in a set."""
    return any(start <= number < stop for start, stop in spans)

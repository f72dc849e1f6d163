"""Percentiles, medians and ratios. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ascending values. share: from 0 to 1.

    It is the smallest value that at least this share of the values do not exceed. It never interpolates, so
    it is a value that was really measured. Raises ValueError without values.
    """
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_figures(seconds: Sequence[float]) -> dict[str, float]:
    """The percentiles that are reported, in milliseconds; empty without values."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "p50_ms": 1000 * percentile(ordered, 0.50),
        "p90_ms": 1000 * percentile(ordered, 0.90),
        "p99_ms": 1000 * percentile(ordered, 0.99),
        "p999_ms": 1000 * percentile(ordered, 0.999),
        "max_ms": 1000 * ordered[-1],
    }


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds: the median, the least and the greatest value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these values. Raises ValueError without values."""
        if not values:
            raise ValueError("no rounds, no median")
        return cls(median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours divided by theirs: the ratio of the medians, and the extremes of the ratios round by round.

    The rounds alternate, so that what disturbs the machine for a while disturbs both sides of a round alike.
    If one side has fewer rounds, the extremes are those of the rounds that both have. Raises ValueError if
    there is nothing to divide by.
    """
    rounds = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    divisor = Spread.of(theirs).median
    if not divisor or not rounds:
        raise ValueError("nothing to divide by")
    whole = Spread.of(ours).median / divisor
    return Spread(whole, min(*rounds, whole), max(*rounds, whole))

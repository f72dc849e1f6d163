"""Percentiles, medians and ratios. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the ascending values do not exceed: nearest rank.

    Never interpolates: what is told was really measured. Raises ValueError without values.
    """
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_figures(seconds: Sequence[float]) -> dict[str, float]:
    """The percentiles that are reported, in milliseconds. Empty without values."""
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
    """What several rounds gave: the median, and the least and the greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError without values."""
        if not values:
            raise ValueError("no rounds, no median")
        return cls(median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours by theirs: the ratio of the medians, and the extremes of the ratios round by round.

    The rounds alternate, so what disturbs the machine for a while disturbs both sides of a round alike. A
    side that failed in some round makes the round-by-round extremes those of the rounds both have.
    """
    rounds = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    middle = Spread.of(theirs).median
    if not middle or not rounds:
        raise ValueError("nothing to divide by")
    whole = Spread.of(ours).median / middle
    return Spread(whole, min(*rounds, whole), max(*rounds, whole))

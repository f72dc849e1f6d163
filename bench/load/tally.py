"""What a generator saw: one shape for all generators, and for JSON between processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from bench.report.stats import latency_figures


@dataclass
class Tally:
    """Counted while the load runs. latencies: in seconds, one for each response. bytes: all that arrived."""

    seconds: float = 0.0
    bytes: int = 0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    late: float = 0.0
    """The most by which the generator itself was behind its schedule, in seconds."""

    @property
    def responses(self) -> int:
        """Complete responses, whatever their status."""
        return sum(self.statuses.values())

    def figures(self) -> dict[str, float]:
        """Rates and percentiles, by the names in bench.report.figures."""
        if not self.seconds:
            return {}
        return {
            "rps": self.responses / self.seconds,
            "mbps": self.bytes / self.seconds / 1e6,
            **latency_figures(self.latencies),
        }

    def to_json(self) -> dict[str, Any]:
        """The tally as JSON, with the percentiles instead of each latency. `TallySummary` reads it."""
        return {
            "seconds": self.seconds,
            "bytes": self.bytes,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "faults": dict(self.faults),
            "late": self.late,
            "latency": latency_figures(self.latencies),
        }


@dataclass(frozen=True)
class TallySummary:
    """The tally of a generator in another process. latency: percentiles, by their names as figures."""

    seconds: float
    bytes: int
    statuses: dict[int, int]
    faults: dict[str, int]
    late: float
    latency: dict[str, float]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `Tally.to_json` made."""
        statuses = {int(status): count for status, count in data["statuses"].items()}
        return cls(**{**data, "statuses": statuses})

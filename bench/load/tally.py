"""What a generator saw: one shape for all of them, and for JSON between processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from bench.report.stats import latency_figures


@dataclass
class Tally:
    """Counted while the load runs. Latencies in seconds, one an answer; `bytes` of whole answers."""

    seconds: float = 0.0
    bytes: int = 0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    late: float = 0.0
    """The most by which the generator itself was behind its schedule."""

    @property
    def answers(self) -> int:
        """Complete answers, whatever their status."""
        return sum(self.statuses.values())

    def figures(self) -> dict[str, float]:
        """Rates and percentiles, by the names of bench.model."""
        if not self.seconds:
            return {}
        return {
            "rps": self.answers / self.seconds,
            "mbps": self.bytes / self.seconds / 1e6,
            **latency_figures(self.latencies),
        }

    def plain(self) -> dict[str, Any]:
        """For JSON: the percentiles, not each latency."""
        return {
            "seconds": self.seconds,
            "bytes": self.bytes,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "faults": dict(self.faults),
            "late": self.late,
            "latency": latency_figures(self.latencies),
        }


@dataclass(frozen=True)
class Heard:
    """A tally told by another process."""

    seconds: float
    bytes: int
    statuses: dict[int, int]
    faults: dict[str, int]
    late: float
    latency: dict[str, float]

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Read what `Tally.plain` gave."""
        statuses = {int(status): count for status, count in plain["statuses"].items()}
        return cls(**{**plain, "statuses": statuses})

    @property
    def answers(self) -> int:
        """Complete answers, whatever their status."""
        return sum(self.statuses.values())

"""What is measured, and how it is shown: figures, targets, results. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bench.report.stats import Spread, ratio

DISTURBED_PERCENT: Final = 10.0
"""Above this share of the server's CPU in use by others, a result carries a warning."""

FULL_PERCENT: Final = 95.0
"""From this share on a CPU counts as full."""

Sample = Mapping[str, float]
"""One round's figures of one participant, by the names in FIGURES."""


@dataclass(frozen=True)
class Figure:
    """How a figure is shown. good: which way is better."""

    title: str
    unit: str
    good: Literal["more", "less"]
    digits: int = 0


FIGURES: Final = {
    "rps": Figure("requests", "/s", "more"),
    "mbps": Figure("throughput", "MB/s", "more"),
    "p50_ms": Figure("p50", "ms", "less", 2),
    "p90_ms": Figure("p90", "ms", "less", 2),
    "p99_ms": Figure("p99", "ms", "less", 2),
    "p999_ms": Figure("p99.9", "ms", "less", 2),
    "max_ms": Figure("slowest", "ms", "less", 1),
    "cpu_us": Figure("CPU a request", "µs", "less", 1),
    "cpu_gb": Figure("CPU a GB", "s", "less", 3),
    "server_busy": Figure("server busy", "%", "less"),
    "load_busy": Figure("load busy", "%", "less"),
    "others": Figure("others there", "%", "less"),
    "cpu_share": Figure("CPU", "%", "less", 1),
    "memory_mib": Figure("memory", "MiB", "less", 1),
    "memory_kib": Figure("memory a connection", "KiB", "less", 1),
    "kernel_kib": Figure("kernel buffers a connection", "KiB", "less", 1),
    "pace": Figure("clients at their pace", "%", "more", 1),
    "alone_p99_ms": Figure("p99 of small alone", "ms", "less", 2),
    "beside_p99_ms": Figure("p99 of small beside", "ms", "less", 2),
    "p99_times": Figure("p99 beside / alone", "×", "less", 2),
    "cold_share": Figure("spans read from disk", "%", "more"),
    "cold_mbps": Figure("cold throughput", "MB/s", "more"),
    "token_bytes": Figure("Redis memory a token", "bytes", "less"),
}


@dataclass(frozen=True)
class Target:
    """The value that a figure of `subject` is to reach, by itself or divided by another participant's.

    wanted: the value. against: the other participant. at: whether the value is a minimum or a maximum.
    """

    figure: str
    wanted: float
    against: str | None = None
    at: Literal["least", "most"] = "least"
    subject: str = "gateway"

    @property
    def text(self) -> str:
        """The target as it is shown."""
        figure = FIGURES[self.figure]
        sign = "≥" if self.at == "least" else "≤"
        if self.against is None:
            return f"{figure.title} {sign} {self.wanted:g} {figure.unit}"
        return f"{figure.title} {sign} {self.wanted:g} × {self.against}"

    def reached(self, rounds: Mapping[str, list[Sample]]) -> Spread | None:
        """The value that was reached; None if one of the participants has no figures."""
        ours = [sample[self.figure] for sample in rounds.get(self.subject, ()) if self.figure in sample]
        if not ours:
            return None
        if self.against is None:
            return Spread.of(ours)
        theirs = [sample[self.figure] for sample in rounds.get(self.against, ()) if self.figure in sample]
        return ratio(ours, theirs) if any(theirs) else None

    def met(self, value: float) -> bool:
        """Whether a value meets the target."""
        return value >= self.wanted if self.at == "least" else value <= self.wanted


@dataclass
class Result:
    """The result of one scenario.

    rounds: the samples of each participant. absent: why a participant has no figures. shown: the figures in
    the table.
    """

    name: str
    title: str
    shown: tuple[str, ...]
    targets: tuple[Target, ...]
    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def spread(self, participant: str, figure: str) -> Spread | None:
        """Median and extremes of a figure over the rounds; None if no round has it."""
        values = [sample[figure] for sample in self.rounds.get(participant, ()) if figure in sample]
        return Spread.of(values) if values else None

    def ratios(self, figure: str, subject: str = "gateway") -> dict[str, Spread]:
        """The subject's figure divided by each other participant's."""
        ratios = {}
        for other in self.rounds:
            if other != subject:
                reached = Target(figure, 0, other, subject=subject).reached(self.rounds)
                if reached is not None:
                    ratios[other] = reached
        return ratios

    def warnings(self) -> list[str]:
        """Why the figures say less than they seem to: others used the CPU, or the load was the bottleneck."""
        warnings, disturbed, full = [], [], []
        for name in self.rounds:
            others = self.spread(name, "others")
            load, server = self.spread(name, "load_busy"), self.spread(name, "server_busy")
            if others is not None and others.median > DISTURBED_PERCENT:
                disturbed.append(f"{name} {others.median:.0f} %")
            if load and server and load.median > FULL_PERCENT > server.median:
                full.append(name)
        if disturbed:
            warnings.append(
                f"others used the server's CPU ({', '.join(disturbed)}): repeat this on a quiet machine; "
                "until then, CPU times say more than requests/s and MB/s"
            )
        if full:
            warnings.append(
                f"the load's CPU was full before the server's ({', '.join(full)}): these servers could do "
                "more, and their CPU times say how much"
            )
        return warnings

    def to_json(self) -> dict[str, Any]:
        """The result as JSON, with every round."""
        targets = []
        for target in self.targets:
            reached = target.reached(self.rounds)
            targets.append(
                {
                    "text": target.text,
                    "figure": target.figure,
                    "wanted": target.wanted,
                    "at": target.at,
                    "subject": target.subject,
                    "against": target.against,
                    "reached": None if reached is None else reached.median,
                    "range": None if reached is None else [reached.least, reached.most],
                    "met": None if reached is None else target.met(reached.median),
                }
            )
        return {
            "name": self.name,
            "title": self.title,
            "shown": list(self.shown),
            "rounds": {name: [dict(sample) for sample in samples] for name, samples in self.rounds.items()},
            "absent": self.absent,
            "notes": [*self.notes, *self.warnings()],
            "targets": targets,
        }


@dataclass
class LoadReport:
    """The result of `load`. generator: what sent the requests. figures: by the names in FIGURES."""

    generator: str
    figures: dict[str, float]
    statuses: dict[str, int]
    faults: dict[str, int]
    notes: list[str] = field(default_factory=list)

"""What a scenario is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bench.load.control import Effort
from bench.load.wrk import INSTALL
from bench.peers import PEERS, Kind, Options, Server
from bench.report.figures import Result, Sample, Target
from bench.testbed.machine import tool_path
from bench.testbed.testbed import Ground


@dataclass
class Contestant:
    """One that takes part in a scenario: a peer, started with these options. No peer: nothing is started."""

    label: str
    peer: str
    options: Options
    server: Server | None = None
    warm: set[str] = field(default_factory=set)
    """What was done once already; see `Scenario.measure`."""

    @property
    def running(self) -> Server:
        """Its server, which runs."""
        assert self.server is not None
        return self.server


class Scenario(ABC):
    """One scenario. `name` may be a part of a group: `large-1` is run by `--scenario large` too."""

    name: ClassVar[str]
    title: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]
    """Figures of the table; of the first, the ratios are told."""

    targets: ClassVar[tuple[Target, ...]] = ()
    kind: ClassVar[Kind] = Kind.DOWNLOAD
    peers: ClassVar[tuple[str, ...] | None] = None
    """Those it makes sense for; None for all that serve files of this machine."""

    bulk: ClassVar[bool] = False
    fresh: ClassVar[bool] = False
    """Whether each round needs a server just started."""

    once: ClassVar[bool] = False
    """Whether one round is enough."""

    needs_wrk: ClassVar[bool] = True

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        """Who takes part, of the peers asked for."""
        options = Options(ground.cores.server, bulk=self.bulk)
        return [Contestant(name, name, options) for name in peers if self.includes(name)]

    def includes(self, peer: str) -> bool:
        """Whether it makes sense for a peer."""
        return PEERS[peer].local if self.peers is None else peer in self.peers

    def unable(self) -> str | None:
        """Why this scenario cannot be run here and what would help; None when it can."""
        return f"wrk is missing: {INSTALL}" if self.needs_wrk and tool_path("wrk") is None else None

    def suits(self, kinds: frozenset[Kind], *, checks: bool) -> str | None:
        """Why a peer cannot take part; None when it can."""
        del checks
        return None if self.kind in kinds else "has no such function"

    @abstractmethod
    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        """One round. Raises WrongAnswers for answers that are not right, BenchError when it cannot be."""

    def result(self) -> Result:
        """An empty result of this scenario."""
        return Result(self.name, self.title, self.shown, self.targets)

"""What a scenario is, and who takes part in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bench.load.control import LoadOptions
from bench.load.wrk import INSTALL
from bench.peers import PEERS, RequestKind, Server, StartOptions
from bench.report.figures import Result, Sample, Target
from bench.testbed.machine import tool_path
from bench.testbed.testbed import Testbed


@dataclass
class Participant:
    """A peer that takes part in a scenario, started with these options.

    label: its name in the report. peer: its name in PEERS; empty where nothing is started.
    """

    label: str
    peer: str
    options: StartOptions
    server: Server | None = None
    warmed_up: set[str] = field(default_factory=set)
    """Names of the steps that `Scenario.measure` does only once for each participant."""

    @property
    def running(self) -> Server:
        """Its server, which must be running."""
        assert self.server is not None
        return self.server


class Scenario(ABC):
    """One scenario. Its name may belong to a group: `--scenario large` also runs `large-1`."""

    name: ClassVar[str]
    title: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]
    """The figures in the table. Ratios are given of the first one."""

    targets: ClassVar[tuple[Target, ...]] = ()
    kind: ClassVar[RequestKind] = RequestKind.DOWNLOAD
    peers: ClassVar[tuple[str, ...] | None] = None
    """The peers that it makes sense for; None for all that serve files of this machine."""

    bulk: ClassVar[bool] = False
    """Whether it requests large files."""

    fresh: ClassVar[bool] = False
    """Whether each round needs a newly started server."""

    once: ClassVar[bool] = False
    """Whether one round is enough."""

    needs_wrk: ClassVar[bool] = True

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        """Those of the requested peers that take part."""
        options = StartOptions(testbed.cores.server, bulk=self.bulk)
        return [Participant(name, name, options) for name in peers if self.includes(name)]

    def includes(self, peer: str) -> bool:
        """Whether the scenario makes sense for a peer."""
        return PEERS[peer].local if self.peers is None else peer in self.peers

    def unavailable(self) -> str | None:
        """Why this scenario cannot run on this machine, and what would help; None if it can."""
        return f"wrk is missing: {INSTALL}" if self.needs_wrk and tool_path("wrk") is None else None

    def exclusion(self, kinds: frozenset[RequestKind], *, checks: bool) -> str | None:
        """Why a peer cannot take part; None if it can. kinds, checks: of the peer."""
        del checks
        return None if self.kind in kinds else "has no such function"

    @abstractmethod
    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        """One round. Raises WrongResponse for a wrong response, BenchError if it cannot be measured."""

    def result(self) -> Result:
        """An empty result of this scenario."""
        return Result(self.name, self.title, self.shown, self.targets)

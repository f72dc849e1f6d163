"""The scenarios of a comparison: what is asked, how it is measured, and what shall come out."""

from __future__ import annotations

import random
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from bench.errors import WrongAnswers
from bench.ground import BIG, SIZES, SMALL, Ground
from bench.load.wrk import INSTALL, Load, parse_wrk, write_requests, wrk_command
from bench.machine import tool_path
from bench.measure import Meter, busy_seconds
from bench.model import Result, Sample, Target
from bench.peers import Kind, Options, Server
from bench.probe import expect

SPAN = 64 << 10
SAMPLES = 3
"""Answers checked byte for byte before each run."""

SEED = 20_240_229
GRACE_SECONDS = 15.0
"""How much longer than told a generator may take before it is given up."""


@dataclass(frozen=True)
class Effort:
    """How much is done: connections of the load, seconds a round."""

    connections: int = 32
    seconds: float = 5.0


@dataclass
class Contestant:
    """One that takes part in a scenario: a peer, started with these options."""

    label: str
    peer: str
    options: Options
    server: Server | None = None
    state: dict[str, object] = field(default_factory=dict)
    """What the scenario keeps between rounds."""


class Scenario(ABC):
    """One scenario. `name` may be a part of a group: `large-1` is run by `--scenario large` too."""

    name: ClassVar[str]
    title: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]
    targets: ClassVar[tuple[Target, ...]] = ()
    kind: ClassVar[Kind] = Kind.DOWNLOAD
    needs: ClassVar[tuple[str, ...]] = ("wrk",)
    bulk: ClassVar[bool] = False

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        """Who takes part, of the peers asked for."""
        options = Options(ground.cores.server, bulk=self.bulk)
        return [Contestant(name, name, options) for name in peers]

    def unable(self) -> str | None:
        """Why this scenario cannot be run here and what would help; None when it can."""
        if "wrk" in self.needs and tool_path("wrk") is None:
            return f"wrk is missing: {INSTALL}"
        return None

    def suits(self, kinds: frozenset[Kind], *, checks: bool) -> str | None:
        """Why a peer cannot take part; None when it can."""
        del checks
        return None if self.kind in kinds else "has no such function"

    @abstractmethod
    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        """One round. Raises WrongAnswers when the answers are not right."""

    def result(self) -> Result:
        """An empty result of this scenario."""
        return Result(self.name, self.title, self.shown, self.targets)


def running(contestant: Contestant) -> Server:
    """The contestant's server."""
    assert contestant.server is not None
    return contestant.server


class WrkScenario(Scenario):
    """A closed loop of wrk's over prepared requests, a new token each."""

    file: ClassVar[str] = SMALL
    status: ClassVar[int] = 200
    body: ClassVar[int] = SIZES[SMALL]
    shown = ("rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us", "server_busy", "load_busy", "others")

    def tokens(self, ground: Ground) -> list[str]:
        """A token for each request."""
        return ground.tokens(self.file)

    def fields(self, source: random.Random) -> dict[str, str]:
        """Further header fields of one request."""
        del source
        return {}

    def check(self, ground: Ground, server: Server, token: str, source: random.Random) -> None:
        """One answer, byte for byte. Raises WrongAnswers."""
        path = ground.path(self.file) if self.body else None
        expect(server, server.request(self.kind, token, self.file, self.fields(source)), self.status, path)

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = running(contestant)
        tokens = self.tokens(ground)
        source = random.Random(SEED)  # noqa: S311 - every contestant gets the same requests
        requests = ground.folder / f"requests-{self.name}-{contestant.label}"
        if not requests.exists():
            write_requests(
                requests,
                [server.request(self.kind, token, self.file, self.fields(source)) for token in tokens],
            )
        chance = random.Random()  # noqa: S311
        for token in chance.sample(tokens, min(SAMPLES, len(tokens))):
            self.check(ground, server, token, chance)
        if "warm" not in contestant.state:
            contestant.state["warm"] = True
            run_wrk(ground, server, requests, replace(effort, seconds=1))
        load, sample = run_wrk(ground, server, requests, effort)
        check_load(server, load, self.status, self.body)
        return sample


def check_load(server: Server, load: Load, status: int, body: int) -> None:
    """Every answer must have been the expected one, as far as wrk can tell. Raises WrongAnswers.

    It tells answers of 400 and above from the rest, and all bytes: a server that sends less is found out.
    """
    if not load.requests:
        raise WrongAnswers(f"{server.peer.name} answered nothing")
    if load.broken:
        raise WrongAnswers(f"{server.peer.name} broke connections: {load.broken}")
    wanted = load.requests if status >= 400 else 0
    if load.refused != wanted:
        raise WrongAnswers(
            f"{server.peer.name}: {load.refused} of {load.requests} answers were refusals, not {wanted}"
        )
    if load.bytes < load.requests * body:
        raise WrongAnswers(f"{server.peer.name} sent {load.bytes} bytes in {load.requests} answers: too few")


def run_wrk(ground: Ground, server: Server, requests: Path, effort: Effort) -> tuple[Load, dict[str, float]]:
    """Run wrk against a server, and measure both sides meanwhile."""
    command = wrk_command(
        tool_path("wrk") or "wrk",
        server.url,
        requests,
        connections=effort.connections,
        seconds=effort.seconds,
    )
    assert ground.redis_program is not None
    program = ground.crew.start("wrk", command, cpus=ground.cores.load, stdout=subprocess.PIPE)
    try:
        busy = busy_seconds(ground.cores.server)
        server_meter = Meter(server.pids())
        load_meter = Meter([program.pid, ground.redis_program.pid])
        program.wait_for_end(effort.seconds + GRACE_SECONDS)
        used, load_used = server_meter.used(), load_meter.used()
        others = max(0.0, busy_seconds(ground.cores.server) - busy - used)
        output = program.output()
    finally:
        ground.crew.stop(program)
    load = parse_wrk(output)
    if load.requests == 0:
        return load, {}
    return load, {
        "rps": load.requests / load.seconds,
        "mbps": load.bytes / load.seconds / 1e6,
        **load.latencies_ms,
        "cpu_us": 1e6 * used / load.requests,
        "server_busy": 100 * used / load.seconds,
        "load_busy": 100 * load_used / load.seconds,
        "others": 100 * others / load.seconds,
        "memory_mib": server_meter.memory() / 2**20,
    }


class Small(WrkScenario):
    """1 KiB, a new token each: the decision, and little else."""

    name = "small"
    title = "1 KiB files, a new token for each request"
    targets = (Target("rps", 1.5, "nginx-lua"), Target("rps", 10, "plain"))


class Limited(WrkScenario):
    """The same with a limit on every token: checked and charged atomically."""

    name = "limited"
    title = "1 KiB files, tokens with maxDownloads"
    kind = Kind.LIMITED
    targets = Small.targets

    def tokens(self, ground: Ground) -> list[str]:
        return ground.tokens(self.file, True)


class Auth(WrkScenario):
    """A front proxy's question alone; it would send the bytes."""

    name = "auth"
    title = "the authorisation subrequest alone"
    kind = Kind.AUTH
    body = 0
    targets = Small.targets


class Refused(WrkScenario):
    """Tokens nobody minted: what an attacker, or an old mail, costs."""

    name = "refused"
    title = "unknown tokens"
    status = 403
    body = 0
    targets = Small.targets

    def tokens(self, ground: Ground) -> list[str]:
        return ground.unknown_tokens()

    def suits(self, kinds: frozenset[Kind], *, checks: bool) -> str | None:
        return super().suits(kinds, checks=checks) if checks else "checks no token"


class Ranges(WrkScenario):
    """Random spans of a large file, as download managers ask."""

    name = "ranges"
    title = "random 64 KiB spans of a 1 GiB file"
    file = BIG
    bulk = True
    status = 206
    body = SPAN
    shown = ("rps", "mbps", "p50_ms", "p99_ms", "cpu_us", "server_busy", "load_busy", "others")
    targets = (Target("rps", 1.0, "nginx-lua"),)

    def fields(self, source: random.Random) -> dict[str, str]:
        start = source.randrange(SIZES[self.file] - SPAN)
        return {"Range": f"bytes={start}-{start + SPAN - 1}"}

    def check(self, ground: Ground, server: Server, token: str, source: random.Random) -> None:
        fields = self.fields(source)
        start, last = map(int, fields["Range"].removeprefix("bytes=").split("-"))
        request = server.request(self.kind, token, self.file, fields)
        expect(server, request, self.status, ground.path(self.file), (start, last + 1))


SCENARIOS: tuple[Scenario, ...] = (Small(), Limited(), Auth(), Ranges(), Refused())

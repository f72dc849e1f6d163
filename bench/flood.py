"""What a flood of unknown tokens does to honest clients, to Redis and to the memory of the workers.

The gateway runs as users start it, behind a front proxy that names its clients: so one machine can be one
address, or thousands of them. A direct flood comes from one address past that proxy. Honest clients download
a small file at a fixed rate, first alone and then beside the flood. Both loads are open loops: they send at
their rate, whatever the server does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.load.control import GRACE_SECONDS, GeneratorProcess, generator
from bench.load.tally import TallySummary
from bench.load.wrk import write_requests
from bench.peers import PEERS, Server
from bench.peers.base import StartOptions
from bench.testbed.machine import Cores
from bench.testbed.processes import ProcessGroup, raise_file_limit
from bench.testbed.testbed import SMALL, Testbed
from bench.testbed.usage import UsageMeter
from gateway.secrets import new_token

HEAD_SECONDS: Final = 2.0
"""How much earlier the flood begins: by then one address is over the line."""
DIRECT_ADDRESS: Final = "127.0.0.2"
"""Where a direct flood comes from: an address of this machine that the gateway trusts as little as any."""
HONEST_CLIENTS: Final = 100
UNKNOWN_TOKENS: Final = 50_000
"""Different tokens of the flood; each comes back after some seconds."""


@dataclass(frozen=True)
class FloodPlan:
    """rate: unknown tokens a second. addresses: from so many. honest_rate: requests a second beside them.

    direct: the flood's one address is connected to the gateway itself.
    """

    rate: float = 10_000.0
    addresses: int = 1
    honest_rate: float = 300.0
    seconds: float = 15.0
    workers: int = 2
    connections: int = 64
    direct: bool = False
    scratch: Path | None = None


@dataclass
class Phase:
    """What was seen with or without the flood. cpu: seconds of all processes of the gateway, a second."""

    honest: TallySummary | None = None
    commands: float = 0.0
    """Commands of Redis a second."""
    cpu: float = 0.0
    memory_mib: float = 0.0
    """At the end, of all processes of the gateway."""


@dataclass
class FloodReport:
    """What was measured."""

    plan: FloodPlan
    alone: Phase = field(default_factory=Phase)
    beside: Phase = field(default_factory=Phase)
    flood: TallySummary | None = None

    @property
    def p99_ratio(self) -> float:
        """The p99 of honest clients beside the flood, compared with that without it."""
        if self.alone.honest is None or self.beside.honest is None:
            return 0.0
        return self.beside.honest.latency["p99_ms"] / self.alone.honest.latency["p99_ms"]


def measure(plan: FloodPlan, report: Callable[[str], None]) -> FloodReport:
    """Measure. report: is called with a line about the progress. Raises BenchError."""
    found = FloodReport(plan)
    raise_file_limit()
    with (
        Testbed(Cores.divide(), tokens=5000, scratch=plan.scratch) as testbed,
        ProcessGroup(testbed.folder) as processes,
    ):
        options = StartOptions(cpus=testbed.cores.all, workers=plan.workers)
        server = PEERS["gateway"].start(testbed, processes, options)
        honest = [
            request(token, f"203.0.113.{number % HONEST_CLIENTS}")
            for number, token in enumerate(testbed.tokens(SMALL))
        ]
        flood = testbed.folder / "flood"
        clients = [
            "" if plan.direct else address(number % plan.addresses) for number in range(UNKNOWN_TOKENS)
        ]
        write_requests(flood, [request(new_token(), client) for client in clients])
        report(f"{plan.honest_rate:g}/s honest requests alone, for {plan.seconds:g} s")
        _run(plan, testbed, server, honest, found.alone)
        report(f"beside {plan.rate:g}/s unknown tokens of {plan.addresses:,} addresses")
        seconds = plan.seconds + HEAD_SECONDS
        with generator(
            testbed,
            "open-loop",
            server,
            flood,
            rate=plan.rate,
            connections=plan.connections,
            seconds=seconds,
            source=DIRECT_ADDRESS if plan.direct else None,
        ) as attack:
            time.sleep(HEAD_SECONDS)
            _run(plan, testbed, server, honest, found.beside)
            found.flood = _receive(attack, seconds)
    return found


def request(token: str, client: str) -> bytes:
    """A request for a download, as a front proxy passes it on for a client; "": as clients send it."""
    head = f"GET /download?token={token} HTTP/1.1\r\nHost: localhost\r\n"
    return (head + (f"X-Forwarded-For: {client}\r\n\r\n" if client else "\r\n")).encode()


def address(number: int) -> str:
    """The address of one client of the flood: IPv4, a /24 for each 250 of them."""
    return f"198.{18 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def _run(plan: FloodPlan, testbed: Testbed, server: Server, honest: list[bytes], phase: Phase) -> None:
    path = testbed.folder / "honest"
    write_requests(path, honest)
    meter, before, begun = UsageMeter(server.pids()), _commands(testbed), time.monotonic()
    with generator(
        testbed, "open-loop", server, path, rate=plan.honest_rate, connections=16, seconds=plan.seconds
    ) as process:
        phase.honest = _receive(process, plan.seconds)
    seconds = time.monotonic() - begun
    phase.commands = (_commands(testbed) - before) / seconds
    phase.cpu = meter.used() / seconds
    phase.memory_mib = meter.memory() / 2**20


def _receive(process: GeneratorProcess, seconds: float) -> TallySummary:
    return TallySummary.from_json(process.receive(seconds + GRACE_SECONDS))


def _commands(testbed: Testbed) -> int:
    """How many commands Redis has carried out."""
    text = testbed.redis.execute("INFO", "stats").decode()
    return int(text.partition("total_commands_processed:")[2].split()[0])


def show(report: FloodReport, console: Console) -> None:
    """Print a report."""
    plan = report.plan
    way = "connected directly" if plan.direct else "behind a front proxy"
    title = f"{plan.rate:g}/s unknown tokens of {plan.addresses:,} addresses {way}, {plan.workers} workers"
    table = Table("", "alone", "beside the flood", title=title)
    phases = (report.alone, report.beside)
    for name in ("p50_ms", "p99_ms"):
        cells = [f"{phase.honest.latency[name]:.2f}" if phase.honest else "" for phase in phases]
        table.add_row(f"honest {name.removesuffix('_ms')}, ms", *cells)
    table.add_row(
        "honest statuses", *(str(phase.honest.statuses) if phase.honest else "" for phase in phases)
    )
    table.add_row("Redis commands/s", *(f"{phase.commands:,.0f}" for phase in phases))
    table.add_row("CPU, %", *(f"{100 * phase.cpu:.0f}" for phase in phases))
    table.add_row("memory, MiB", *(f"{phase.memory_mib:.0f}" for phase in phases))
    if report.flood is not None:
        rate = sum(report.flood.statuses.values()) / report.flood.seconds
        table.add_row("flood", "", f"{rate:,.0f}/s: {report.flood.statuses}, faults {report.flood.faults}")
    console.print(table)
    with contextlib.suppress(ZeroDivisionError):
        console.print(f"p99 of honest clients: {report.p99_ratio:.2f} times that without the flood")

"""Whether many connections of one token together get the rate that it is limited to, and what that costs.

The gateway runs as users start it, with several workers. Clients read as fast as bytes come; what comes is
counted after a moment, because at first up to two seconds' worth may leave at once.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.load.downloads import MOST_BYTES, Download
from bench.peers import PEERS
from bench.peers.base import StartOptions
from bench.testbed.machine import Cores
from bench.testbed.processes import ProcessGroup
from bench.testbed.testbed import Testbed
from bench.testbed.usage import UsageMeter

WARM_SECONDS: Final = 3.0
NAME: Final = "paced"
LEAST_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class RatesPlan:
    """rate: bytes a second of the token. connections: that download with it at once."""

    rate: int = 1_000_000
    connections: int = 20
    workers: int = 2
    seconds: float = 15.0
    scratch: Path | None = None


@dataclass
class RatesReport:
    """What was measured. cpu: seconds of the gateway's processes, a second. least, most: of a connection."""

    plan: RatesPlan
    rate: float
    least: float
    most: float
    cpu: float
    memory_mib: tuple[float, float]
    load_average: float

    @property
    def share(self) -> float:
        """The rate that was achieved, compared with the limit."""
        return self.rate / self.plan.rate


def measure(plan: RatesPlan, report: Callable[[str], None]) -> RatesReport:
    """Measure. report: is called with a line about the progress. Raises BenchError."""
    with (
        Testbed(Cores.divide(), tokens=1, scratch=plan.scratch) as testbed,
        ProcessGroup(testbed.folder) as processes,
    ):
        path = testbed.files / NAME
        with path.open("wb") as file:
            file.truncate(max(LEAST_BYTES, int(2 * plan.rate * (plan.seconds + WARM_SECONDS))))
        testbed.command("product", "add", NAME, "1", str(path))
        token = testbed.command("token", "create", NAME, "--max-rate", str(plan.rate))["downloadToken"]
        options = StartOptions(cpus=testbed.cores.all, workers=plan.workers)
        server = PEERS["gateway"].start(testbed, processes, options)
        request = f"GET /download?token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        readers = [Download((server.host, server.port)) for _ in range(plan.connections)]
        try:
            for reader in readers:
                reader.send(request)
            report(f"{plan.connections} connections of one token, {plan.rate:,} bytes/s, {plan.seconds:g} s")
            _read(readers, WARM_SECONDS)
            meter = UsageMeter(server.pids())
            memory = meter.memory() / 2**20
            begun = time.monotonic()
            received = _read(readers, plan.seconds)
            seconds = time.monotonic() - begun
            return RatesReport(
                plan,
                sum(received) / seconds,
                min(received) / seconds,
                max(received) / seconds,
                meter.used() / seconds,
                (memory, meter.memory() / 2**20),
                os.getloadavg()[0],
            )
        finally:
            for reader in readers:
                reader.close()


def _read(readers: list[Download], seconds: float) -> list[int]:
    """Take what comes for so long; returns the bytes of each. Raises BenchError when a download ends."""
    received = [0] * len(readers)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for number, reader in enumerate(readers):
            selector.register(reader.socket, selectors.EVENT_READ, number)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                reader = readers[key.data]
                is_head = reader.left < 0
                try:
                    count = reader.receive(MOST_BYTES)
                except BlockingIOError:
                    continue
                except ConnectionError as error:
                    raise BenchError(f"a download was broken off: {error}") from None
                if reader.status not in (0, 200) or not reader.left:
                    raise BenchError(f"a download ended early, with the status {reader.status}")
                received[key.data] += 0 if is_head else count
    return received


def show(report: RatesReport, console: Console) -> None:
    """Print a report."""
    plan = report.plan
    table = Table(title=f"{plan.connections} connections, {plan.workers} workers", show_header=False)
    each = plan.rate / plan.connections
    for name, value in (
        ("limit, bytes/s", f"{plan.rate:,}"),
        ("achieved, bytes/s", f"{report.rate:,.0f}: {100 * report.share:.1f} %"),
        (
            "a connection, bytes/s",
            f"{report.least:,.0f} to {report.most:,.0f}; an equal share is {each:,.0f}",
        ),
        ("CPU, %", f"{100 * report.cpu:.1f} of all processes of the gateway"),
        ("memory, MiB", f"{report.memory_mib[0]:.1f} to {report.memory_mib[1]:.1f}"),
        ("load average", f"{report.load_average:.1f}"),
    ):
        table.add_row(name, value)
    console.print(table)

"""Run generators on the CPU of the load, and measure what both sides use meanwhile."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError, WrongResponse
from bench.load.tally import TallySummary
from bench.load.wrk import WrkResult, parse_wrk, write_requests, wrk_command
from bench.peers import Server
from bench.testbed.machine import tool_path
from bench.testbed.processes import Program
from bench.testbed.testbed import Testbed
from bench.testbed.usage import UsageMeter, busy_seconds

GRACE_SECONDS = 15.0
"""How much longer than planned a generator may take before it is given up."""


@dataclass(frozen=True)
class LoadOptions:
    """How much load. connections: of the generator. seconds: of one measurement."""

    connections: int = 32
    seconds: float = 5.0


class UsageWatch:
    """What the server, the load and all other programs use of the CPUs from its creation to `stop`."""

    def __init__(
        self, testbed: Testbed, server: Server, load: Program, shared: Sequence[int] | None = None
    ) -> None:
        """Start. shared: the CPUs that server and load share; None where each has its own."""
        self._cpus = cpus = shared or testbed.cores.server
        self._apart = shared is None and testbed.cores.apart
        self._busy = busy_seconds(cpus)
        self._server = UsageMeter(server.pids())
        self._load = UsageMeter([load.pid, *(pid for program in testbed.helpers for pid in program.pids())])
        self.used = self.load_used = self.others = 0.0

    def stop(self) -> None:
        """Read all clocks. The load may have ended, but must not have been reaped."""
        self.used, self.load_used = self._server.used(), self._load.used()
        known = self.used if self._apart else self.used + self.load_used
        self.others = max(0.0, busy_seconds(self._cpus) - self._busy - known)

    def figures(self, seconds: float) -> dict[str, float]:
        """Figures by the names in bench.report.figures. seconds: how long the measurement took."""
        return {
            "server_busy": 100 * self.used / seconds,
            "load_busy": 100 * self.load_used / seconds,
            "others": 100 * self.others / seconds,
            "memory_mib": self._server.memory() / 2**20,
        }


def run_wrk(
    testbed: Testbed,
    server: Server,
    requests: Path,
    options: LoadOptions,
    *,
    cpus: Sequence[int] | None = None,
) -> tuple[WrkResult, dict[str, float]]:
    """Run wrk to its end; returns what it saw, and the figures. Raises BenchError.

    cpus: those that it shares with the server; None for the load's own CPU.
    """
    command = wrk_command(
        tool_path("wrk") or "wrk",
        server.url,
        requests,
        connections=options.connections,
        seconds=options.seconds,
    )
    program = testbed.processes.start("wrk", command, cpus=cpus or testbed.cores.load, stdout=subprocess.PIPE)
    try:
        watch = UsageWatch(testbed, server, program, cpus)
        program.wait_for_end(options.seconds + GRACE_SECONDS)
        watch.stop()
        result = parse_wrk(program.output())
    finally:
        testbed.processes.stop(program)
    return result, {
        "rps": result.requests / result.seconds,
        "mbps": result.bytes / result.seconds / 1e6,
        **result.latencies_ms,
        **cpu_cost(watch.used, result.requests, result.bytes),
        **watch.figures(result.seconds),
    }


def cpu_cost(used: float, requests: int, size: int) -> dict[str, float]:
    """CPU time for each request (µs) and for each GB sent (s). used: seconds. size: bytes."""
    figures = {}
    if requests:
        figures["cpu_us"] = 1e6 * used / requests
    if size:
        figures["cpu_gb"] = 1e9 * used / size
    return figures


class GeneratorProcess:
    """One of our own generators, which runs as a process (see bench.load.process)."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def receive(self, seconds: float) -> Any:
        """The next line of JSON from it. Raises BenchError if it ends, or is silent for so many seconds."""
        pipe = self.program.process.stdout
        assert pipe is not None
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            if not _readable(pipe.fileno(), deadline - time.monotonic()):
                raise BenchError(f"{self.program.name} did not answer: {self.program.last_errors()}")
            part = pipe.readline()
            if not part:
                self.program.process.wait()
                raise BenchError(f"{self.program.name} failed: {self.program.last_errors()}")
            line += part
        return json.loads(line)

    def send(self, line: str) -> None:
        """Send it one line. Raises BenchError if it has ended."""
        pipe = self.program.process.stdin
        assert pipe is not None
        try:
            pipe.write(f"{line}\n".encode())
            pipe.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.program.name} failed: {self.program.last_errors()}") from None


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])


@contextmanager
def generator(
    testbed: Testbed, name: str, server: Server, requests: Sequence[bytes] | Path, **job: object
) -> Iterator[GeneratorProcess]:
    """Start one of our generators against a server; it is stopped at the end of the block.

    name: of the job, as in bench.load.process. requests: themselves, or the file that holds them.
    """
    if isinstance(requests, Path):
        path = requests
    else:
        path = testbed.folder / f"requests-{name}-{server.port}"
        write_requests(path, requests)
    program = testbed.processes.start(
        f"load-{name}",
        [sys.executable, "-m", "bench.load.process"],
        cpus=testbed.cores.load,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process = GeneratorProcess(program)
    try:
        where = {"host": server.host, "port": server.port, "tls": server.tls, "requests": str(path)}
        process.send(json.dumps({"job": name, **where, **job}))
        yield process
    finally:
        testbed.processes.stop(program)


def run_open_loop(
    testbed: Testbed, server: Server, requests: Path, *, rate: float, connections: int, seconds: float
) -> TallySummary:
    """Send at a fixed rate to the end. Raises WrongResponse if any response was not 200."""
    with generator(
        testbed, "open-loop", server, requests, rate=rate, connections=connections, seconds=seconds
    ) as process:
        summary = TallySummary.from_json(process.receive(seconds + GRACE_SECONDS))
    faults = {reason: count for reason, count in summary.faults.items() if count}
    if faults or set(summary.statuses) != {200}:
        raise WrongResponse(
            f"{server.peer.name} at a fixed rate: statuses {summary.statuses}, faults {faults}"
        )
    return summary

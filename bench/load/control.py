"""Running generators on the load's CPU, and measuring both sides meanwhile."""

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

from bench.errors import BenchError, WrongAnswers
from bench.load.tally import Heard
from bench.load.wrk import Load, parse_wrk, wrk_command
from bench.peers import Server
from bench.testbed.machine import tool_path
from bench.testbed.processes import Program
from bench.testbed.testbed import Ground
from bench.testbed.usage import Meter, busy_seconds

GRACE_SECONDS = 15.0
"""How much longer than told a generator may take before it is given up."""


@dataclass(frozen=True)
class Effort:
    """How much is done: connections of the load, seconds a round."""

    connections: int = 32
    seconds: float = 5.0


class Watch:
    """What a server, the load and everyone else used of the CPUs since the start."""

    def __init__(
        self, ground: Ground, server: Server, load: Program, shared: Sequence[int] | None = None
    ) -> None:
        """Shared: the CPUs of server and load, where they have not one each."""
        self._cpus = cpus = shared or ground.cores.server
        self._apart = shared is None and ground.cores.apart
        self._busy = busy_seconds(cpus)
        self._server = Meter(server.pids())
        self._load = Meter([load.pid, *(pid for program in ground.helpers for pid in program.pids())])
        self._began = time.monotonic()
        self.used = self.load_used = self.others = 0.0

    def stop(self) -> None:
        """Read all the clocks; the load may have ended but must not have been collected."""
        self.used, self.load_used = self._server.used(), self._load.used()
        known = self.used if self._apart else self.used + self.load_used
        self.others = max(0.0, busy_seconds(self._cpus) - self._busy - known)

    def figures(self, seconds: float) -> dict[str, float]:
        """By the names of bench.model. seconds: what the shares are of."""
        return {
            "server_busy": 100 * self.used / seconds,
            "load_busy": 100 * self.load_used / seconds,
            "others": 100 * self.others / seconds,
            "memory_mib": self._server.memory() / 2**20,
        }


def run_wrk(
    ground: Ground,
    server: Server,
    requests: Path,
    effort: Effort,
    *,
    cpus: Sequence[int] | None = None,
) -> tuple[Load, dict[str, float]]:
    """Run wrk to its end. cpus: those it shares with the server, if not on its own. Raises BenchError."""
    command = wrk_command(
        tool_path("wrk") or "wrk",
        server.url,
        requests,
        connections=effort.connections,
        seconds=effort.seconds,
    )
    program = ground.crew.start("wrk", command, cpus=cpus or ground.cores.load, stdout=subprocess.PIPE)
    try:
        watch = Watch(ground, server, program, cpus)
        program.wait_for_end(effort.seconds + GRACE_SECONDS)
        watch.stop()
        load = parse_wrk(program.output())
    finally:
        ground.crew.stop(program)
    return load, {
        "rps": load.requests / load.seconds,
        "mbps": load.bytes / load.seconds / 1e6,
        **load.latencies_ms,
        **cost(watch.used, load.requests, load.bytes),
        **watch.figures(load.seconds),
    }


def cost(used: float, requests: int, data: int) -> dict[str, float]:
    """CPU time by what was done with it."""
    figures = {}
    if requests:
        figures["cpu_us"] = 1e6 * used / requests
    if data:
        figures["cpu_gb"] = 1e9 * used / data
    return figures


class Job:
    """One of our own generators, as a process (see bench.load.process)."""

    def __init__(self, ground: Ground, program: Program) -> None:
        self.ground = ground
        self.program = program

    def listen(self, seconds: float) -> Any:
        """The next thing it tells. Raises BenchError when it ends or is silent for so long."""
        pipe = self.program.process.stdout
        assert pipe is not None
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            if not _readable(pipe.fileno(), deadline - time.monotonic()):
                raise BenchError(f"{self.program.name} did not answer: {self.program.quote()}")
            piece = pipe.readline()
            if not piece:
                self.program.process.wait()
                raise BenchError(f"{self.program.name} failed: {self.program.quote()}")
            line += piece
        return json.loads(line)

    def say(self, word: str) -> None:
        """One line to it."""
        pipe = self.program.process.stdin
        assert pipe is not None
        try:
            pipe.write(f"{word}\n".encode())
            pipe.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.program.name} failed: {self.program.quote()}") from None


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])


@contextmanager
def started(
    ground: Ground, name: str, server: Server, requests: Sequence[bytes] | Path, **job: object
) -> Iterator[Job]:
    """Start a generator of ours against a server; it is stopped at the end of the block."""
    if isinstance(requests, Path):
        path = requests
    else:
        path = ground.folder / f"requests-{name}-{server.port}"
        path.write_bytes(b"\0".join(requests))
    program = ground.crew.start(
        f"load-{name}",
        [sys.executable, "-m", "bench.load.process"],
        cpus=ground.cores.load,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    work = Job(ground, program)
    try:
        plain = {"job": name, "host": server.host, "port": server.port, "tls": server.tls, **job}
        work.say(json.dumps({**plain, "requests": str(path)}))
        yield work
    finally:
        ground.crew.stop(program)


def run_open(
    ground: Ground, server: Server, requests: Path, *, rate: float, connections: int, seconds: float
) -> Heard:
    """A fixed rate to its end. Raises WrongAnswers when any answer was not 200."""
    with started(
        ground, "open", server, requests, rate=rate, connections=connections, seconds=seconds
    ) as job:
        heard = Heard.of(job.listen(seconds + GRACE_SECONDS))
    faults = {why: count for why, count in heard.faults.items() if count}
    if faults or set(heard.statuses) != {200}:
        raise WrongAnswers(f"{server.peer.name} at a fixed rate: statuses {heard.statuses}, faults {faults}")
    return heard

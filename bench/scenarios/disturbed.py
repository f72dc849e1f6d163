"""Scenarios where others disturb small requests: thousands of slow clients, a few fast ones, and the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from bench.errors import BenchError, WrongAnswers
from bench.load.control import GRACE_SECONDS, Effort, run_open, started
from bench.load.downloads import cold_spans
from bench.load.tally import Heard
from bench.load.wrk import write_requests
from bench.peers import Server
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Contestant, Scenario
from bench.testbed.testbed import BIG, SIZES, SMALL, Ground
from bench.testbed.usage import Meter, socket_bytes

RATE = 1000.0
"""Small requests a second whose latency is taken; few, so that they are not the load themselves."""

CONNECTIONS = 32
SMALL_TOKENS = 10_000
BIG_TOKENS = 32
SETTLE_SECONDS = 0.5
CROWD_SECONDS = 60.0
"""How long a crowd may take to connect, or to have its first bytes."""

LATENCIES = ("alone_p99_ms", "beside_p99_ms")


class _Beside(Scenario):
    """Small requests at a fixed rate, alone and beside something."""

    peers = ("gateway", "nginx-lua")
    needs_wrk = False

    def small(self, ground: Ground, server: Server, seconds: float) -> Heard:
        """Latency of small requests now."""
        path = ground.folder / f"requests-{self.name}-small-{server.port}"
        if not path.exists():
            tokens = ground.tokens(SMALL)[:SMALL_TOKENS]
            write_requests(path, [server.request(self.kind, token, SMALL) for token in tokens])
        return run_open(ground, server, path, rate=RATE, connections=CONNECTIONS, seconds=seconds)

    def check(self, ground: Ground, server: Server) -> None:
        """An answer of each kind. Raises WrongAnswers."""
        for name in (SMALL, BIG):
            request = server.request(self.kind, ground.tokens(name)[0], name)
            expect(server, request, 200, ground.path(name))


def times(alone: Heard, beside: Heard) -> dict[str, float]:
    """The figures of both, and how many times one is the other."""
    first, second = alone.latency["p99_ms"], beside.latency["p99_ms"]
    return {"alone_p99_ms": first, "beside_p99_ms": second, "p99_times": second / first}


class Slow(_Beside):
    """Thousands of clients on bad lines: what each holds in memory, and what the others feel."""

    name = "slow"
    title = "5,000 clients at 16 KiB/s"
    fresh = True
    bulk = True
    clients: ClassVar[int] = 5000
    rate: ClassVar[int] = 16 << 10
    shown = ("memory_kib", "kernel_kib", "cpu_share", *LATENCIES, "p99_times", "pace")
    targets = (Target("memory_kib", 12, at="most"), Target("p99_times", 2, at="most"))

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        self.check(ground, server)
        alone = self.small(ground, server, effort.seconds)
        requests = [
            server.request(self.kind, ground.tokens(SMALL)[1], SMALL),
            server.request(self.kind, ground.tokens(BIG)[0], BIG),
        ]
        with started(ground, "crawl", server, requests, clients=self.clients, rate=self.rate) as job:
            _hear(job.listen(CROWD_SECONDS), "idle")
            time.sleep(SETTLE_SECONDS)
            meter = Meter(server.pids())
            idle, idle_kernel = meter.memory(), socket_bytes()
            job.say("go")
            _hear(job.listen(CROWD_SECONDS), "active")
            time.sleep(SETTLE_SECONDS)
            active, active_kernel = meter.memory(), socket_bytes()
            began, before = time.monotonic(), meter.used()
            time.sleep(min(2.0, effort.seconds))
            share = (meter.used() - before) / (time.monotonic() - began)
            beside = self.small(ground, server, effort.seconds)
            job.say("stop")
            told = job.listen(GRACE_SECONDS)
        if told["broken"]:
            raise WrongAnswers(
                f"{server.peer.name} broke {told['broken']} of {self.clients} slow connections"
            )
        return {
            "memory_kib": (active - idle) / self.clients / 1024,
            "kernel_kib": (active_kernel - idle_kernel) / self.clients / 1024,
            "cpu_share": 100 * share,
            "pace": 100 * told["pace"],
            **times(alone, beside),
        }


def _hear(told: object, word: str) -> None:
    if told != word:
        raise BenchError(f"the slow clients said {told!r}, not {word!r}")


class Fast(_Beside):
    """A few clients that take large files as fast as they are sent."""

    name = "fast"
    title = "small requests beside 4 downloads at full speed"
    bulk = True
    clients: ClassVar[int] = 4
    shown = (*LATENCIES, "p99_times", "mbps")
    targets = (Target("beside_p99_ms", 1.0, "nginx-lua", at="most"),)

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        self.check(ground, server)
        alone = self.small(ground, server, effort.seconds)
        requests = [server.request(self.kind, token, BIG) for token in ground.tokens(BIG)[:BIG_TOKENS]]
        seconds = effort.seconds + 2  # begins before the small requests and ends after them
        with started(
            ground, "drain", server, requests, connections=self.clients, seconds=seconds, aside=True
        ) as job:
            time.sleep(SETTLE_SECONDS)
            beside = self.small(ground, server, effort.seconds)
            told = Heard.of(job.listen(seconds + GRACE_SECONDS))
        if told.faults or set(told.statuses) - {200} or not told.bytes:
            raise WrongAnswers(f"{server.peer.name}: statuses {told.statuses}, faults {told.faults}")
        return {**times(alone, beside), "mbps": told.bytes / told.seconds / 1e6}


class Cold(_Beside):
    """Large files that are not in the page cache, and whether small requests wait for the disk."""

    name = "cold"
    title = "1 MiB spans read from the disk at 100 MB/s"
    bulk = True
    span: ClassVar[int] = 1 << 20
    rate: ClassVar[float] = 100e6
    shown = (*LATENCIES, "p99_times", "cold_share", "cold_mbps")
    targets = (Target("p99_times", 3, at="most"),)

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        self.check(ground, server)
        path = ground.path(BIG)
        if _file_system(path) in ("tmpfs", "ramfs"):
            raise BenchError("the files are in memory, not on a disk: give --scratch a folder on one")
        alone = self.small(ground, server, effort.seconds)
        token = ground.tokens(BIG)[0]
        requests = [
            server.request(self.kind, token, BIG, {"Range": f"bytes={start}-{stop - 1}"})
            for start, stop in cold_spans(SIZES[BIG], self.span)
        ]
        seconds = effort.seconds + 2  # begins before the small requests and ends after them
        with started(
            ground,
            "cold",
            server,
            requests,
            path=str(path),
            size=SIZES[BIG],
            length=self.span,
            rate=self.rate,
            seconds=seconds,
        ) as job:
            time.sleep(SETTLE_SECONDS)
            beside = self.small(ground, server, effort.seconds)
            told = job.listen(seconds + GRACE_SECONDS)
        if told["broken"] or not told["bytes"]:
            raise WrongAnswers(f"{server.peer.name} broke {told['broken']:.0f} downloads of cold spans")
        return {
            **times(alone, beside),
            "cold_share": 100 * told["cold"] / max(1, told["asked"]),
            "cold_mbps": told["bytes"] / told["seconds"] / 1e6,
        }


def _file_system(path: Path) -> str:
    """The type of the file system a path is on."""
    best, kind = "", ""
    with open("/proc/mounts") as file:
        for line in file:
            _, place, name, *_ = line.split()
            if path.is_relative_to(place) and len(place) >= len(best):
                best, kind = place, name
    return kind

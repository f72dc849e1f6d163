"""Small requests beside what disturbs them: slow clients, fast downloads, or reads from the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from bench.errors import BenchError, WrongResponse
from bench.load.cold_reads import cold_spans
from bench.load.control import GRACE_SECONDS, LoadOptions, generator, run_open_loop
from bench.load.tally import TallySummary
from bench.load.wrk import write_requests
from bench.peers import Server
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Participant, Scenario
from bench.testbed.testbed import BIG, SIZES, SMALL, Testbed
from bench.testbed.usage import UsageMeter, socket_bytes

RATE = 1000.0
"""Small requests a second whose latency is measured. They are few, so that they are no load themselves."""

CONNECTIONS = 32
SMALL_TOKENS = 10_000
BIG_TOKENS = 32
SETTLE_SECONDS = 0.5
CONNECT_SECONDS = 60.0
"""How long slow clients may take to connect, or to receive their first bytes."""

LATENCIES = ("alone_p99_ms", "beside_p99_ms")


class _Disturbed(Scenario):
    """Small requests at a fixed rate, first alone, then beside something else."""

    peers = ("gateway", "nginx-lua")
    needs_wrk = False

    def measure_small(self, testbed: Testbed, server: Server, seconds: float) -> TallySummary:
        """Measure the latency of small requests now."""
        path = testbed.folder / f"requests-{self.name}-small-{server.port}"
        if not path.exists():
            tokens = testbed.tokens(SMALL)[:SMALL_TOKENS]
            write_requests(path, [server.request(self.kind, token, SMALL) for token in tokens])
        return run_open_loop(testbed, server, path, rate=RATE, connections=CONNECTIONS, seconds=seconds)

    def check(self, testbed: Testbed, server: Server) -> None:
        """Check one response of each size. Raises WrongResponse."""
        for name in (SMALL, BIG):
            request = server.request(self.kind, testbed.tokens(name)[0], name)
            expect(server, request, 200, testbed.path(name))


def latency_figures(alone: TallySummary, beside: TallySummary) -> dict[str, float]:
    """The 99th percentile alone and beside the disturbance, and their ratio."""
    first, second = alone.latency["p99_ms"], beside.latency["p99_ms"]
    return {"alone_p99_ms": first, "beside_p99_ms": second, "p99_times": second / first}


class Slow(_Disturbed):
    """Thousands of clients on slow lines: the memory that each needs, and the latency of other requests."""

    name = "slow"
    title = "5,000 clients at 16 KiB/s"
    fresh = True
    bulk = True
    clients: ClassVar[int] = 5000
    rate: ClassVar[int] = 16 << 10
    shown = ("memory_kib", "kernel_kib", "cpu_share", *LATENCIES, "p99_times", "pace")
    targets = (Target("memory_kib", 12, at="most"), Target("p99_times", 2, at="most"))

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        self.check(testbed, server)
        alone = self.measure_small(testbed, server, options.seconds)
        requests = [
            server.request(self.kind, testbed.tokens(SMALL)[1], SMALL),
            server.request(self.kind, testbed.tokens(BIG)[0], BIG),
        ]
        with generator(
            testbed, "slow-clients", server, requests, clients=self.clients, rate=self.rate
        ) as process:
            _expect_state(process.receive(CONNECT_SECONDS), "idle")
            time.sleep(SETTLE_SECONDS)
            meter = UsageMeter(server.pids())
            idle, idle_kernel = meter.memory(), socket_bytes()
            process.send("go")
            _expect_state(process.receive(CONNECT_SECONDS), "active")
            time.sleep(SETTLE_SECONDS)
            active, active_kernel = meter.memory(), socket_bytes()
            began, before = time.monotonic(), meter.used()
            time.sleep(min(2.0, options.seconds))
            share = (meter.used() - before) / (time.monotonic() - began)
            beside = self.measure_small(testbed, server, options.seconds)
            process.send("stop")
            counts = process.receive(GRACE_SECONDS)
        if counts["broken"]:
            raise WrongResponse(
                f"{server.peer.name} broke {counts['broken']} of {self.clients} slow connections"
            )
        return {
            "memory_kib": (active - idle) / self.clients / 1024,
            "kernel_kib": (active_kernel - idle_kernel) / self.clients / 1024,
            "cpu_share": 100 * share,
            "pace": 100 * counts["pace"],
            **latency_figures(alone, beside),
        }


def _expect_state(reported: object, state: str) -> None:
    if reported != state:
        raise BenchError(f"the slow clients reported {reported!r}, not {state!r}")


class Fast(_Disturbed):
    """A few clients that take large files as fast as they are sent."""

    name = "fast"
    title = "small requests beside 4 downloads at full speed"
    bulk = True
    clients: ClassVar[int] = 4
    shown = (*LATENCIES, "p99_times", "mbps")
    targets = (Target("beside_p99_ms", 1.0, "nginx-lua", at="most"),)

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        self.check(testbed, server)
        alone = self.measure_small(testbed, server, options.seconds)
        tokens = testbed.tokens(BIG)[:BIG_TOKENS]
        requests = [server.request(self.kind, token, BIG) for token in tokens]
        seconds = options.seconds + 2  # it begins before the small requests and ends after them
        with generator(
            testbed, "downloads", server, requests, connections=self.clients, seconds=seconds, aside=True
        ) as process:
            time.sleep(SETTLE_SECONDS)
            beside = self.measure_small(testbed, server, options.seconds)
            downloads = TallySummary.from_json(process.receive(seconds + GRACE_SECONDS))
        if downloads.faults or set(downloads.statuses) - {200} or not downloads.bytes:
            raise WrongResponse(
                f"{server.peer.name}: statuses {downloads.statuses}, faults {downloads.faults}"
            )
        return {**latency_figures(alone, beside), "mbps": downloads.bytes / downloads.seconds / 1e6}


class Cold(_Disturbed):
    """Large files that are not in the page cache, and whether small requests wait for the disk."""

    name = "cold"
    title = "1 MiB spans read from the disk at 100 MB/s"
    bulk = True
    span: ClassVar[int] = 1 << 20
    rate: ClassVar[float] = 100e6
    shown = (*LATENCIES, "p99_times", "cold_share", "cold_mbps")
    targets = (Target("p99_times", 3, at="most"),)

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        self.check(testbed, server)
        path = testbed.path(BIG)
        if _file_system(path) in ("tmpfs", "ramfs"):
            raise BenchError("the files are in memory, not on a disk: give --scratch a folder on one")
        alone = self.measure_small(testbed, server, options.seconds)
        token = testbed.tokens(BIG)[0]
        requests = [
            server.request(self.kind, token, BIG, {"Range": f"bytes={start}-{stop - 1}"})
            for start, stop in cold_spans(SIZES[BIG], self.span)
        ]
        seconds = options.seconds + 2  # it begins before the small requests and ends after them
        with generator(
            testbed,
            "cold-reads",
            server,
            requests,
            path=str(path),
            size=SIZES[BIG],
            length=self.span,
            rate=self.rate,
            seconds=seconds,
        ) as process:
            time.sleep(SETTLE_SECONDS)
            beside = self.measure_small(testbed, server, options.seconds)
            counts = process.receive(seconds + GRACE_SECONDS)
        if counts["broken"] or not counts["bytes"]:
            raise WrongResponse(f"{server.peer.name} broke {counts['broken']:.0f} downloads of cold spans")
        return {
            **latency_figures(alone, beside),
            "cold_share": 100 * counts["cold"] / max(1, counts["asked"]),
            "cold_mbps": counts["bytes"] / counts["seconds"] / 1e6,
        }


def _file_system(path: Path) -> str:
    """The type of the file system that a path is on."""
    longest, kind = "", ""
    with open("/proc/mounts") as file:
        for line in file:
            _, mount_point, name, *_ = line.split()
            if path.is_relative_to(mount_point) and len(mount_point) >= len(longest):
                longest, kind = mount_point, name
    return kind

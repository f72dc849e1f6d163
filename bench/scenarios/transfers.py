"""Scenarios of large files, TLS, and Redis' memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bench.errors import WrongAnswers
from bench.load.control import GRACE_SECONDS, Effort, Watch, cost, run_wrk, started
from bench.load.tally import Heard
from bench.load.wrk import write_requests
from bench.peers import Kind, Options
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Contestant, Scenario
from bench.scenarios.requests import Small
from bench.testbed.certificate import make_certificate
from bench.testbed.machine import tool_path
from bench.testbed.testbed import BIG, SIZES, Ground

CEILING = (Target("mbps", 1.0, "nginx-static"), Target("cpu_gb", 1.0, "nginx-static", at="most"))
BIG_TOKENS = 32


class LargeOne(Scenario):
    """A whole large file at full speed, one connection."""

    name = "large-1"
    title = "a 1 GiB file, 1 connection"
    bulk = True
    needs_wrk = False
    file: ClassVar[str] = BIG
    connections: ClassVar[int] = 1
    shown = ("mbps", "cpu_gb", "server_busy", "load_busy", "others")
    targets: ClassVar[tuple[Target, ...]] = CEILING

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        tokens = ground.tokens(self.file)[:BIG_TOKENS]
        requests = [server.request(self.kind, token, self.file) for token in tokens]
        self.check(ground, contestant, random.choice(requests))
        with started(
            ground, "drain", server, requests, connections=self.connections, seconds=effort.seconds
        ) as job:
            watch = Watch(ground, server, job.program)
            heard = Heard.of(job.listen(effort.seconds + GRACE_SECONDS))
            watch.stop()
        if heard.faults or set(heard.statuses) - {200} or not heard.bytes:
            raise WrongAnswers(f"{server.peer.name}: statuses {heard.statuses}, faults {heard.faults}")
        return {
            "mbps": heard.bytes / heard.seconds / 1e6,
            "cpu_gb": cost(watch.used, 0, heard.bytes)["cpu_gb"],
            **watch.figures(heard.seconds),
        }

    def check(self, ground: Ground, contestant: Contestant, request: bytes) -> None:
        """One answer, before the load. Raises WrongAnswers."""
        expect(contestant.running, request, 200, ground.path(self.file))


class LargeMany(LargeOne):
    """The same, many at once."""

    name = "large-32"
    title = "a 1 GiB file, 32 connections"
    connections = 32


class _Tls(Scenario):
    """The gateway's own TLS against nginx's."""

    peers = ("gateway", "nginx-static")

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        pair = make_certificate(ground.folder)
        return [
            Contestant(each.label, each.peer, replace(each.options, tls=pair))
            for each in super().contestants(peers, ground)
        ]

    def unable(self) -> str | None:
        """A certificate has to be made."""
        if tool_path("openssl") is None:
            return "openssl is missing: apt-get install openssl"
        return super().unable()


class TlsSmall(_Tls, Small):
    """Small files over kept-alive TLS connections."""

    name = "tls-small"
    title = "1 KiB files over TLS"
    targets = ()


class TlsLarge(_Tls):
    """A large file over TLS: encryption is most of it, on both sides."""

    name = "tls-large"
    title = "a 1 GiB file over TLS, 8 connections"
    bulk = True
    shown = ("mbps", "cpu_gb", "server_busy", "load_busy", "others")
    targets = (Target("mbps", 0.9, "nginx-static"),)

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        requests = [server.request(self.kind, token, BIG) for token in ground.tokens(BIG)[:BIG_TOKENS]]
        expect(server, random.choice(requests), 200, ground.path(BIG))
        path = ground.folder / f"requests-{self.name}-{server.port}"
        write_requests(path, requests)
        load, sample = run_wrk(ground, server, path, replace(effort, connections=8))
        if load.refused or load.broken or not load.bytes:
            raise WrongAnswers(f"{server.peer.name}: {load.refused} refusals, faults {load.broken}")
        return sample


class TokenMemory(Scenario):
    """What a token costs in Redis."""

    name = "memory"
    title = "Redis memory, 1,000,000 tokens with the minimal fields"
    shown = ("token_bytes",)
    needs_wrk = False
    once = True
    tokens: ClassVar[int] = 1_000_000
    targets = (Target("token_bytes", 400, at="most", subject="redis"),)

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        del peers
        return [Contestant("redis", "", Options(ground.cores.server))]

    def suits(self, kinds: frozenset[Kind], *, checks: bool) -> str | None:
        del kinds, checks
        return None

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        del contestant, effort
        return {"token_bytes": ground.memory_per_token(self.tokens)}


assert SIZES[BIG] == 1 << 30, "the titles say 1 GiB"

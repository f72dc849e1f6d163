"""Scenarios of large files, of TLS, and of Redis' memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bench.errors import WrongResponse
from bench.load.control import GRACE_SECONDS, LoadOptions, UsageWatch, cpu_cost, generator, run_wrk
from bench.load.tally import TallySummary
from bench.load.wrk import write_requests
from bench.peers import RequestKind, StartOptions
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Participant, Scenario
from bench.scenarios.requests import Small
from bench.testbed.certificate import make_certificate
from bench.testbed.machine import tool_path
from bench.testbed.testbed import BIG, SIZES, Testbed

CEILING = (Target("mbps", 1.0, "nginx-static"), Target("cpu_gb", 1.0, "nginx-static", at="most"))
BIG_TOKENS = 32


class LargeOne(Scenario):
    """A whole large file at full speed, over one connection."""

    name = "large-1"
    title = "a 1 GiB file, 1 connection"
    bulk = True
    needs_wrk = False
    file: ClassVar[str] = BIG
    connections: ClassVar[int] = 1
    shown = ("mbps", "cpu_gb", "server_busy", "load_busy", "others")
    targets: ClassVar[tuple[Target, ...]] = CEILING

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        tokens = testbed.tokens(self.file)[:BIG_TOKENS]
        requests = [server.request(self.kind, token, self.file) for token in tokens]
        self.check(testbed, participant, random.choice(requests))
        with generator(
            testbed, "downloads", server, requests, connections=self.connections, seconds=options.seconds
        ) as process:
            watch = UsageWatch(testbed, server, process.program)
            summary = TallySummary.from_json(process.receive(options.seconds + GRACE_SECONDS))
            watch.stop()
        if summary.faults or set(summary.statuses) - {200} or not summary.bytes:
            raise WrongResponse(f"{server.peer.name}: statuses {summary.statuses}, faults {summary.faults}")
        return {
            "mbps": summary.bytes / summary.seconds / 1e6,
            **cpu_cost(watch.used, 0, summary.bytes),
            **watch.figures(summary.seconds),
        }

    def check(self, testbed: Testbed, participant: Participant, request: bytes) -> None:
        """Compare one response before the load. Raises WrongResponse."""
        expect(participant.running, request, 200, testbed.path(self.file))


class LargeMany(LargeOne):
    """The same, over many connections."""

    name = "large-32"
    title = "a 1 GiB file, 32 connections"
    connections = 32


class _Tls(Scenario):
    """The gateway's own TLS beside nginx's."""

    peers = ("gateway", "nginx-static")

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        pair = make_certificate(testbed.folder)
        return [
            replace(participant, options=replace(participant.options, tls=pair))
            for participant in super().participants(peers, testbed)
        ]

    def unavailable(self) -> str | None:
        """Openssl must make a certificate."""
        if tool_path("openssl") is None:
            return "openssl is missing: apt-get install openssl"
        return super().unavailable()


class TlsSmall(_Tls, Small):
    """Small files over TLS connections that are kept."""

    name = "tls-small"
    title = "1 KiB files over TLS"
    targets = ()


class TlsLarge(_Tls):
    """A large file over TLS, where encryption takes most of the time on both sides."""

    name = "tls-large"
    title = "a 1 GiB file over TLS, 8 connections"
    bulk = True
    shown = ("mbps", "cpu_gb", "server_busy", "load_busy", "others")
    targets = (Target("mbps", 0.9, "nginx-static"),)

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        requests = [server.request(self.kind, token, BIG) for token in testbed.tokens(BIG)[:BIG_TOKENS]]
        expect(server, random.choice(requests), 200, testbed.path(BIG))
        path = testbed.folder / f"requests-{self.name}-{server.port}"
        write_requests(path, requests)
        result, sample = run_wrk(testbed, server, path, replace(options, connections=8))
        if result.refused or result.broken or not result.bytes:
            raise WrongResponse(f"{server.peer.name}: {result.refused} refusals, faults {result.broken}")
        return sample


class TokenMemory(Scenario):
    """The memory that one token needs in Redis."""

    name = "memory"
    title = "Redis memory, 1,000,000 tokens with the minimal fields"
    shown = ("token_bytes",)
    needs_wrk = False
    once = True
    tokens: ClassVar[int] = 1_000_000
    targets = (Target("token_bytes", 400, at="most", subject="redis"),)

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        del peers
        return [Participant("redis", "", StartOptions(testbed.cores.server))]

    def exclusion(self, kinds: frozenset[RequestKind], *, checks: bool) -> str | None:
        del kinds, checks
        return None

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        del participant, options
        return {"token_bytes": testbed.memory_per_token(self.tokens)}


assert SIZES[BIG] == 1 << 30, "the titles say 1 GiB"

"""Scenarios of many requests: wrk's closed loop over prepared requests, each with a token of its own."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.errors import WrongResponse
from bench.load.control import LoadOptions, run_wrk
from bench.load.wrk import WrkResult, write_requests
from bench.peers import RequestKind, Server, StartOptions
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Participant, Scenario
from bench.testbed.testbed import BIG, SIZES, SMALL, Testbed, product_id

SPAN = 64 << 10
SAMPLES = 3
"""Responses that are compared byte for byte before each run."""

SEED = 20_240_229
"""Every participant gets the same requests, in every round."""


class WrkScenario(Scenario):
    """A closed loop of wrk. status, body: of the response that is expected; body in bytes."""

    file: ClassVar[str] = SMALL
    status: ClassVar[int] = 200
    body: ClassVar[int] = SIZES[SMALL]
    shown = ("rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us", "server_busy", "load_busy", "others")

    def tokens(self, testbed: Testbed) -> list[str]:
        """The tokens, one for each request."""
        return testbed.tokens(self.file)

    def request(self, testbed: Testbed, server: Server, token: str, source: random.Random) -> bytes:
        """One request. source: for what is random in it."""
        del testbed, source
        return server.request(self.kind, token, self.file)

    def check(self, testbed: Testbed, server: Server, request: bytes) -> None:
        """Compare one response byte for byte. Raises WrongResponse."""
        expect(server, request, self.status, testbed.path(self.file) if self.body else None)

    def prepare(self, testbed: Testbed, participant: Participant) -> Path:
        """The file of requests, which is made once."""
        path = testbed.folder / f"requests-{self.name}-{participant.running.port}"
        if not path.exists():
            source = random.Random(SEED)
            server = participant.running
            requests = [self.request(testbed, server, token, source) for token in self.tokens(testbed)]
            write_requests(path, requests)
        return path

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        server = participant.running
        requests = self.prepare(testbed, participant)
        source = random.Random()
        for token in source.sample(self.tokens(testbed), SAMPLES):
            self.check(testbed, server, self.request(testbed, server, token, source))
        cpus = self.shared_cpus(testbed)
        if not participant.warmed_up:
            participant.warmed_up.add("wrk")
            run_wrk(testbed, server, requests, replace(options, seconds=1), cpus=cpus)
        result, sample = run_wrk(testbed, server, requests, options, cpus=cpus)
        check_result(server.peer.name, result, self.status, self.body)
        return sample

    def shared_cpus(self, testbed: Testbed) -> Sequence[int] | None:
        """The CPUs that load and server share; None where each has its own."""
        del testbed
        return None


def check_result(name: str, result: WrkResult, status: int, body: int) -> None:
    """Raise WrongResponse unless every response was as expected, as far as wrk can tell.

    wrk counts responses of 400 and above, and all bytes, so that a server that sends less is noticed.
    """
    if not result.requests:
        raise WrongResponse(f"{name} answered nothing")
    if result.broken:
        raise WrongResponse(f"{name} broke connections: {result.broken}")
    expected = result.requests if status >= 400 else 0
    if result.refused != expected:
        raise WrongResponse(
            f"{name}: {result.refused} of {result.requests} responses were refusals, not {expected}"
        )
    if result.bytes < result.requests * body:
        raise WrongResponse(f"{name} sent {result.bytes} bytes in {result.requests} responses: too few")


class Small(WrkScenario):
    """1 KiB with a new token each time: the cost of the decision, and little else."""

    name = "small"
    title = "1 KiB files, a new token for each request"
    targets: ClassVar[tuple[Target, ...]] = (Target("rps", 1.5, "nginx-lua"), Target("rps", 10, "plain"))


class Limited(WrkScenario):
    """The same with a limit on every token, which is checked and charged atomically."""

    name = "limited"
    title = "1 KiB files, tokens with maxDownloads"
    kind = RequestKind.LIMITED
    targets = Small.targets

    def tokens(self, testbed: Testbed) -> list[str]:
        return testbed.tokens(self.file, True)


class Auth(WrkScenario):
    """A front proxy's subrequest alone. The proxy would send the bytes."""

    name = "auth"
    title = "the authorisation subrequest alone"
    kind = RequestKind.AUTH
    body = 0
    targets = Small.targets


class Refused(WrkScenario):
    """Tokens that were never minted: the cost of an attacker, or of an old mail."""

    name = "refused"
    title = "unknown tokens"
    status = 403
    body = 0
    targets = Small.targets

    def tokens(self, testbed: Testbed) -> list[str]:
        return testbed.unknown_tokens()

    def exclusion(self, kinds: frozenset[RequestKind], *, checks: bool) -> str | None:
        return super().exclusion(kinds, checks=checks) if checks else "checks no token"


class Ranges(WrkScenario):
    """Random spans of a large file, as download managers request them."""

    name = "ranges"
    title = "random 64 KiB spans of a 1 GiB file"
    file = BIG
    bulk = True
    status = 206
    body = SPAN
    shown = ("rps", "mbps", "p50_ms", "p99_ms", "cpu_us", "server_busy", "load_busy", "others")
    targets = (Target("rps", 1.0, "nginx-lua"),)

    def request(self, testbed: Testbed, server: Server, token: str, source: random.Random) -> bytes:
        del testbed
        start = source.randrange(SIZES[self.file] - SPAN)
        return server.request(self.kind, token, self.file, {"Range": f"bytes={start}-{start + SPAN - 1}"})

    def check(self, testbed: Testbed, server: Server, request: bytes) -> None:
        start, _, last = request.partition(b"bytes=")[2].partition(b"\r\n")[0].partition(b"-")
        span = int(start), int(last) + 1
        expect(server, request, self.status, testbed.path(self.file), span)


class Mint(WrkScenario):
    """New tokens by the mint service, beside plain's downloads, which also cost one command of Redis each."""

    name = "mint"
    title = "POST /api/generate-download-url; plain: its small downloads"
    peers = ("gateway", "plain")
    body = 0
    targets = (Target("rps", 1.5, "plain"),)

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        return [
            replace(participant, options=replace(participant.options, mint=participant.peer == "gateway"))
            for participant in super().participants(peers, testbed)
        ]

    def tokens(self, testbed: Testbed) -> list[str]:
        tokens = testbed.tokens(self.file)  # this also publishes the product
        return tokens[: max(SAMPLES, len(tokens) // 10)]

    def request(self, testbed: Testbed, server: Server, token: str, source: random.Random) -> bytes:
        if server.peer.name != "gateway":
            return super().request(testbed, server, token, source)
        body = json.dumps({"productId": product_id(self.file), "version": "1"}).encode()
        head = (
            "POST /api/generate-download-url HTTP/1.1\r\n"
            f"Host: {server.host}:{server.port}\r\nAuthorization: Bearer {testbed.mint_key()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Workers(WrkScenario):
    """One worker and two, with all CPUs for everything: what the second costs the first."""

    name = "workers"
    title = "small, 1 and 2 workers, on all CPUs together with the load"
    peers = ("gateway",)
    targets = (
        Target("cpu_us", 1.1, "1 worker", at="most", subject="2 workers"),
        Target("rps", 1.0, "1 worker", subject="2 workers"),
    )

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        del peers
        return [
            Participant(label, "gateway", StartOptions(testbed.cores.all, workers=count))
            for label, count in (("1 worker", 1), ("2 workers", 2))
        ]

    def shared_cpus(self, testbed: Testbed) -> Sequence[int] | None:
        return testbed.cores.all

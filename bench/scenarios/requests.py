"""Scenarios of many requests: wrk's closed loop over prepared requests, a new token each."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.errors import WrongAnswers
from bench.load.control import Effort, run_wrk
from bench.load.wrk import Load, write_requests
from bench.peers import Kind, Options, Server
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Contestant, Scenario
from bench.testbed.testbed import BIG, SIZES, SMALL, Ground, product_id

SPAN = 64 << 10
SAMPLES = 3
"""Answers checked byte for byte before each run."""

SEED = 20_240_229
"""Every contestant gets the same requests, in every round."""


class WrkScenario(Scenario):
    """A closed loop of wrk's."""

    file: ClassVar[str] = SMALL
    status: ClassVar[int] = 200
    body: ClassVar[int] = SIZES[SMALL]
    shown = ("rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us", "server_busy", "load_busy", "others")

    def tokens(self, ground: Ground) -> list[str]:
        """A token for each request."""
        return ground.tokens(self.file)

    def request(self, ground: Ground, server: Server, token: str, source: random.Random) -> bytes:
        """One request."""
        del ground, source
        return server.request(self.kind, token, self.file)

    def check(self, ground: Ground, server: Server, request: bytes) -> None:
        """One answer, byte for byte. Raises WrongAnswers."""
        expect(server, request, self.status, ground.path(self.file) if self.body else None)

    def prepare(self, ground: Ground, contestant: Contestant) -> Path:
        """The file of requests, made once."""
        path = ground.folder / f"requests-{self.name}-{contestant.running.port}"
        if not path.exists():
            source = random.Random(SEED)
            server = contestant.running
            requests = [self.request(ground, server, token, source) for token in self.tokens(ground)]
            write_requests(path, requests)
        return path

    def measure(self, ground: Ground, contestant: Contestant, effort: Effort) -> Sample:
        server = contestant.running
        requests = self.prepare(ground, contestant)
        chance = random.Random()
        for token in chance.sample(self.tokens(ground), SAMPLES):
            self.check(ground, server, self.request(ground, server, token, chance))
        cpus = self.shared_cpus(ground)
        if not contestant.warm:
            contestant.warm.add("up")
            run_wrk(ground, server, requests, replace(effort, seconds=1), cpus=cpus)
        load, sample = run_wrk(ground, server, requests, effort, cpus=cpus)
        check_load(server.peer.name, load, self.status, self.body)
        return sample

    def shared_cpus(self, ground: Ground) -> Sequence[int] | None:
        """The CPUs of load and server, where they have not one each."""
        del ground
        return None


def check_load(name: str, load: Load, status: int, body: int) -> None:
    """Every answer must have been the expected one, as far as wrk can tell. Raises WrongAnswers.

    It tells answers of 400 and above from the rest, and all bytes: a server that sends less is found out.
    """
    if not load.requests:
        raise WrongAnswers(f"{name} answered nothing")
    if load.broken:
        raise WrongAnswers(f"{name} broke connections: {load.broken}")
    wanted = load.requests if status >= 400 else 0
    if load.refused != wanted:
        raise WrongAnswers(f"{name}: {load.refused} of {load.requests} answers were refusals, not {wanted}")
    if load.bytes < load.requests * body:
        raise WrongAnswers(f"{name} sent {load.bytes} bytes in {load.requests} answers: too few")


class Small(WrkScenario):
    """1 KiB, a new token each: the decision, and little else."""

    name = "small"
    title = "1 KiB files, a new token for each request"
    targets: ClassVar[tuple[Target, ...]] = (Target("rps", 1.5, "nginx-lua"), Target("rps", 10, "plain"))


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

    def request(self, ground: Ground, server: Server, token: str, source: random.Random) -> bytes:
        del ground
        start = source.randrange(SIZES[self.file] - SPAN)
        return server.request(self.kind, token, self.file, {"Range": f"bytes={start}-{start + SPAN - 1}"})

    def check(self, ground: Ground, server: Server, request: bytes) -> None:
        start, _, last = request.partition(b"bytes=")[2].partition(b"\r\n")[0].partition(b"-")
        span = int(start), int(last) + 1
        expect(server, request, self.status, ground.path(self.file), span)


class Mint(WrkScenario):
    """New tokens, by the mint service; against plain's downloads, which cost it one command of Redis too."""

    name = "mint"
    title = "POST /api/generate-download-url; plain: its small downloads"
    peers = ("gateway", "plain")
    body = 0
    targets = (Target("rps", 1.5, "plain"),)

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        found = super().contestants(peers, ground)
        return [
            replace(each, options=replace(each.options, mint=True)) if each.peer == "gateway" else each
            for each in found
        ]

    def tokens(self, ground: Ground) -> list[str]:
        tokens = ground.tokens(self.file)  # publishes the product too
        return tokens[: max(SAMPLES, len(tokens) // 10)]

    def request(self, ground: Ground, server: Server, token: str, source: random.Random) -> bytes:
        if server.peer.name != "gateway":
            return super().request(ground, server, token, source)
        body = json.dumps({"productId": product_id(self.file), "version": "1"}).encode()
        head = (
            "POST /api/generate-download-url HTTP/1.1\r\n"
            f"Host: {server.host}:{server.port}\r\nAuthorization: Bearer {ground.mint_key()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Workers(WrkScenario):
    """One worker and two, with all CPUs for everyone: what a second one costs the first."""

    name = "workers"
    title = "small, 1 and 2 workers, on all CPUs together with the load"
    peers = ("gateway",)
    targets = (
        Target("cpu_us", 1.1, "1 worker", at="most", subject="2 workers"),
        Target("rps", 1.0, "1 worker", subject="2 workers"),
    )

    def contestants(self, peers: Sequence[str], ground: Ground) -> list[Contestant]:
        del peers
        return [
            Contestant(label, "gateway", Options(ground.cores.all, workers=count))
            for label, count in (("1 worker", 1), ("2 workers", 2))
        ]

    def shared_cpus(self, ground: Ground) -> Sequence[int] | None:
        return ground.cores.all

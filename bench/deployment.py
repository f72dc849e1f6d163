"""Load against a gateway that runs already: `python -m bench load`."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import uvloop

from bench.errors import BenchError
from bench.load.client import Aim, ClosedLoop, OpenLoop
from bench.load.process import trusting
from bench.load.tally import Tally
from bench.load.wrk import INSTALL, parse_wrk, write_requests, wrk_command
from bench.testbed.machine import tool_path
from bench.testbed.processes import Crew
from bench.testbed.usage import Meter, listening_pids
from gateway.secrets import new_token

MAX_TOKENS = 1_000_000
MINT_AT_ONCE = 16
GRACE_SECONDS = 15.0
LATE_SECONDS = 0.01
"""A generator that was later than this says so."""

SAMPLES = 20
"""Answers whose status is looked at after a run of wrk's."""

KINDS = ("download", "ranges", "auth", "refused")


@dataclass(frozen=True)
class Order:
    """What to do. url: the base, or a template with {token}. rate: requests/s; None: closed loop."""

    url: str
    kind: str = "download"
    connections: int = 32
    seconds: float = 10.0
    rate: float | None = None
    span: int = 64 << 10
    own_host: bool = False


@dataclass
class Report:
    """What came out. figures: by the names of bench.model."""

    generator: str
    figures: dict[str, float]
    statuses: dict[str, int]
    faults: dict[str, int]
    notes: list[str] = field(default_factory=list)


def require_loopback(url: str, *, own_host: bool) -> None:
    """Refuse to load anyone else's machine. Raises BenchError."""
    host = urlsplit(url).hostname
    if not host or urlsplit(url).scheme not in ("http", "https"):
        raise BenchError(f"{url!r} is no URL: write http://HOST:PORT or https://HOST")
    if own_host:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        raise BenchError(f"the host {host} is not known here") from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found):
        raise BenchError(
            f"{host} is not this machine; to load it all the same, because it is yours: --yes-i-own-this-host"
        )


def read_tokens(path: Path) -> list[str]:
    """Tokens out of a file, one a line: a token, or a URL with `?token=`. Raises BenchError."""
    tokens = []
    try:
        with path.open() as file:
            for line in file:
                text = line.strip()
                if text and not text.startswith("#"):
                    tokens.append(
                        parse_qs(urlsplit(text).query).get("token", [""])[0] if "?" in text else text
                    )
                if len(tokens) > MAX_TOKENS:
                    raise BenchError(f"{path} has more than {MAX_TOKENS} tokens: fewer will do")
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from None
    if not tokens or not all(tokens):
        raise BenchError(f"{path} must have one token, or one URL with ?token=, a line")
    return tokens


def mint_tokens(url: str, key: str, product: str, version: str | None, count: int) -> list[str]:
    """Have the mint service make tokens. Raises BenchError."""
    body = {"productId": product, **({"version": version} if version else {})}

    async def mint(session: aiohttp.ClientSession, turn: asyncio.Semaphore) -> str:
        async with turn, session.post(f"{url.rstrip('/')}/api/generate-download-url", json=body) as answer:
            plain = await answer.json(content_type=None)
            if answer.status != 200:
                raise BenchError(f"the mint service answered {answer.status}: {plain.get('error')}")
            return str(plain["downloadToken"])

    async def mint_all() -> list[str]:
        turn = asyncio.Semaphore(MINT_AT_ONCE)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            return await asyncio.gather(*(mint(session, turn) for _ in range(count)))

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(mint_all())
    except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"the mint service at {url} cannot be used: {type(error).__name__}: {error}"
        ) from None


class Target:
    """Where the load goes, as sockets need it, and the requests it consists of."""

    def __init__(self, order: Order) -> None:
        parts = urlsplit(order.url)
        self.order = order
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self._template = order.url[order.url.index(parts.netloc) + len(parts.netloc) :]
        if "{token}" not in self._template:
            self._template = self._template.rstrip("/") + "/download?token={token}"

    @property
    def base(self) -> str:
        """Scheme and authority."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def requests(self, tokens: Sequence[str]) -> list[bytes]:
        """One request a token. Raises BenchError when the file's size is needed and cannot be had."""
        if self.order.kind == "refused":
            tokens = [new_token() for _ in tokens]
        size = self._size(tokens[0]) if self.order.kind == "ranges" else 0
        return [self._request("GET", token, self._fields(token, size)) for token in tokens]

    def _fields(self, token: str, size: int) -> str:
        if self.order.kind == "auth":
            return f"X-Original-URI: {self._template.format(token=token)}\r\n"
        if self.order.kind == "ranges":
            start = random.randrange(size - self.order.span + 1)
            return f"Range: bytes={start}-{start + self.order.span - 1}\r\n"
        return ""

    def _request(self, method: str, token: str, fields: str = "") -> bytes:
        path = "/auth" if self.order.kind == "auth" else self._template.format(token=token)
        return f"{method} {path} HTTP/1.1\r\nHost: {self.authority}\r\n{fields}\r\n".encode()

    def status(self, request: bytes) -> int:
        """The status of one answer, of which only the head is read. Raises BenchError."""
        return self._ask(request).status

    def _size(self, token: str) -> int:
        answer = self._ask(self._request("HEAD", token))
        size = int(answer.getheader("Content-Length") or 0)
        if answer.status != 200 or size < self.order.span:
            told = f"HEAD gave {answer.status}, {size} bytes"
            raise BenchError(f"a file of {self.order.span} bytes at least is needed: {told}")
        return size

    def _ask(self, request: bytes) -> HTTPResponse:
        try:
            with socket.create_connection((self.host, self.port), 20) as plain:
                link = trusting().wrap_socket(plain, server_hostname=self.host) if self.tls else plain
                link.sendall(request)
                answer = HTTPResponse(link, method="HEAD")
                answer.begin()
                return answer
        except (OSError, HTTPException) as error:
            raise BenchError(f"{self.base} does not answer: {type(error).__name__}: {error}") from None


class Progress:
    """A line a second on standard error, and what the server uses meanwhile if it runs on this host."""

    def __init__(self, port: int, *, local: bool, seconds: float) -> None:
        self._meter = Meter(listening_pids(port)) if local else Meter(())
        self._seconds = seconds
        self._began = time.monotonic()
        self._last = (self._began, 0.0)
        self.local = bool(self._meter.pids)

    def __call__(self, tally: Tally | None = None) -> None:
        """Say how far it is."""
        now, used = time.monotonic(), self._meter.used()
        parts = [f"{now - self._began:.0f} of {self._seconds:.0f} s"]
        if tally is not None:
            parts.append(f"{tally.answers} answers, {sum(tally.faults.values())} faults")
        if self.local:
            share = 100 * (used - self._last[1]) / max(1e-9, now - self._last[0])
            parts.append(f"server CPU {share:.0f} %, {self._meter.memory() / 2**20:.0f} MiB")
        self._last = (now, used)
        print(" · ".join(parts), file=sys.stderr, flush=True)

    def figures(self, requests: int, seconds: float, data: int) -> dict[str, float]:
        """What the server used in all."""
        if not self.local:
            return {}
        used = self._meter.used()
        found = {"server_busy": 100 * used / seconds, "memory_mib": self._meter.memory() / 2**20}
        if requests:
            found["cpu_us"] = 1e6 * used / requests
        if data:
            found["cpu_gb"] = 1e9 * used / data
        return found


def load(order: Order, tokens: Sequence[str]) -> Report:
    """Drive the load to its end. Raises BenchError."""
    require_loopback(order.url, own_host=order.own_host)
    target = Target(order)
    requests = target.requests(tokens)
    local = not order.own_host or _is_here(target.host)
    progress = Progress(target.port, local=local, seconds=order.seconds)
    wrk = tool_path("wrk")
    if order.rate is None and wrk is not None:
        report = _run_wrk(wrk, target, requests, progress)
    else:
        report = _run_own(target, requests, progress)
        if order.rate is None:
            report.notes.append(f"wrk is missing, so our own slower generator was used: {INSTALL}")
    if local and not progress.local:
        report.notes.append("who listens on that port cannot be seen: no CPU and memory of the server")
    return report


def _is_here(host: str) -> bool:
    try:
        require_loopback(f"http://{host}", own_host=False)
    except BenchError:
        return False
    return True


def _run_wrk(wrk: str, target: Target, requests: Sequence[bytes], progress: Progress) -> Report:
    order = target.order
    with tempfile.TemporaryDirectory(prefix="dg-bench-") as name:
        folder = Path(name)
        write_requests(folder / "requests", requests)
        command = wrk_command(
            wrk,
            target.base,
            folder / "requests",
            connections=order.connections,
            seconds=order.seconds,
        )
        with Crew(folder) as crew:
            program = crew.start("wrk", command, cpus=sorted(os.sched_getaffinity(0)), stdout=subprocess.PIPE)
            program.wait_for_end(order.seconds + GRACE_SECONDS, each_second=progress)
            found = parse_wrk(program.output())
    figures = {
        "rps": found.requests / found.seconds,
        "mbps": found.bytes / found.seconds / 1e6,
        **(found.latencies_ms if found.requests else {}),
        **progress.figures(found.requests, found.seconds, found.bytes),
    }
    statuses = {"below 400": found.requests - found.refused, "400 and above": found.refused}
    report = Report("wrk, closed loop", figures, statuses, found.broken)
    sample = Counter(target.status(request) for request in requests[:SAMPLES])
    told = ", ".join(f"{status} {count} times" for status, count in sorted(sample.items()))
    report.notes.append(f"wrk does not tell statuses apart; a sample of {len(requests[:SAMPLES])}: {told}")
    return report


def _run_own(target: Target, requests: Sequence[bytes], progress: Progress) -> Report:
    order = target.order
    aim = Aim(target.host, target.port, trusting() if target.tls else None)

    async def run() -> Tally:
        if order.rate is None:
            return await ClosedLoop(aim, requests, order.connections).run(order.seconds, progress)
        loop = OpenLoop(aim, requests, order.connections, order.rate)
        return await loop.run(order.seconds, progress)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tally = runner.run(run())
    except OSError as error:
        raise BenchError(f"{target.base} does not answer: {error}") from None
    kind = "closed loop" if order.rate is None else f"open loop, {order.rate:g} requests/s"
    report = Report(
        f"our own, {kind}",
        {**tally.figures(), **progress.figures(tally.answers, tally.seconds, tally.bytes)},
        {str(status): count for status, count in tally.statuses.items()},
        dict(tally.faults),
    )
    if order.rate is not None and tally.late > LATE_SECONDS:
        report.notes.append(
            f"the generator itself was up to {1000 * tally.late:.0f} ms late, which the latencies include"
        )
    return report

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
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import uvloop

from bench.errors import BenchError
from bench.load.client import Endpoint
from bench.load.control import GRACE_SECONDS, cpu_cost
from bench.load.loops import ClosedLoop, OpenLoop
from bench.load.process import run_on_uvloop
from bench.load.tally import Tally
from bench.load.wrk import INSTALL, parse_wrk, write_requests, wrk_command
from bench.report.figures import LoadReport
from bench.testbed.certificate import unverified_tls
from bench.testbed.machine import tool_path
from bench.testbed.processes import ProcessGroup
from bench.testbed.usage import UsageMeter, listening_pids
from gateway.secrets import new_token

MAX_TOKENS = 1_000_000
MINT_AT_ONCE = 16
CONNECT_SECONDS = 20
LATE_SECONDS = 0.01
"""If the generator was later than this, the report says so."""

SAMPLES = 20
"""Responses whose status is examined after a run of wrk."""

KINDS = ("download", "ranges", "auth", "refused")


@dataclass(frozen=True)
class LoadPlan:
    """What to send. url: the base URL, or a template with {token}. rate: requests/s; None: closed loop."""

    url: str
    kind: str = "download"
    connections: int = 32
    seconds: float = 10.0
    rate: float | None = None
    span: int = 64 << 10
    own_host: bool = False


def require_loopback(url: str, *, own_host: bool) -> None:
    """Raise BenchError if the URL's host is another machine, unless the user says that it is theirs."""
    host = urlsplit(url).hostname
    if not host or urlsplit(url).scheme not in ("http", "https"):
        raise BenchError(f"{url!r} is no URL: write http://HOST:PORT or https://HOST")
    if own_host:
        return
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        raise BenchError(f"the name {host} cannot be resolved: check it, or write an address") from None
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses):
        raise BenchError(
            f"{host} is not this machine; if it is yours, and may be loaded, add --yes-i-own-this-host"
        )


def read_tokens(path: Path) -> list[str]:
    """Read a file with a token, or a URL with `?token=`, on each line. Raises BenchError."""
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
                    raise BenchError(f"{path} has more than {MAX_TOKENS} tokens: give fewer")
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from None
    if not tokens or not all(tokens):
        raise BenchError(f"{path} must have one token, or one URL with ?token=, on each line")
    return tokens


def mint_tokens(url: str, key: str, product: str, version: str | None, count: int) -> list[str]:
    """Request tokens from the mint service. Raises BenchError."""
    body = {"productId": product, **({"version": version} if version else {})}
    endpoint = f"{url.rstrip('/')}/api/generate-download-url"

    async def mint(session: aiohttp.ClientSession, limit: asyncio.Semaphore) -> str:
        async with limit, session.post(endpoint, json=body) as response:
            content = await response.json(content_type=None)
            if response.status != 200:
                raise BenchError(f"the mint service answered {response.status}: {content.get('error')}")
            return str(content["downloadToken"])

    async def mint_all() -> list[str]:
        limit = asyncio.Semaphore(MINT_AT_ONCE)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            return await asyncio.gather(*(mint(session, limit) for _ in range(count)))

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(mint_all())
    except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
        raise BenchError(f"minting at {url} failed: {type(error).__name__}: {error}") from None


class Deployment:
    """The gateway that is loaded: its address, and the requests to it."""

    def __init__(self, plan: LoadPlan) -> None:
        parts = urlsplit(plan.url)
        self.plan = plan
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self._template = plan.url[plan.url.index(parts.netloc) + len(parts.netloc) :]
        if "{token}" not in self._template:
            self._template = self._template.rstrip("/") + "/download?token={token}"

    @property
    def base(self) -> str:
        """Scheme and authority."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def requests(self, tokens: Sequence[str]) -> list[bytes]:
        """One request for each token. Raises BenchError if the file's size is needed and unknown."""
        if self.plan.kind == "refused":
            tokens = [new_token() for _ in tokens]
        size = self._file_size(tokens[0]) if self.plan.kind == "ranges" else 0
        return [self._request("GET", token, self._fields(token, size)) for token in tokens]

    def _fields(self, token: str, size: int) -> str:
        if self.plan.kind == "auth":
            return f"X-Original-URI: {self._template.format(token=token)}\r\n"
        if self.plan.kind == "ranges":
            start = random.randrange(size - self.plan.span + 1)
            return f"Range: bytes={start}-{start + self.plan.span - 1}\r\n"
        return ""

    def _request(self, method: str, token: str, fields: str = "") -> bytes:
        path = "/auth" if self.plan.kind == "auth" else self._template.format(token=token)
        return f"{method} {path} HTTP/1.1\r\nHost: {self.authority}\r\n{fields}\r\n".encode()

    def status(self, request: bytes) -> int:
        """The status of the response to a request; only the head is read. Raises BenchError."""
        return self._fetch_head(request).status

    def _file_size(self, token: str) -> int:
        response = self._fetch_head(self._request("HEAD", token))
        size = int(response.getheader("Content-Length") or 0)
        if response.status != 200 or size < self.plan.span:
            seen = f"HEAD gave {response.status}, {size} bytes"
            raise BenchError(f"a file of at least {self.plan.span} bytes is needed: {seen}")
        return size

    def _fetch_head(self, request: bytes) -> HTTPResponse:
        try:
            with socket.create_connection((self.host, self.port), CONNECT_SECONDS) as plain:
                connection = (
                    unverified_tls().wrap_socket(plain, server_hostname=self.host) if self.tls else plain
                )
                connection.sendall(request)
                response = HTTPResponse(connection, method="HEAD")
                response.begin()
                return response
        except (OSError, HTTPException) as error:
            raise BenchError(f"{self.base} does not answer: {type(error).__name__}: {error}") from None


class Progress:
    """Prints one line a second to standard error, with what the server uses if it runs on this machine."""

    def __init__(self, port: int, *, local: bool, seconds: float) -> None:
        self._meter = UsageMeter(listening_pids(port)) if local else UsageMeter(())
        self._seconds = seconds
        self._began = time.monotonic()
        self._last = (self._began, 0.0)
        self.local = bool(self._meter.pids)

    def __call__(self, tally: Tally | None = None) -> None:
        """Print the line."""
        now, used = time.monotonic(), self._meter.used()
        parts = [f"{now - self._began:.0f} of {self._seconds:.0f} s"]
        if tally is not None:
            parts.append(f"{tally.responses} answers, {sum(tally.faults.values())} faults")
        if self.local:
            share = 100 * (used - self._last[1]) / max(1e-9, now - self._last[0])
            parts.append(f"server CPU {share:.0f} %, {self._meter.memory() / 2**20:.0f} MiB")
        self._last = (now, used)
        print(" · ".join(parts), file=sys.stderr, flush=True)

    def figures(self, requests: int, seconds: float, size: int) -> dict[str, float]:
        """What the server used in total. size: bytes that were sent."""
        if not self.local:
            return {}
        used = self._meter.used()
        return {
            "server_busy": 100 * used / seconds,
            "memory_mib": self._meter.memory() / 2**20,
            **cpu_cost(used, requests, size),
        }


def load(plan: LoadPlan, tokens: Sequence[str]) -> LoadReport:
    """Send the load to its end. Raises BenchError."""
    require_loopback(plan.url, own_host=plan.own_host)
    deployment = Deployment(plan)
    requests = deployment.requests(tokens)
    local = not plan.own_host or _is_this_machine(deployment.host)
    progress = Progress(deployment.port, local=local, seconds=plan.seconds)
    wrk = tool_path("wrk")
    if plan.rate is None and wrk is not None:
        report = _run_wrk(wrk, deployment, requests, progress)
    else:
        report = _run_own(deployment, requests, progress)
        if plan.rate is None:
            report.notes.append(f"wrk is missing, so our own slower generator was used: {INSTALL}")
    if local and not progress.local:
        report.notes.append(
            "the processes that listen on that port are not visible to this user, so CPU and memory of the "
            "server are unknown: run this as the same user"
        )
    return report


def _is_this_machine(host: str) -> bool:
    try:
        require_loopback(f"http://{host}", own_host=False)
    except BenchError:
        return False
    return True


def _run_wrk(wrk: str, deployment: Deployment, requests: Sequence[bytes], progress: Progress) -> LoadReport:
    plan = deployment.plan
    with tempfile.TemporaryDirectory(prefix="dg-bench-") as name:
        folder = Path(name)
        write_requests(folder / "requests", requests)
        command = wrk_command(
            wrk,
            deployment.base,
            folder / "requests",
            connections=plan.connections,
            seconds=plan.seconds,
        )
        with ProcessGroup(folder) as processes:
            cpus = sorted(os.sched_getaffinity(0))
            program = processes.start("wrk", command, cpus=cpus, stdout=subprocess.PIPE)
            program.wait_for_end(plan.seconds + GRACE_SECONDS, each_second=progress)
            result = parse_wrk(program.output())
    figures = {
        "rps": result.requests / result.seconds,
        "mbps": result.bytes / result.seconds / 1e6,
        **(result.latencies_ms if result.requests else {}),
        **progress.figures(result.requests, result.seconds, result.bytes),
    }
    statuses = {"below 400": result.requests - result.refused, "400 and above": result.refused}
    report = LoadReport("wrk, closed loop", figures, statuses, result.broken)
    sample = Counter(deployment.status(request) for request in requests[:SAMPLES])
    counts = ", ".join(f"{status} {count} times" for status, count in sorted(sample.items()))
    report.notes.append(
        f"wrk does not tell statuses apart; a sample of {len(requests[:SAMPLES])} requests gave {counts}"
    )
    return report


def _run_own(deployment: Deployment, requests: Sequence[bytes], progress: Progress) -> LoadReport:
    plan = deployment.plan
    endpoint = Endpoint(deployment.host, deployment.port, unverified_tls() if deployment.tls else None)

    async def run() -> Tally:
        if plan.rate is None:
            return await ClosedLoop(endpoint, requests, plan.connections).run(plan.seconds, progress)
        return await OpenLoop(endpoint, requests, plan.connections, plan.rate).run(plan.seconds, progress)

    try:
        tally = run_on_uvloop(run)
    except OSError as error:
        raise BenchError(f"{deployment.base} does not answer: {error}") from None
    kind = "closed loop" if plan.rate is None else f"open loop, {plan.rate:g} requests/s"
    report = LoadReport(
        f"our own, {kind}",
        {**tally.figures(), **progress.figures(tally.responses, tally.seconds, tally.bytes)},
        {str(status): count for status, count in tally.statuses.items()},
        dict(tally.faults),
    )
    if plan.rate is not None and tally.late > LATE_SECONDS:
        report.notes.append(
            f"the generator itself was up to {1000 * tally.late:.0f} ms late, which the latencies include"
        )
    return report

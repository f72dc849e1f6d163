"""A generator as a process: it reads its job as one line of JSON, and prints the result as one line of JSON.

python -m bench.load.process        started by the bench, on the CPU of the load
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench.load.client import Endpoint
from bench.load.cold_reads import cold_spans, read_cold_spans
from bench.load.downloads import download_and_discard
from bench.load.loops import ClosedLoop, OpenLoop
from bench.load.slow_clients import Pace, run_slow_clients
from bench.load.tally import Tally
from bench.load.webhooks import WebhookLoop
from bench.testbed.certificate import unverified_tls


def print_line(value: object) -> None:
    """Print one line of JSON to the bench."""
    print(json.dumps(value), flush=True)


def _requests(job: dict[str, Any]) -> list[bytes]:
    return Path(job["requests"]).read_bytes().split(b"\0")


def _endpoint(job: dict[str, Any]) -> Endpoint:
    tls = unverified_tls() if job.get("tls") else None
    return Endpoint(job["host"], job["port"], tls, job.get("source"))


def run_on_uvloop(load: Callable[[], Awaitable[Tally]]) -> Tally:
    """Run a load to its end, on an event loop of its own. Raises OSError if no connection can be opened."""

    async def main() -> Tally:
        return await load()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def run_open_loop(job: dict[str, Any]) -> None:
    """Send at a fixed rate."""

    async def load() -> Tally:
        loop = OpenLoop(_endpoint(job), _requests(job), job["connections"], job["rate"])
        return await loop.run(job["seconds"])

    print_line(run_on_uvloop(load).to_json())


def run_closed_loop(job: dict[str, Any]) -> None:
    """Send as fast as the server responds."""

    async def load() -> Tally:
        loop = ClosedLoop(_endpoint(job), _requests(job), job["connections"])
        return await loop.run(job["seconds"])

    print_line(run_on_uvloop(load).to_json())


def run_webhooks(job: dict[str, Any]) -> None:
    """Send signed webhooks at a fixed rate; tells also which were taken, and the CPU seconds it took."""
    taken: list[int] = []

    async def load() -> Tally:
        loop = WebhookLoop(
            _endpoint(job), [b""], job["connections"], job["rate"], paths=job["paths"], junk=job["junk"]
        )
        tally = await loop.run(job["seconds"])
        taken[:] = loop.taken
        return tally

    tally = run_on_uvloop(load)
    print_line({**tally.to_json(), "taken": taken, "cpu": time.process_time()})


def _yield_cpu() -> None:
    """Let everything else on this CPU go first, so that the generator that measures is not delayed."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def run_downloads(job: dict[str, Any]) -> None:
    """Take large files. aside: they are only there to disturb other requests, which are measured."""
    if job.get("aside"):
        _yield_cpu()
    address = job["host"], job["port"]
    tally = download_and_discard(address, _requests(job), job["connections"], job["seconds"])
    print_line(tally.to_json())


def run_slow(job: dict[str, Any]) -> None:
    """Be thousands of slow clients, until a line comes on standard input."""
    _yield_cpu()
    first, request = _requests(job)

    def running() -> bool:
        return not select.select([sys.stdin], [], [], 0)[0]

    def wait() -> str:
        return sys.stdin.readline()

    pace = Pace(job["clients"], job["rate"])
    address = job["host"], job["port"]
    print_line(run_slow_clients(address, first, request, pace, print_line, wait, running))


def run_cold(job: dict[str, Any]) -> None:
    """Request spans that are not in the page cache."""
    os.nice(5)
    spans = cold_spans(job["size"], job["length"])
    address = job["host"], job["port"]
    counts = read_cold_spans(address, _requests(job), spans, job["path"], job["rate"], job["seconds"])
    print_line(counts)


JOBS = {
    "open-loop": run_open_loop,
    "closed-loop": run_closed_loop,
    "downloads": run_downloads,
    "slow-clients": run_slow,
    "cold-reads": run_cold,
    "webhooks": run_webhooks,
}


def main() -> int:
    """Run the job; returns the exit code."""
    job = json.loads(sys.stdin.readline())
    try:
        JOBS[job["job"]](job)
    except OSError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

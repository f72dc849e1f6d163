"""A generator as a process of its own: a job as one line of JSON on standard input, its result on output.

python -m bench.load.process        started by the bench, on the CPU of the load
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from bench.load.client import Aim, ClosedLoop, OpenLoop
from bench.load.downloads import Pace, cold_spans, crawl, drain, read_cold
from bench.load.tally import Tally


def tell(answer: object) -> None:
    """One line of JSON to the bench."""
    print(json.dumps(answer), flush=True)


def _requests(job: dict[str, Any]) -> list[bytes]:
    return Path(job["requests"]).read_bytes().split(b"\0")


def _aim(job: dict[str, Any]) -> Aim:
    return Aim(job["host"], job["port"], trusting() if job.get("tls") else None)


def trusting() -> ssl.SSLContext:
    """TLS without a look at the certificate: what is measured is not who answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _run(main: Callable[[], Any]) -> Tally:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tally = runner.run(main())
    assert isinstance(tally, Tally)
    return tally


def run_open(job: dict[str, Any]) -> None:
    """Fixed rate."""

    async def main() -> Tally:
        load = OpenLoop(_aim(job), _requests(job), job["connections"], job["rate"])
        return await load.run(job["seconds"])

    tell(_run(main).plain())


def run_closed(job: dict[str, Any]) -> None:
    """As fast as it goes."""

    async def main() -> Tally:
        return await ClosedLoop(_aim(job), _requests(job), job["connections"]).run(job["seconds"])

    tell(_run(main).plain())


def _give_way() -> None:
    """To everything else on this CPU, so as not to delay who measures."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def run_drain(job: dict[str, Any]) -> None:
    """Large downloads; `aside`: beside others that are measured."""
    if job.get("aside"):
        _give_way()
    tell(drain((job["host"], job["port"]), _requests(job), job["connections"], job["seconds"]).plain())


def run_crawl(job: dict[str, Any]) -> None:
    """Slow clients."""
    _give_way()
    first, request = _requests(job)

    def running() -> bool:
        return not select.select([sys.stdin], [], [], 0)[0]

    def wait() -> str:
        return sys.stdin.readline()

    pace = Pace(job["clients"], job["rate"])
    tell(crawl((job["host"], job["port"]), first, request, pace, tell, wait, running))


def run_cold(job: dict[str, Any]) -> None:
    """Spans that are not in the page cache."""
    os.nice(5)
    spans = cold_spans(job["size"], job["length"])
    requests = _requests(job)
    tell(read_cold((job["host"], job["port"]), requests, spans, job["path"], job["rate"], job["seconds"]))


JOBS = {"open": run_open, "closed": run_closed, "drain": run_drain, "crawl": run_crawl, "cold": run_cold}


def main() -> int:
    """Run the job."""
    job = json.loads(sys.stdin.readline())
    try:
        JOBS[job["job"]](job)
    except OSError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

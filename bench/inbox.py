"""How many webhooks a second the inbox takes, how fast they are answered, and whether any is lost.

`serve-web` runs as users start it, with its store, on SQLite or PostgreSQL. A generator beside it sends
signed events of four platforms at a fixed rate, whatever the server does, each about an order of its own.
Afterwards every event that was answered with 200 must be in the inbox, once. With `kill` the web process is
killed in the middle, and its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from bench.errors import BenchError
from bench.load.webhooks import SECRET, WEBHOOKS, order_number
from bench.testbed.postgres import run_postgres
from bench.testbed.processes import READY_SECONDS, ProcessGroup, Program
from bench.testbed.usage import UsageMeter, resident_bytes
from gateway.config.database_url import DATABASE_FILE, locate_database
from gateway.database.engine import Database
from gateway.database.tables import INBOX, ORDER

GRACE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class InboxPlan:
    """database: sqlite, postgresql, or a database_url. rate: events a second. kill: in the middle.

    connections: of the platforms. Each carries one delivery at a time, as theirs do. With 64, the generator
    itself waited for a commit, and 1,060 events a second were the most that it could send.
    junk: nothing is signed rightly, so nothing may be stored. scratch: where the temporary folder is made.
    """

    database: str = "sqlite"
    rate: float = 1000.0
    seconds: float = 60.0
    connections: int = 256
    kinds: tuple[str, ...] = tuple(kind.name for kind in WEBHOOKS)
    kill: bool = False
    junk: bool = False
    scratch: Path | None = None


@dataclass
class InboxReport:
    """What was measured. CPU: µs of an answered event; without `kill` only, because a dead process has none.

    lost: answered with 200, and not in the inbox. doubled: more than once in it. applied: by the end.
    load_average: of the machine, before and after.
    """

    plan: InboxPlan
    events_per_second: float
    statuses: dict[int, int]
    faults: dict[str, int]
    latency: dict[str, float]
    generator_late: float
    lost: int
    doubled: int
    stored: int
    applied: int
    cpu_us: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)
    load_average: tuple[float, float] = (0.0, 0.0)


def measure(plan: InboxPlan) -> InboxReport:
    """Measure. Raises BenchError."""
    folder = Path(tempfile.mkdtemp(prefix="dg-inbox-", dir=plan.scratch))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    cpus = sorted(os.sched_getaffinity(0))
    try:
        with ProcessGroup(folder) as processes, contextlib.ExitStack() as stack:
            database: Program | None = None
            url = plan.database
            if url == "postgresql":
                url, database = stack.enter_context(run_postgres(processes, folder / "postgres", cpus))
            elif url == "sqlite":
                url = f"sqlite:///{folder}/data/{DATABASE_FILE}"
            environ = {"GATEWAY_DATA": str(folder / "data"), "GATEWAY_DATABASE_URL": url}
            web = _serve(processes, environ, cpus)
            address = f"http://127.0.0.1:{web.wait_for_port()}"
            paths = _connect(address, environ, plan.kinds)
            return _load(plan, processes, (web, database), address, paths, url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(processes: ProcessGroup, environ: dict[str, str], cpus: list[int]) -> Program:
    command = [sys.executable, "-m", "gateway", "serve-web", "--dashboard-listen", "127.0.0.1:0"]
    return processes.start("web", command, cpus=cpus, environ=environ)


def _connect(address: str, environ: dict[str, str], kinds: tuple[str, ...]) -> dict[str, str]:
    """Make a connection for each kind; returns the paths of their webhooks."""
    command = [sys.executable, "-m", "gateway", "key", "create", "bench", "--role", "admin", "--json"]
    deadline = time.monotonic() + READY_SECONDS
    while True:
        made = subprocess.run(command, check=False, capture_output=True, env={**os.environ, **environ})
        if not made.returncode:
            break
        if time.monotonic() > deadline:
            raise BenchError(
                f"no API key could be made: {made.stderr.decode(errors='replace').strip()[-300:]}"
            )
    key = json.loads(made.stdout)["key"]
    paths = {}
    for kind in kinds:
        body = json.dumps({"kind": kind, "name": kind, "secrets": [SECRET]}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/api/connections", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            paths[kind] = f"/hooks/{json.load(response)['connection']['id']}"
    return paths


def _load(
    plan: InboxPlan,
    processes: ProcessGroup,
    servers: tuple[Program, Program | None],
    address: str,
    paths: dict[str, str],
    url: str,
) -> InboxReport:
    web, database = servers
    before = os.getloadavg()[0]
    meters = {"web": UsageMeter([pid for pid in web.pids() if _is(pid, "web")])}
    if database is not None:
        meters["database"] = UsageMeter(database.pids())
    memory = _memory(web)
    job = {
        "job": "webhooks",
        "host": "127.0.0.1",
        "port": int(address.rpartition(":")[2]),
        "paths": paths,
        "rate": plan.rate,
        "connections": plan.connections,
        "seconds": plan.seconds,
        "junk": plan.junk,
    }
    load = processes.start(
        "load",
        [sys.executable, "-m", "bench.load.process"],
        cpus=sorted(os.sched_getaffinity(0)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert load.process.stdin is not None
    assert load.process.stdout is not None
    load.process.stdin.write(json.dumps(job).encode() + b"\n")
    load.process.stdin.close()
    if plan.kill:
        time.sleep(plan.seconds / 2)
        [victim] = [pid for pid in web.pids() if _is(pid, "web")]
        os.kill(victim, signal.SIGKILL)
    line = load.process.stdout.readline()
    if not line:
        raise BenchError(f"the generator failed: {load.last_errors()}")
    found = json.loads(line)
    if database is not None:
        meters["database"] = _grown(meters["database"], database)
    taken = found["taken"]
    count = max(1, sum(found["statuses"].values()))
    used = {} if plan.kill else {name: 1e6 * meter.used() / count for name, meter in meters.items()}
    used["generator"] = 1e6 * found["cpu"] / count
    stored, doubled, applied = asyncio.run(_look(url))
    return InboxReport(
        plan,
        count / found["seconds"],
        {int(status): number for status, number in found["statuses"].items()},
        found["faults"],
        found["latency"],
        found["late"],
        lost=len(set(taken) - stored),
        doubled=doubled,
        stored=len(stored),
        applied=applied,
        cpu_us=used,
        memory_mib={"before": memory, "after": _memory(web)},
        load_average=(before, os.getloadavg()[0]),
    )


def _grown(meter: UsageMeter, program: Program) -> UsageMeter:
    """The same meter with the processes that a server has started since: PostgreSQL's one a connection."""
    more = UsageMeter([])
    more.pids = program.pids()
    more._before = {pid: meter._before.get(pid, 0.0) for pid in more.pids}
    return more


def _is(pid: int, service: str) -> bool:
    """Whether a process is a child of the supervisor that runs this service."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"gateway.supervisor.child" in words and service.encode() in words
    return False


def _memory(web: Program) -> float:
    with contextlib.suppress(ProcessLookupError):
        return sum(resident_bytes(pid) for pid in web.pids() if _is(pid, "web")) / 2**20
    return 0.0


async def _look(url: str) -> tuple[set[int], int, int]:
    """Look into the inbox: the numbers of its orders, how many are there twice, how many were applied."""
    numbers: list[int] = []
    async with Database.of(locate_database(url, Path())) as database, database.reading() as sql:
        async for (body,) in await sql.stream(select(INBOX.c.body)):
            numbers.append(order_number(body))
        applied = (await sql.execute(select(func.count()).select_from(ORDER))).scalar_one()
    return set(numbers), len(numbers) - len(set(numbers)), applied


def show(report: InboxReport, console: Console) -> None:
    """Print a report."""
    table = Table(title=f"Inbox on {report.plan.database.partition(':')[0]}", show_header=False)
    latency = ", ".join(f"{name.removesuffix('_ms')} {value:.0f}" for name, value in report.latency.items())
    cpu = ", ".join(f"{name} {value:.0f}" for name, value in report.cpu_us.items())
    memory = ", ".join(f"{name} {value:.0f}" for name, value in report.memory_mib.items())
    for name, value in (
        (
            "wanted",
            f"{report.plan.rate:g}/s for {report.plan.seconds:g} s, {report.plan.connections} connections",
        ),
        ("answered", f"{report.events_per_second:.0f}/s: {report.statuses}, faults {report.faults}"),
        ("latency, ms", latency),
        ("CPU of an event, \u00b5s", cpu),
        ("memory of web, MiB", memory),
        ("lost, doubled", f"{report.lost}, {report.doubled}"),
        ("stored, applied", f"{report.stored}, {report.applied}"),
        ("generator late by, s", f"{report.generator_late:.3f}"),
        ("load average", f"{report.load_average[0]:.1f} to {report.load_average[1]:.1f}"),
    ):
        table.add_row(name, value)
    console.print(table)


def write_json(report: InboxReport, path: Path) -> None:
    """Write a report to a file."""
    path.write_text(json.dumps(asdict(report), indent=1, default=str) + "\n")

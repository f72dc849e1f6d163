"""How long it takes to apply many events of usage to a database, how large it gets, and what reports take.

Batches as workers send them are handed to the reader of the web process (usage/applying.py), which applies
them as it does in production; only Redis is left out, so that the figures are those of the database and of
our own code. A simulated shop makes the events: tokens that download one file each in several requests,
spread over 90 days, with some resumes and parallel parts. Then the report of 30 days is read to its end, page
by page, and the analytics are asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.errors import BenchError
from bench.testbed.postgres import run_postgres
from bench.testbed.processes import ProcessGroup
from gateway.config.database_url import DATABASE_FILE, locate_database
from gateway.database.engine import Database
from gateway.database.migrating import prepare
from gateway.usage.applying import EventReader
from gateway.usage.events import FileOfVersion, encode_batch, number_texts
from gateway.usage.queries import ReportFilter, position_of, report_page, sum_up

EVENTS_A_BATCH: Final = 500
"""As a worker sends (dataplane/event_log.py)."""
EVENTS_A_DOWNLOAD: Final = 4
WORKERS: Final = 4
DAYS: Final = 90
REPORT_DAYS: Final = 30
PAGE_ROWS: Final = 1_000
PROGRESS_SECONDS: Final = 5.0
FIRST_DAY: Final = 20_400
"""Days since 1970: any will do."""
DAY_SECONDS: Final = 86_400
MICROSECONDS: Final = 1_000_000
AGENTS: Final = ("curl/8.5.0", "aria2/1.37.0", "Wget/1.21.4", "Mozilla/5.0 (X11; Linux) Firefox/140.0", "")
FILE_BYTES: Final = 100 << 20


@dataclass(frozen=True)
class EventsPlan:
    """database: sqlite, postgresql, or a database_url of an empty database. scratch: for temporary files."""

    events: int = 1_000_000
    database: str = "sqlite"
    products: int = 20
    scratch: Path | None = None


@dataclass
class EventsReport:
    """What was measured. Seconds are of the wall clock; cpu_seconds are of the process that applies."""

    plan: EventsPlan
    apply_seconds: float = 0.0
    cpu_seconds: float = 0.0
    database_bytes: int = 0
    report_seconds: float = 0.0
    report_rows: int = 0
    analytics_seconds: dict[str, float] = field(default_factory=dict)
    load_average: tuple[float, float] = (0.0, 0.0)

    @property
    def events_per_second(self) -> float:
        """Events that were applied a second."""
        return self.plan.events / self.apply_seconds if self.apply_seconds else 0.0


class EventSource:
    """Makes batches, and stands for the store of the reader: it hands them out, and knows no tokens."""

    def __init__(self, plan: EventsPlan) -> None:
        self.left = plan.events
        self._random = random.Random(14)
        self._files = [
            FileOfVersion(f"product-{number}", f"1.{number % 3}", "kit.zip", FILE_BYTES, f"{number:064x}")
            for number in range(plan.products)
        ]
        self._first = [0] * WORKERS
        self._turn = 0
        self._total = plan.events

    async def run(self, _script: Any, _keys: Any, *arguments: Any) -> Any:
        """Hand out the next batches, where the reader takes some; nothing is done where it finishes some."""
        if len(arguments) != 4:  # finish_events
            return 0
        group, _, most, _ = arguments
        del group
        found: list[tuple[str, str, int]] = []
        while self.left > 0 and len(found) < most:
            data = self._make_batch(min(EVENTS_A_BATCH, self.left))
            found.append((str(self.left), data.decode("utf-8", "surrogateescape"), 1))
        return found

    async def call_all(self, *commands: Any) -> list[list[None]]:
        """The store has forgotten all tokens."""
        return [[None] * (len(command) - 2) for command in commands]

    def _make_batch(self, count: int) -> bytes:
        chosen = self._random
        self._turn = (self._turn + 1) % WORKERS
        done = self._total - self.left
        base = FIRST_DAY * DAY_SECONDS + DAYS * DAY_SECONDS * done // self._total
        rows = []
        for place in range(count):
            download, part = divmod(done + place, EVENTS_A_DOWNLOAD)
            token = f"{download * 0x9E3779B97F4A7C15 % (1 << 128):032x}"
            size = FILE_BYTES // EVENTS_A_DOWNLOAD
            sent = size if chosen.random() < 0.9 else chosen.randrange(1, size)
            spans = [[part * size, (part + 1) * size]]
            client = f"198.{18 + download % 2}.{download >> 8 & 255}.{download & 255}"
            agent = AGENTS[download % len(AGENTS)]
            file = self._files[download % len(self._files)]
            rows.append((token, file, client, agent, sent, spans, place * 0.01))
        files, file_numbers = number_texts([row[1] for row in rows])
        clients, client_numbers = number_texts([row[2] for row in rows])
        agents, agent_numbers = number_texts([row[3] for row in rows])
        head = {
            "worker": f"{self._turn:016x}",
            "first": self._first[self._turn],
            "count": count,
            "base": base * MICROSECONDS,
            "method": "GET",
            "files": files,
            "clients": clients,
            "agents": agents,
            "spans": {place: row[5] for place, row in enumerate(rows)},
        }
        columns = (
            file_numbers,
            client_numbers,
            agent_numbers,
            [row[4] for row in rows],
            [row[6] for row in rows],
            [1.5] * count,
        )
        self._first[self._turn] += count
        self.left -= count
        return encode_batch(head, [row[0] for row in rows], columns)


def measure(plan: EventsPlan, report: Callable[[str], None]) -> EventsReport:
    """Measure. report: is called with a line about the progress. Raises BenchError, DatabaseError."""
    before = os.getloadavg()[0]
    with _database(plan) as url:
        found = asyncio.run(_measure(plan, url, report))
    found.load_average = (before, os.getloadavg()[0])
    return found


@contextlib.contextmanager
def _database(plan: EventsPlan) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="dg-events-", dir=plan.scratch))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    try:
        with ProcessGroup(folder) as processes, contextlib.ExitStack() as stack:
            url = plan.database
            if url == "postgresql":
                cpus = sorted(os.sched_getaffinity(0))
                url, _ = stack.enter_context(run_postgres(processes, folder / "postgres", cpus))
            elif url == "sqlite":
                url = f"sqlite:///{folder}/{DATABASE_FILE}"
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(plan: EventsPlan, url: str, report: Callable[[str], None]) -> EventsReport:
    found = EventsReport(plan)
    async with Database.of(locate_database(url, Path())) as database:
        await prepare(database)
        if await _count_downloads(database):
            raise BenchError("the database has downloads already: give an empty one")
        await _apply(plan, database, found, report)
        found.database_bytes = await _size(database, url)
        await _read_report(database, found)
        await _ask_analytics(database, found)
    return found


async def _apply(
    plan: EventsPlan, database: Database, found: EventsReport, report: Callable[[str], None]
) -> None:
    source = EventSource(plan)
    client: Any = source
    reader = EventReader(database, client)
    begun, cpu = time.monotonic(), time.process_time()
    due = begun + PROGRESS_SECONDS
    while await reader.apply_some():
        now = time.monotonic()
        if now >= due:
            due = now + PROGRESS_SECONDS
            done = plan.events - source.left
            report(f"{done:,} of {plan.events:,} events applied, {done / (now - begun):,.0f}/s")
    found.apply_seconds = time.monotonic() - begun
    found.cpu_seconds = time.process_time() - cpu
    if reader.set_aside:
        raise BenchError(f"{reader.set_aside} batches could not be applied")


async def _count_downloads(database: Database) -> int:
    async with database.reading() as sql:
        return int((await sql.execute(text("SELECT count(*) FROM usage_file"))).scalar_one())


async def _size(database: Database, url: str) -> int:
    async with database.reading() as sql:
        if url.startswith("postgresql"):
            asked = "SELECT pg_database_size(current_database())"
            return int((await sql.execute(text(asked))).scalar_one())
        pages = (await sql.execute(text("PRAGMA page_count"))).scalar_one()
        return int(pages) * int((await sql.execute(text("PRAGMA page_size"))).scalar_one())


async def _read_report(database: Database, found: EventsReport) -> None:
    """Read the report of the last days, as /api/reports/downloads does."""
    end = (FIRST_DAY + DAYS) * DAY_SECONDS * 1000
    only = ReportFilter(end - REPORT_DAYS * DAY_SECONDS * 1000, end)
    begun, after = time.monotonic(), None
    while True:
        async with database.reading() as sql:
            rows = await report_page(sql, only, after, PAGE_ROWS)
        found.report_rows += len(rows)
        if len(rows) < PAGE_ROWS:
            break
        after = position_of(rows[-1])
    found.report_seconds = time.monotonic() - begun


async def _ask_analytics(database: Database, found: EventsReport) -> None:
    stop = FIRST_DAY + DAYS
    for name, first, period, group in (
        ("30 days by day", stop - REPORT_DAYS, "day", None),
        ("30 days by product", stop - REPORT_DAYS, "month", "product"),
        ("all by month and version", FIRST_DAY, "month", "version"),
    ):
        begun = time.monotonic()
        async with database.reading() as sql:
            await sum_up(sql, first, stop, period, group)
        found.analytics_seconds[name] = time.monotonic() - begun


def show(report: EventsReport, console: Console) -> None:
    """Print a report."""
    plan = report.plan
    table = Table(title=f"Events on {plan.database.partition(':')[0]}", show_header=False)
    analytics = ", ".join(f"{name} {seconds:.2f}" for name, seconds in report.analytics_seconds.items())
    cpu = 1e6 * report.cpu_seconds / plan.events
    for name, value in (
        ("events", f"{plan.events:,}, {EVENTS_A_DOWNLOAD} of each download, over {DAYS} days"),
        ("applied in, s", f"{report.apply_seconds:.1f}: {report.events_per_second:,.0f}/s"),
        ("CPU of an event, \u00b5s", f"{cpu:.0f} of the process that applies"),
        (
            "size",
            f"{report.database_bytes / 2**20:,.0f} MiB: {report.database_bytes / plan.events:.0f} an event",
        ),
        (f"report of {REPORT_DAYS} days, s", f"{report.report_seconds:.1f}: {report.report_rows:,} rows"),
        ("analytics, s", analytics),
        ("load average", f"{report.load_average[0]:.1f} to {report.load_average[1]:.1f}"),
    ):
        table.add_row(name, value)
    console.print(table)

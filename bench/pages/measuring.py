"""The command `pages`: fills a database, starts `serve-web` as users do, and opens every page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.pages.asking import MOST_BYTES, MOST_MS, Browser, PageFigures, ask_all, views
from bench.pages.opening import prepare_shop
from bench.testbed.machine import Cores
from bench.testbed.postgres import run_postgres
from bench.testbed.processes import Program, unused_port
from bench.testbed.testbed import Testbed
from gateway.config.database_url import DATABASE_FILE
from gateway.config.settings import load
from gateway.web.dashboard.application import PREFIX as DASHBOARD

PASSWORD: Final = "a long pass phrase of the bench"
FIRST_SECONDS: Final = 60.0


@dataclass(frozen=True)
class PagesPlan:
    """database: sqlite, postgresql, or the database_url of one that is empty or was filled by this command.

    rounds: how often each page is opened after its first time. scratch: where the temporary folder is made.
    """

    database: str = "sqlite"
    customers: int = 100_000
    downloads: int = 1_000_000
    rounds: int = 5
    scratch: Path | None = None


@dataclass
class PagesReport:
    """What was measured. fill_seconds: until the database was full; 0 where it was full already."""

    plan: PagesPlan
    pages: list[PageFigures] = field(default_factory=list)
    fill_seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    load_average: tuple[float, float] = (0.0, 0.0)

    @property
    def above(self) -> list[PageFigures]:
        """The pages that are above the budget."""
        return [each for each in self.pages if each.is_above]


def measure(plan: PagesPlan, report: Callable[[str], None]) -> PagesReport:
    """Measure. report: is called with a line about the progress. Raises BenchError, DatabaseError."""
    cores = Cores.divide()
    with Testbed(cores, tokens=1, scratch=plan.scratch) as testbed, contextlib.ExitStack() as stack:
        testbed.folder.chmod(0o755)  # PostgreSQL runs as another user
        url = plan.database
        if url == "postgresql":
            folder = testbed.folder / "postgres"
            url, _ = stack.enter_context(run_postgres(testbed.processes, folder, cores.all))
        elif url == "sqlite":
            url = f"sqlite:///{testbed.folder}/data/{DATABASE_FILE}"
        ports = unused_port(), unused_port()
        environ = {
            "GATEWAY_DATA": str(testbed.folder / "data"),
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_REDIS_URL": f"unix://{testbed.socket}",
            "GATEWAY_DASHBOARD_LISTEN": f"127.0.0.1:{ports[0]}",
            "GATEWAY_WEB_LISTEN": f"127.0.0.1:{ports[1]}",
            "GATEWAY_LOG_LEVEL": "warning",
        }
        settings = load({}, None, environ)
        prepared = asyncio.run(prepare_shop(settings, plan.customers, plan.downloads, report))
        found = PagesReport(plan, fill_seconds=prepared.seconds, rows=prepared.rows)
        command = [sys.executable, "-m", "gateway", "serve-web"]
        web = testbed.processes.start("web", command, cpus=cores.all, environ=environ)
        for port in ports:
            web.wait_for("127.0.0.1", port)
        report("signing in")
        user = _join(ports[0], prepared.link)
        before = os.getloadavg()[0]
        with _browser(*ports) as browser:
            wanted = list(views(prepared.names, user))
            found.pages = ask_all(browser, wanted, plan.rounds, partial(_pids, web, url), report)
        found.load_average = (before, os.getloadavg()[0])
        return found


@contextlib.contextmanager
def _browser(private: int, public: int) -> Iterator[Browser]:
    browser = Browser(private, public)
    try:
        yield browser
    finally:
        browser.close()


def _pids(web: Program, url: str) -> list[int]:
    """The web process, and PostgreSQL's processes for it where they are on this machine."""
    return [*web.pids(), *asyncio.run(_server_pids(url))]


async def _server_pids(url: str) -> list[int]:
    if not url.startswith("postgresql") or "host=/" not in url:
        return []
    connection = await asyncpg.connect(url)
    try:
        asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'download-gateway'"
        return [row["pid"] for row in await connection.fetch(asked)]
    finally:
        await connection.close()


def _join(port: int, link: str) -> str:
    """Become a user by a link, as a person does; returns the cookie. Raises BenchError."""
    deadline = time.monotonic() + FIRST_SECONDS
    while True:
        status, cookie = _send_join(port, link)
        if status == 303 and cookie:
            return cookie
        if status != 503 or time.monotonic() > deadline:  # 503: other work has the database just now
            raise BenchError(f"nobody can sign in: status {status}")
        time.sleep(1)


def _send_join(port: int, link: str) -> tuple[int, str]:
    form = urllib.parse.urlencode({"link": link, "name": f"bench-{os.getpid()}", "password": PASSWORD})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    connection = HTTPConnection("127.0.0.1", port, timeout=FIRST_SECONDS)
    try:
        connection.request("POST", f"{DASHBOARD}/join", form, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Set-Cookie", "").partition(";")[0]
    except OSError as error:
        raise BenchError(f"nobody can sign in: no answer ({error})") from None
    finally:
        connection.close()


def show(report: PagesReport, console: Console) -> None:
    """Print a report: first the pages with a budget, the slowest first, and then the files."""
    plan = report.plan
    kind = plan.database.partition(":")[0]
    title = f"Pages on {kind}: {plan.customers:,} customers, {plan.downloads:,} downloads"
    table = Table(title=title)
    table.add_column("page", overflow="fold")
    for name in ("status", "bytes", "median, ms", "least, ms", "most, ms", "first, ms", "CPU, ms", ""):
        table.add_column(name, justify="right")
    for each in sorted(report.pages, key=lambda page: (page.is_file, -page.median)):
        note = "above" if each.is_above else "file" if each.is_file else "waits" if each.waits else ""
        figures = (each.median, each.least, each.most, each.first, each.median_cpu)
        cells = (f"{milliseconds:.0f}" for milliseconds in figures)
        table.add_row(each.name, str(each.status), f"{each.bytes:,}", *cells, note)
    console.print(table)
    low, high = report.load_average
    pages = [each for each in report.pages if not each.is_file]
    console.print(
        f"{len(report.above)} of {len(pages)} pages above {MOST_BYTES:,} bytes or {MOST_MS:g} ms (median); "
        f"load average {low:.1f} to {high:.1f}; filled in {report.fill_seconds:.0f} s"
    )


def write_json(report: PagesReport, path: Path) -> None:
    """Write a report to a file."""
    figures: dict[str, Any] = asdict(report)
    for page, written in zip(report.pages, figures["pages"], strict=True):
        written |= {
            "median": page.median,
            "median_cpu": page.median_cpu,
            "least": page.least,
            "most": page.most,
            "above": page.is_above,
        }
    path.write_text(json.dumps(figures, indent=1, default=str) + "\n")

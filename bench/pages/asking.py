"""Opens every page of the dashboard and of the portal, as a browser does, and notes bytes and milliseconds.

The pages are the GET rows of both tables of routes, so a new page is measured without a change here. Other
views of a page, which ask the database in another way, are in VIEWS.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.testbed.usage import UsageMeter
from gateway.web.dashboard.application import PREFIX as DASHBOARD
from gateway.web.dashboard.application import SCREENS
from gateway.web.portal.application import PAGES
from gateway.web.portal.application import PREFIX as PORTAL

MOST_BYTES: Final = 60_000
MOST_MS: Final = 100.0
"""The budget of a page: of its text without compression, and of the server's time."""
NO_ANSWER: Final = 503
ENTITLED: Final = "ordinary", "reseller"
"""The customers whose pages are opened."""
VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "/products": ("q=product-1", "status=archived"),
    "/tokens": (
        "product={product}",
        "email={email}",
        "status=expired",
        "status=expired&product={product}",
        "status=expired&product={rare}",
        "status=expired&email={email}",
        "status=expired&after={middle}-0",
    ),
    "/orders": (
        "q={number}",
        "q={email}",
        "q=an",
        "status=paid",
        "status=disputed",
        "product={product}",
        "product={rare}",
        "status=refunded&product={product}",
        "from=2020-01-01&to=2040-01-01",
        "after={middle}-0",
        "status=refunded&after={middle}-0",
    ),
    "/customers": ("q={email}", "q=an", "q=nobody@example.com", "q={number}", "after=c1"),
    "/customers/{customer}": ("rights={right}",),
    "/usage": (
        "from={year}",
        "from={year}&by=version",
        "from={year}&by=client",
        "from={year}&client=browser",
        "from={year}&client=browser&by=version",
        "from={year}&product={product}",
        "from={year}&product={product}&by=version",
        "from={year}&product={product}&by=client",
        "from={year}&product={rare}&client=curl",
        "from={year}&version=2.0.0",
    ),
    "/usage/never": ("missing=completed", "product={product}", "product={rare}", "after={right}"),
    "/usage/shared": ("product={product}", "product={rare}", "days=90", "days=365"),
    "/connections/{connection}": ("state=failed", "state=applied", "after={event}"),
    "/unmapped": ("after=50",),
    "/settings/mails": ("state=failed", "kind=ready", "recipient={email}", "state=failed&kind=ready"),
    "/settings/webhooks/{webhook}": ("state=failed",),
    "/settings/changes": ("action=key", "by=maria"),
}
PARTS: Final[Mapping[str, tuple[str, ...]]] = {"/usage/downloads.csv": ("from={yesterday}",)}
"""Of files that have everything, a part is asked for: all downloads are written for minutes."""
PORTAL_VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "/": ("q=product%201", "q={number}", "q=nothing", "page=3", "page=99"),
}
WAITING: Final = frozenset({"/usage/running", "/settings/health"})
"""Pages that ask workers or other servers, and wait for their answers: they have no budget of time."""


@dataclass(frozen=True)
class View:
    """One page to open. name: as the table shows it. cookie: who opens it.

    is_file: a list as a file, which has no budget; waits: it has none of time.
    """

    name: str
    path: str
    portal: bool = False
    cookie: str = ""
    is_file: bool = False
    waits: bool = False


@dataclass
class PageFigures:
    """What one page takes. status: of its answer. first: ms of the first time. times: ms of all others.

    cpu: ms of the processor that the web process and the database took for it, each time but the first.
    """

    name: str
    is_file: bool
    waits: bool
    status: int = 0
    bytes: int = 0
    first: float = 0.0
    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median_cpu(self) -> float:
        """Milliseconds."""
        return statistics.median(self.cpu) if self.cpu else 0.0

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.times) if self.times else self.first

    @property
    def least(self) -> float:
        """Milliseconds: what the page takes where nothing else wants the machine."""
        return min(self.times, default=self.first)

    @property
    def most(self) -> float:
        """Milliseconds, without the first time."""
        return max(self.times, default=self.first)

    @property
    def is_above(self) -> bool:
        """Whether it is above the budget, which files do not have, or was not answered."""
        if self.is_file:
            return False
        if self.status >= NO_ANSWER:
            return True
        return self.bytes > MOST_BYTES or (self.median > MOST_MS and not self.waits)


@dataclass(frozen=True)
class Names:
    """What stands in paths for names. dashboard, portal: by the customer. cookies: of customers."""

    shared: Mapping[str, str]
    customers: Mapping[str, Mapping[str, str]]
    cookies: Mapping[str, str]


def views(names: Names, user: str) -> Iterator[View]:
    """All views of all pages. user: the cookie of the seller."""
    for screen in SCREENS:
        if screen.method != "GET":
            continue
        for query in PARTS.get(screen.path) or ("", *VIEWS.get(screen.path, ())):
            written = screen.path + (f"?{query}" if query else "")
            whose = ENTITLED if "{customer}" in written else ENTITLED[:1]
            for each in whose:
                path = written.format(**names.shared, **names.customers[each])
                name = f"{written} ({each})" if len(whose) > 1 else written
                is_file = screen.path.endswith(".csv")
                yield View(name, DASHBOARD + path, False, user, is_file, screen.path in WAITING)
    for page in PAGES:
        if page.method != "GET":
            continue
        for query in ("", *PORTAL_VIEWS.get(page.path, ())):
            written = page.path + (f"?{query}" if query else "")
            for each in ENTITLED:
                path = written.format(**names.shared, **names.customers[each])
                is_file = page.path.endswith((".csv", "SUMS"))
                yield View(f"{PORTAL}{written} ({each})", PORTAL + path, True, names.cookies[each], is_file)


class Browser:
    """One kept connection to each of the two listening sockets."""

    def __init__(self, private: int, public: int) -> None:
        self._connections = {
            False: http.client.HTTPConnection("127.0.0.1", private, timeout=120),
            True: http.client.HTTPConnection("127.0.0.1", public, timeout=120),
        }

    def get(self, view: View) -> tuple[int, int, float]:
        """The status, the bytes of the body, and the milliseconds until its last byte. No answer is 503."""
        connection = self._connections[view.portal]
        begun = time.perf_counter()
        try:
            connection.request("GET", view.path, headers={"Cookie": view.cookie})
            answer = connection.getresponse()
            size = len(answer.read())
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request connects again
            return NO_ANSWER, 0, 1000 * (time.perf_counter() - begun)
        return answer.status, size, 1000 * (time.perf_counter() - begun)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()


def _alive(pids: list[int]) -> list[int]:
    """Those that still run: a connection to PostgreSQL may have ended, and its process with it."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def ask_all(
    browser: Browser,
    wanted: list[View],
    rounds: int,
    find_pids: Callable[[], list[int]],
    report: Callable[[str], None],
) -> list[PageFigures]:
    """Open all pages once, and then so many times more, one page after the other in each round.

    find_pids: the processes whose time counts. Files are opened twice.
    """
    found = [PageFigures(view.name, view.is_file, view.waits) for view in wanted]
    for number in range(rounds + 1):
        pids = find_pids()
        for view, figures in zip(wanted, found, strict=True):
            if number > 1 and view.is_file:
                continue
            meter = UsageMeter(_alive(pids))
            figures.status, figures.bytes, took = browser.get(view)
            if number:
                figures.times.append(took)
                figures.cpu.append(1000 * meter.used())
            else:
                figures.first = took
        report(f"{number} of {rounds} rounds" if number else f"every page was opened once: {len(found)}")
    return found

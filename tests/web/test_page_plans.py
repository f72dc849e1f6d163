"""No page reads a large table as a whole: what it asks of the database has an index, on both engines.

The pages are all GET rows of the tables of dashboard and portal, so a new page is looked at without a change
here. Looked at are the plans of the engines, because a test with few rows is quick in any case.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.tables import METADATA
from gateway.web.dashboard.application import SCREENS
from gateway.web.portal.application import PAGES
from gateway.web.portal.visitors import hash_of_address, subject_of
from gateway.web.service import serve
from gateway.web.sessions import Sessions
from tests.support.control_plane import Api, listen, make_settings, run_api, url_of
from tests.support.dashboard import Visitor, join, open_visitor
from tests.support.dashboard_data import OrdinaryDay, make_ordinary_day
from tests.support.databases import Databases
from tests.support.databases import url_of as url_of_database
from tests.support.plans import whole_tables
from tests.support.store_server import StoreServer

SMALL = frozenset({
    "api_key", "announcement", "connection", "manifest", "mapping", "passkey", "product", "removed",
    "signing_key", "state", "user", "user_link", "version", "webhook",
})  # fmt: skip
"""Tables with a row for each thing that a seller makes by hand: they may be read as a whole."""
FILTERS = {
    "/usage": ("product=drums", "by=version&client=curl", "by=client&product=drums", "version=1.0.0",
               "from=2020-01-01&by=version", "from=2020-01-01&by=product&client=curl"),
    "/tokens": ("status=expired", "status=expired&product=drums", "status=expired&email=a@b.example",
                f"status=expired&after=1-{'0' * 32}"),
    "/orders": ("q=1", "q=a@b.example", "status=paid", "product=drums", "from=2020-01-01&to=2030-01-01",
                "after=1900000000000-x", "status=paid&after=1900000000000-x"),
    "/customers": ("q=a", "q=a@b.example", "after=z"),
    "/usage/never": ("product=drums", "missing=completed", "after=0"),
    "/settings/mails": ("state=failed", "kind=ready"),
    "/settings/changes": ("action=key", "by=maria"),
    "/connections/{connection}": ("state=failed", "after=z"),
    "/settings/webhooks/{webhook}": ("state=failed", "after=z"),
}  # fmt: skip
"""Other views of a page, which ask the database in another way."""
PORTAL_FILTERS = {"/": ("q=drums", "page=2")}
WITHOUT = frozenset({"/usage/running", "/settings/health"})
"""Pages that ask workers or other servers, and no table of the database."""


@pytest.fixture
async def running(
    store: StoreServer, databases: Databases, tmp_path: Path
) -> AsyncIterator[tuple[Api, Api, Settings]]:
    """The service with an ordinary day, as sellers and as customers reach it."""
    location = await databases.make()
    settings = make_settings(store.url, tmp_path).model_copy(
        update={"database_url": url_of_database(location), "public_url": None}
    )
    sock = listen()
    async with run_api(partial(serve, passed=[sock]), settings) as api:
        yield api, replace(api, url=url_of(sock)), settings
    await databases.remove(location)


@contextmanager
def noted_everywhere() -> Iterator[list[tuple[str, Any]]]:
    """The statements that any engine executes while the block runs."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def table_of(step: str) -> str:
    """The table that a step of a plan reads as a whole."""
    found = re.search(r"(?:SCAN|Seq Scan on) \"?(\w+)", step)
    return found[1] if found else step


async def read_by_no_index(database: Database, statements: list[tuple[str, Any]]) -> set[str]:
    """The tables that statements read as a whole, but for the small ones. What a statement has found itself
    (a subquery, whose size its own LIMIT bounds) is no table."""
    found = {table_of(step) for step in await whole_tables(database, statements)}
    return found & set(METADATA.tables) - SMALL


async def names_of(api: Api, day: OrdinaryDay) -> dict[str, str]:
    """What stands for the names of paths."""
    _, made, _ = await api.ask(
        "POST", "/api/connections", {"kind": "stripe", "name": "Shop", "secrets": ["whsec_12345678"]}
    )
    _, webhook, _ = await api.ask("POST", "/api/webhooks", {"url": "https://example.com/hook"})
    return {
        "product": "drums", "customer": day.customer, "order": day.order, "token": day.token, "job": "x",
        "kind": "stripe", "connection": made["connection"]["id"], "webhook": webhook["webhook"]["id"],
        "event": "x", "purchase": day.right, "secret": "x",
    }  # fmt: skip


@pytest.mark.slow
async def test_no_page_reads_a_large_table_as_a_whole(running: tuple[Api, Api, Settings]) -> None:
    api, public, settings = running
    day = await make_ordinary_day(api, settings)
    names = await names_of(api, day)
    subject = subject_of(day.customer, hash_of_address("customer0@example.com"))
    secret = await Sessions(api.store.client, "customer").make(subject, "test")
    faults: dict[str, set[str]] = {}
    found: list[tuple[str, list[tuple[str, Any]]]] = []
    async with open_visitor(api.url) as owner, open_visitor(public.url) as customer:
        await join(owner, settings)
        for page in SCREENS:
            if page.method == "GET" and page.path not in WITHOUT:
                for query in ("", *FILTERS.get(page.path, ())):
                    path = page.path.format(**names) + (f"?{query}" if query else "")
                    found.append((path, await open_page(owner, f"/dashboard{path}")))
        for portal_page in PAGES:
            if portal_page.method == "GET":
                for query in ("", *PORTAL_FILTERS.get(portal_page.path, ())):
                    path = "/my" + portal_page.path.format(**names) + (f"?{query}" if query else "")
                    found.append((path, await open_page(customer, path, Cookie=f"customer={secret}")))
    assert sum(len(statements) for _, statements in found) > 100, "the pages were not opened"
    async with Database.of(locate_database(settings.database_url, settings.data)) as database:
        for path, statements in found:
            for table in await read_by_no_index(database, statements):
                faults.setdefault(table, set()).add(path)
    assert faults == {}


async def open_page(visitor: Visitor, path: str, **headers: str) -> list[tuple[str, Any]]:
    """Open a page. Returns the statements that it took."""
    with noted_everywhere() as statements:
        answer = await visitor.request("GET", path, headers=headers)
    assert answer.status < 500, f"{path}: {answer.status}"
    return statements

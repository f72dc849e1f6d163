"""A web process whose database and Redis are stopped in turn, and a walk over everything that it answers.

The routes come from the route tables of its two applications, so a page that is new is walked over, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from html import unescape
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
from aiohttp import web

from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.types import new_id
from gateway.web import service
from gateway.web.portal.codes import new_secret
from gateway.web.service import serve
from tests.support.control_plane import Api, listen, make_settings, run_api, url_of
from tests.support.dashboard import join, open_visitor
from tests.support.databases import Databases
from tests.support.databases import url_of as url_of_database
from tests.support.portal import Portal, publish_versions
from tests.support.postgres import PostgresServer
from tests.support.store_server import StoreServer

PATIENCE = 60.0
"""Seconds after which a request counts as one that is never answered."""
EVERYBODY = {"guest": ("en", "de"), "known": ("de", "en")}
"""Both visitors, in both languages."""
WORDS_OF_LIBRARIES = re.compile(
    r"Traceback|asyncpg|sqlalchemy|sqlite3|aiosqlite|redis\.|redis-py|SQLSTATE|Errno|Exception|0x[0-9a-f]{8}",
    re.IGNORECASE,
)
WORDS_FOR_SELLERS = re.compile(r"redis|database|Datenbank|postgres|sqlite|smtp|the store", re.IGNORECASE)
"""What a customer is not told."""


@dataclass(frozen=True)
class Row:
    """One row of a route table. side: `public` or `private`, the application."""

    side: str
    method: str
    path: str

    @property
    def is_page(self) -> bool:
        """Whether it answers people."""
        return self.path.startswith(("/my", "/dashboard"))

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.side, self.method, self.path)


@dataclass(frozen=True)
class Reply:
    """What a row answered. visitor: `guest` or `known`. seconds: how long it took."""

    row: Row
    visitor: str
    language: str
    status: int
    headers: Mapping[str, str]
    text: str
    seconds: float

    @property
    def words(self) -> str:
        """The text without its tags."""
        content = self.text.partition("<main")[2] or self.text
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content)))

    def __str__(self) -> str:
        row = self.row
        return f"{row.method} {row.path} ({row.side}, {self.visitor}, {self.language}): {self.status}"


def rows_of(application: web.Application, side: str) -> Iterator[Row]:
    """Every method of every route of an application, and of those mounted in it."""
    for resource in application.router.resources():
        if isinstance(resource, web.PrefixedSubAppResource):
            yield from rows_of(resource._app, side)
            continue
        for route in resource:
            if route.method != "*":
                yield Row(side, route.method, resource.canonical)


@dataclass
class Outage:
    """The web process, its parts, and what is signed in to it.

    names: what stands in the places of a path. cookies: of somebody who is signed in to both applications.
    """

    private: Api
    public: Api
    portal: Portal
    settings: Settings
    rows: Sequence[Row]
    names: dict[str, str]
    cookies: dict[str, str]
    store: StoreServer
    postgres: PostgresServer | None = None

    async def ask(self, row: Row, visitor: str = "guest", language: str = "en", **options: Any) -> Reply:
        """Send one request as a browser does, or as a program does where no page is answered."""
        api = self.private if row.side == "private" else self.public
        path = re.sub(r"\{(\w+)\}", lambda name: self.names.get(name[1], "x"), row.path)
        headers = {"Accept-Language": language, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        number = next(self.portal.numbers)
        client = {
            "X-Forwarded-For": f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        }  # nobody asks too often
        if not row.is_page:
            headers = {"Accept": "application/json"}
            if visitor == "known" and row.path.startswith("/api"):
                headers["Authorization"] = f"Bearer {self.private.key}"
        if row.is_page and visitor == "known":
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if row.method == "POST" and row.is_page:
            email = f"nobody-{next(self.portal.numbers)}@example.com"
            options.setdefault("data", {"email": email, "name": "maria", "password": "wrong"})
        elif row.method in ("POST", "PUT", "PATCH"):
            options.setdefault("json", {})
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            asyncio.timeout(PATIENCE),
            api.session.request(
                row.method, api.url + path, headers={**headers, **client}, allow_redirects=False, **options
            ) as response,
        ):
            text = (await response.read()).decode("utf-8", "replace").replace("<wbr>", "")
            return Reply(row, visitor, language, response.status, response.headers, text, loop.time() - began)

    async def walk(self, at_once: int = 8, visitors: Mapping[str, Sequence[str]] = EVERYBODY) -> list[Reply]:
        """Ask every row. at_once: so many requests. visitors: whom, and in which languages."""
        room = asyncio.Semaphore(at_once)

        async def ask(row: Row, visitor: str, language: str) -> Reply:
            async with room:
                return await self.ask(row, visitor, language)

        asked = [
            ask(row, visitor, language)
            for row in self.rows
            for visitor, languages in visitors.items()
            for language in (languages if row.is_page else languages[:1])
            if not (visitor == "known" and row.path.endswith("/sign-out"))
        ]
        return list(await asyncio.gather(*asked))

    async def ask_until(self, row: Row, is_there: Callable[[Reply], bool]) -> Reply:
        """Ask for a page in English as somebody who is signed in, until it has what is waited for."""
        async with asyncio.timeout(PATIENCE):
            while not is_there(reply := await self.ask(row, "known")):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.1)
        return reply

    async def until_back(self) -> None:
        """Wait until the process says that it is ready."""
        ready = Row("private", "GET", "/readyz")
        async with asyncio.timeout(PATIENCE):
            while (await self.ask(ready)).status != 200:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.1)


@asynccontextmanager
async def run_outage(
    store: StoreServer, databases: Databases, folder: Path, **options: Any
) -> AsyncIterator[Outage]:
    """A web process with a product, a customer who has signed in, and an owner who has."""
    location = await databases.make()
    values = {
        "database_url": url_of_database(location),
        "trusted_proxies": (ip_network("127.0.0.0/8"),),
        "redis_timeout": 1.0,
        "public_url": None,
        "mail_per_minute": 1_000_000,
        "max_key_attempts": 0,
        "max_hook_attempts": 0,
        **options,
    }
    settings = make_settings(store.url, folder).model_copy(update=values)
    found: dict[str, web.Application] = {}
    sock = listen()
    with ExitStack() as stack:
        for side, name in (("private", "make_root"), ("public", "make_public_root")):
            stack.enter_context(
                mock.patch.object(service, name, _noting(found, side, getattr(service, name)))
            )
        async with (
            run_api(partial(serve, passed=[sock]), settings) as running,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            Database.of(location) as database,
        ):
            private = replace(running, session=session)
            portal = Portal(replace(private, url=url_of(sock)), database, settings.data / "mail")
            await publish_versions(portal)
            buyer, _, purchase = await portal.buyer()
            async with open_visitor(private.url) as owner:
                await join(owner, settings)
                cookies = {"user": owner.cookie(), **buyer.cookies}
            names = {
                "purchase": purchase,
                "product": "kit",
                "productId": "kit",
                "version": "1.0",
                "connectionId": new_id(),
                "secret": new_secret(),
            }
            rows = [row for side, each in found.items() for row in rows_of(each, side)]
            assert {row.side for row in rows} == {"private", "public"}
            yield Outage(private, portal.api, portal, settings, rows, names, cookies, store, databases.server)
    await databases.remove(location)


def _noting(found: dict[str, web.Application], side: str, make: object) -> object:
    def made(*arguments: object) -> web.Application:
        found[side] = make(*arguments)  # type: ignore[operator]
        return found[side]

    return made


@contextmanager
def hung(*roots: int) -> Iterator[None]:
    """Stop processes and all of their children, so that they take connections and answer nothing."""
    stopped: list[int] = []
    try:
        for root in roots:
            for pid in (root, *children_of(root)):
                _send(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            _send(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _send(pid: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)

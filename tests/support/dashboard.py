"""People who use the dashboard: a browser without scripts for each, by aiohttp.

async with open_visitor(api.url) as owner:
    await set_up(api, owner)
    page = await owner.get("/settings")
    assert (await owner.post("/settings/keys", name="shop")).status == 303
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any

import aiohttp
from yarl import URL

from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.users.links import Purpose, make_link, make_setup_link
from gateway.users.roles import Role
from tests.support.users import PASSWORD

PREFIX = "/dashboard"


@dataclass(frozen=True)
class Answer:
    """What came back. text: without the marks of where an address may be broken. location: where a redirect
    leads, below the prefix."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def location(self) -> str:
        return self.headers.get("Location", "").removeprefix(PREFIX)

    @property
    def notice(self) -> str:
        """What the page says above its content."""
        found = re.search(r'<p class="notice[^>]*>(.*?)</p>', self.text, re.DOTALL)
        return unescape(found[1]) if found else ""


@dataclass
class Visitor:
    """One browser. It follows no redirect by itself."""

    url: str
    session: aiohttp.ClientSession

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, self.url + path, **options) as response:
            text = (await response.read()).decode("utf-8", "replace").replace("<wbr>", "")
            return Answer(response.status, text, response.headers)

    async def get(self, path: str, **options: Any) -> Answer:
        """A page below the prefix."""
        return await self.request("GET", PREFIX + path, **options)

    async def post(self, path: str, /, **fields: str) -> Answer:
        """Send a form as our own pages do."""
        headers = {"Sec-Fetch-Site": "same-origin"}
        return await self.request("POST", PREFIX + path, data=fields, headers=headers)

    async def send(self, path: str, /, **fields: str) -> Answer:
        """Send a form, and open the page that it leads to."""
        answer = await self.post(path, **fields)
        assert answer.status == 303, answer.text
        return await self.get(answer.location)

    def cookie(self, name: str = "user") -> str:
        """What a cookie holds."""
        found = self.session.cookie_jar.filter_cookies(URL(self.url)).get(name)
        return found.value if found else ""


@asynccontextmanager
async def open_visitor(url: str) -> AsyncIterator[Visitor]:
    """A browser that has never been here."""
    jar = aiohttp.CookieJar(unsafe=True)  # it keeps cookies of addresses
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visitor(url, session)


@asynccontextmanager
async def open_database_of(settings: Settings) -> AsyncIterator[Database]:
    async with Database.of(locate_database(settings.database_url, settings.data)) as database:
        yield database


async def join(
    visitor: Visitor,
    settings: Settings,
    name: str = "maria",
    role: Role = Role.OWNER,
    password: str = PASSWORD,
) -> Answer:
    """Become a user by a link, the first one by the link that sets the dashboard up, and be signed in."""
    async with open_database_of(settings) as database:
        secret = await make_setup_link(database)
        if secret is None:
            secret = await make_link(database, Purpose.INVITE, role, "maria")
    answer = await visitor.post("/join", link=secret, name=name, password=password)
    assert (answer.status, answer.location) == (303, "/"), answer.text
    return answer


async def sign_in(visitor: Visitor, name: str = "maria", password: str = PASSWORD) -> Answer:
    """Type name and password."""
    return await visitor.post("/sign-in", name=name, password=password)


class Markup(HTMLParser):
    """What of a page a browser would run or load, which none of ours has."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.texts = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.faults += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        if tag in ("style", "iframe", "object", "embed", "base", "b", "i", "u", "s", "svg"):
            self.faults.append(tag)
        if tag in ("script", "img", "link") and not given.get("src", given.get("href", "")).startswith(
            PREFIX
        ):
            self.faults.append(f"{tag} {given}")
        for name in ("href", "action", "src", "formaction"):
            if given.get(name, "").lower().strip().startswith(("javascript:", "data:", "vbscript:")):
                self.faults.append(f"{tag} {given[name]}")

    def handle_data(self, data: str) -> None:
        self.texts += data


def check_markup(page: Answer) -> None:
    """Assert that nothing that somebody has filled in became a part of the page."""
    markup = Markup()
    markup.feed(page.text)
    assert markup.faults == []
    assert "\u202e" not in markup.texts, "it would turn the text around"

"""What every page of the dashboard is given."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from aiohttp import web

from gateway.errors import StoreUnavailable
from gateway.store.key_names import notice_key
from gateway.usage.csv_cells import lines
from gateway.users.hashing import PasswordHashes
from gateway.users.repository import UserRepository
from gateway.web.api.context import AdminContext
from gateway.web.csv_files import csv_fields
from gateway.web.dashboard.attempts import SignInLines
from gateway.web.dashboard.visitors import find_visitor, visitor_of
from gateway.web.jobs import Jobs
from gateway.web.pages import Pages
from gateway.web.sessions import Cookie, Sessions

MAX_NOTICE: Final = 1000
"""Characters of a notice: it may quote a name."""
NOTICE_SECONDS: Final = 600
"""How long a notice waits for the next page."""


@dataclass(frozen=True)
class Notice:
    """What a page says above its content. kind: good, warn or bad."""

    text: str
    kind: str = "good"


class Reporter(Protocol):
    """What checks every part of the gateway: see health_report.py."""

    findings: list[dict[str, Any]]
    made: int | None

    @property
    def is_running(self) -> bool: ...
    async def run(self) -> None:
        """Check now."""
        ...


@dataclass(frozen=True)
class DashboardContext:
    """work: the parts of the process, such as the database. sessions, cookie: of users.

    challenge_cookie: of a browser that signs in by a passkey. lines: limits of attempts.
    health: what the last check of every part found.
    url: the setting `dashboard_url`. jobs: long work that pages ask for.
    invite_command: the command line that makes a link for a user, where people open the dashboard at a URL.
    paths: of the rows of the table, for the navigation.
    """

    pages: Pages
    work: AdminContext
    sessions: Sessions
    cookie: Cookie
    challenge_cookie: Cookie
    users: UserRepository
    hashes: PasswordHashes
    lines: SignInLines
    health: Reporter
    url: str | None
    jobs: Jobs
    invite_command: Callable[[str], str]
    paths: frozenset[str] = frozenset()

    async def show(
        self,
        request: web.Request,
        template: str,
        status: int = 200,
        *,
        notice: Notice | None = None,
        **values: Any,
    ) -> web.Response:
        """Answer with a page, for whoever is signed in. notice: one of this very answer."""
        visitor = find_visitor(request)
        if visitor is not None and notice is None:
            notice = await self._take_notice(visitor.session.id)
        path = request.path.removeprefix(self.pages.prefix)
        return self.pages.respond(
            request,
            template,
            status,
            user=None if visitor is None else visitor.user,
            here=path,
            has_page=self.paths.__contains__,
            notice=notice,
            query=self.query,
            asked=request.query,
            **values,
        )

    async def go(
        self, request: web.Request, path: str, notice: str = "", kind: str = "good", **values: Any
    ) -> web.Response:
        """Send the browser to a page that shows a notice; without it while the store is away.

        notice: a text of the catalogue; values: for its %(names)s.
        """
        if notice:
            text = self.say(request, notice, **values)
            content = json.dumps({"text": text[:MAX_NOTICE], "kind": kind})
            key = notice_key(visitor_of(request).session.id)
            with contextlib.suppress(StoreUnavailable):  # what was asked for is done: it must not look undone
                await self.work.store.client.call("SET", key, content, "EX", NOTICE_SECONDS)
        return self.pages.redirect(path)

    def say(self, request: web.BaseRequest, text: str, **values: Any) -> str:
        """A text of the catalogue in the reader's language. values: for its %(names)s."""
        found = self.pages.gettext(request, text)
        return found % values if values else found

    def csv(
        self, name: str, columns: Iterable[str], rows: Iterable[Iterable[str | int | None]]
    ) -> web.Response:
        """Answer with a table as a file. For what fits into memory: a list of some thousand rows."""
        return web.Response(body=lines([columns]) + lines(rows), headers=csv_fields(name))

    def query(self, **changes: Any) -> str:
        """The query of a URL. What is empty is left out."""
        return query_of(changes)

    async def _take_notice(self, session: str) -> Notice | None:
        try:
            found = await self.work.store.client.call("GETDEL", notice_key(session))
        except StoreUnavailable:
            return None
        if not found:
            return None
        content = json.loads(found)
        return Notice(content["text"], content["kind"])


def query_of(values: Mapping[str, Any]) -> str:
    """The query of a URL. What is empty is left out."""
    return urlencode([(name, str(value)) for name, value in values.items() if value not in (None, "")])

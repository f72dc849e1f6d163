"""The frame of the dashboard's pages: who may open which, who is signed in, notices, and what was changed.

    SCREENS = (
        show("/products", list_products, EVERYBODY),
        change("/products/{product}/archive", archive_product, EVERYBODY, audit="product.update"),
    )

Rules:

1. Every row says who may use it. A row that says nothing cannot be made, so nothing is open by omission; the
   few pages before the sign-in say OPEN.
2. A row that changes something also says what its line in the audit trail is called. The line is written
   after the handler, when it has made a change: `note_change` gives it the ids.
3. The user is read from the database for every request, so a role that was taken away ends at once.
4. A change answers with a redirect (303) and a notice for the next page, so that reloading repeats nothing.
   What may be shown only once, such as a key, is the answer of the change itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from gateway.users.roles import EVERYBODY, OWNERS, Role
from gateway.web.auditing import CHANGED, record_change
from gateway.web.cross_origin import SAFE
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.hosts import is_own_host
from gateway.web.dashboard.visitors import Visitor, note_visitor, visitor_of
from gateway.web.pages import Page, note_begun
from gateway.web.problems import Problem

__all__ = ("EVERYBODY", "OPEN", "OWNERS", "Screen", "change", "next_path", "show", "visitor_of")

OPEN: Final = frozenset[Role]()
"""Of a page that nobody need sign in for: the sign-in itself, and links that make users."""
SIGN_IN: Final = "/sign-in"
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}", re.ASCII)

Handler = Callable[[web.Request, DashboardContext], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Screen(Page[DashboardContext]):
    """One row of the dashboard's table. roles: who may use it; OPEN: everybody. audit: see rule 2."""

    roles: frozenset[Role] = field(kw_only=True)
    audit: str = field(default="", kw_only=True)

    async def handle(self, request: web.Request, context: DashboardContext) -> web.StreamResponse:
        """Answer a request of somebody who may. Raises Problem, StoreUnavailable, DatabaseError."""
        if not is_own_host(request.host, context.url):
            raise Problem("misdirected", "The dashboard has another name.")
        visitor = await read_visitor(request, context)
        if visitor is not None:
            note_visitor(request, visitor)
        if self.roles != OPEN:
            if visitor is None:
                return await lead_in(request, context)
            if visitor.user.role not in self.roles:
                raise Problem("forbidden", "Only an owner may do this.")
            note_begun(request)
        response = await self.handler(request, context)
        if self.audit and response.status < 400 and CHANGED in request:
            await record_change(request, context.work.store.audit, self.audit)
        return response


def show(path: str, handler: Handler, roles: frozenset[Role]) -> Screen:
    """A row that shows something."""
    return Screen("GET", path, handler, roles=roles)


def change(path: str, handler: Handler, roles: frozenset[Role], *, audit: str) -> Screen:
    """A row that changes something, by a form."""
    return Screen("POST", path, handler, roles=roles, audit=audit)


async def read_visitor(request: web.BaseRequest, context: DashboardContext) -> Visitor | None:
    """Who is signed in by the cookie of a request. Raises StoreUnavailable, DatabaseError."""
    session = await context.sessions.find(context.cookie.read(request))
    if session is None:
        return None
    user = await context.users.get(session.subject)
    return None if user is None else Visitor(user, session)


async def lead_in(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Send somebody who is not signed in to the sign-in, or to the page that says how to set up.

    The page that was asked for is opened afterwards. What a form had is lost, because nobody may send it.
    """
    if await context.users.is_empty():
        return context.pages.redirect("/first-visit")
    path = SIGN_IN
    asked = request.rel_url.raw_path_qs.removeprefix(context.pages.prefix)
    if request.method in SAFE and next_path(asked) == asked and asked != "/":
        path += "?" + context.query(next=asked)
    if "HX-Request" in request.headers:  # a part of a page: the whole page is to be left
        headers = {"HX-Redirect": context.pages.prefix + path, "Cache-Control": "no-store"}
        return web.Response(status=204, headers=headers)
    return context.pages.redirect(path)


def next_path(asked: str) -> str:
    """A path of ours below the prefix, where to go on; `/` for anything else, such as another site."""
    return asked if _PATH.fullmatch(asked) else "/"

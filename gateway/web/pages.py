"""Pages of the web process: tables of them, what they may do in a browser, and how they are answered.

    PAGES = (Page("GET", "/", show_purchases), Page("POST", "/sign-out", sign_out))
    make_pages(PAGES, context, logger, pages)

- Every page is sent with POLICY and is stored by no cache. It loads only files of `gateway.pages.assets`.
- Whatever changes something comes from our own pages (`gateway.web.cross_origin`), or it is refused.
- HEAD is answered like GET, without a body, because scanners of mails ask so.
- What is refused is a page, too, which says what to do next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.config.page_settings import LANGUAGES
from gateway.pages.assets import LOGO, Assets
from gateway.pages.look import Look
from gateway.pages.templates import prepare, render, template_names
from gateway.pages.texts import choose_language, texts_of
from gateway.web.application import ANSWER_SECONDS, PATIENCE, make_application
from gateway.web.cross_origin import SAFE, is_from_own_pages
from gateway.web.problems import Problem

Context = TypeVar("Context")

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may do (Content Security Policy 3). Nothing is inline."""
LANGUAGE_COOKIE: Final = "language"
"""The language that the reader has chosen. It is no secret."""
STATIC: Final = "/static"
"""Where the files of pages are, below the prefix of an application of pages."""
A_YEAR: Final = 31_536_000
PREPARE_AFTER_SECONDS: Final = 3.0
"""When a process has started, other work is more urgent."""
PREPARE_PAUSE_SECONDS: Final = 0.02
"""Between two templates, so that requests come in between."""
_BEGUN: Final = web.RequestKey("begun", bool)
_BOTH_AWAY: Final = web.RequestKey("both_away", bool)


@dataclass(frozen=True)
class Page(Generic[Context]):
    """One row of a table of pages. path: may have names in braces, each of which is one part of a path."""

    method: str
    path: str
    handler: Callable[[web.Request, Context], Awaitable[web.StreamResponse]]

    async def handle(self, request: web.Request, context: Context) -> web.StreamResponse:
        """Answer a request."""
        return await self.handler(request, context)


async def prepare_templates(language: str) -> None:
    """Compile all templates soon after the start, one after the other, and those of a language first.

    Otherwise the first reader of each page would wait for it: 300 ms for the first page of the dashboard.
    """
    await asyncio.sleep(PREPARE_AFTER_SECONDS)
    for each in sorted(LANGUAGES, key=lambda other: other != language):
        for name in template_names():
            await asyncio.to_thread(prepare, name, each)
            await asyncio.sleep(PREPARE_PAUSE_SECONDS)


class Pages:
    """How the pages of one application look and what they may do.

    prefix: of all addresses of the application. origin: what public addresses of these pages begin with
    (`https://shop.example`), which pages may send forms to beside their own; None where it is not known.
    frame: the template of refusals. unguarded: the beginning of paths below the prefix to which any site may
    send without cookies, because their secret alone says what is changed. downloads: origins to which the
    address of a file may redirect. Pages whose forms lead to files have `policy_of_downloads`, because
    browsers hold a form to the policy also where its answer redirects.
    """

    def __init__(
        self,
        look: Look,
        language: str,
        prefix: str,
        origin: str | None,
        frame: str = "refusal.html",
        downloads: Sequence[str] = (),
        unguarded: str | None = None,
    ) -> None:
        self.look: Final = look
        self.prefix: Final = prefix
        self.assets: Final = Assets(look)
        self._language = language
        self._hosts = [] if origin is None else [origin.partition("://")[2].partition("/")[0]]
        parts = ["'self'"] if origin is None else ["'self'", "/".join(origin.split("/")[:3])]
        self._policy = POLICY.format(forms=" ".join(parts))
        self.policy_of_downloads: Final = POLICY.format(forms=" ".join([*parts, *downloads]))
        self._frame = frame
        self._unguarded = None if unguarded is None else prefix + unguarded

    def language_of(self, request: web.BaseRequest) -> str:
        """The language that the reader has chosen, else one that the browser asks for, else the setting."""
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        if chosen in LANGUAGES:
            return chosen
        return choose_language(request.headers.get("Accept-Language", ""), self._language)

    def gettext(self, request: web.BaseRequest, text: str) -> str:
        """A text in the reader's language, for what is said in code and not in a template."""
        return texts_of(self.language_of(request)).gettext(text)

    def respond(
        self,
        request: web.BaseRequest,
        template: str,
        status: int = 200,
        *,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> web.Response:
        """Answer with a page. values: what the template names."""
        language = self.language_of(request)
        values = {
            "look": self.look,
            "prefix": self.prefix,
            "asset": self._asset,
            "has_logo": self.look.logo is not None,
            "logo": LOGO,
            "languages": LANGUAGES,
            "path": request.path_qs,
            **values,
        }
        body = render(template, language, values).encode()
        fields = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Language": language,
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Vary": "Accept-Language, Cookie",
            **(headers or {}),
        }
        return web.Response(body=body, status=status, headers=fields)

    def redirect(self, path: str) -> web.Response:
        """Send the browser to another page of the application by GET (303). path: below the prefix."""
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        return web.Response(status=303, headers={"Location": self.prefix + path, "Cache-Control": "no-store"})

    def back(self, path: str) -> web.Response:
        """Send the browser back to the page that a form came from, as the form says: only to one of ours."""
        rest = path.removeprefix(self.prefix)
        is_ours = rest.startswith("/") and rest[1:2] not in ("/", "\\") and rest.isprintable()
        return self.redirect(rest if is_ours else "/")

    def refuse(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """Answer with the page of a refusal, which says what became of what was sent, and what to do."""
        return self.respond(
            request,
            self._frame,
            problem.status,
            headers=problem.headers,
            problem=problem,
            title="",
            sent=_outcome(request, problem),
            both_away=request.get(_BOTH_AWAY, False),
        )

    def guard(self) -> Middleware:
        """A middleware that refuses what another site's page makes a browser send."""

        @web.middleware
        async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
            has_cookies = hdrs.COOKIE in request.headers
            if self._unguarded and not has_cookies and request.path.startswith(self._unguarded):
                return await handler(request)
            sites, origins = (request.headers.getall(name, []) for name in ("Sec-Fetch-Site", "Origin"))
            if not is_from_own_pages(request.method, sites, origins, self._hosts or [request.host]):
                raise Problem("cross_origin", "This was not sent by a page of this site.")
            return await handler(request)

        return check_origin

    def serve_asset(self, request: web.Request) -> web.Response:
        """Answer with a file that pages load. Raises Problem: not_found."""
        asset = self.assets.find(request.match_info["asset"])
        if asset is None:
            raise Problem("not_found", "There is no such file.")
        headers = {  # the policy is for an SVG that somebody opens by itself
            "Content-Type": asset.media_type,
            "Cache-Control": f"public, max-age={A_YEAR}, immutable",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Vary": "Accept-Encoding",
        }
        accepted = request.headers.get("Accept-Encoding", "").lower().replace(" ", "").split(",")
        if "gzip" in accepted and len(asset.compressed) < len(asset.content):
            return web.Response(body=asset.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=asset.content, headers=headers)

    def _asset(self, name: str) -> str:
        """The address of a file that pages load."""
        return f"{self.prefix}{STATIC}/{self.assets.address(name)}"


def note_begun(request: web.Request) -> None:
    """Say that what a request asks for begins: who has sent it is known, and nothing was changed so far."""
    request[_BEGUN] = True


def note_both_away(request: web.Request) -> None:
    """Say that a request fails because neither the database nor the store answers."""
    request[_BOTH_AWAY] = True


def _outcome(request: web.Request, problem: Problem) -> str:
    """What became of a form that was refused because a part is away: `unchanged`, or `unknown`.

    It is unknown where a commit was under way, or where a command was sent to the store for it: both may be
    done although no answer came. Empty for what changes nothing.
    """
    if problem.status != 503 or request.method in SAFE:
        return ""
    patience = request.get(PATIENCE)
    was_asked = problem.code == "store_unavailable" and request.get(_BEGUN, False)
    return "unknown" if was_asked or (patience is not None and patience.may_have_changed) else "unchanged"


def moved(path: str, to: str) -> Page[Any]:
    """A row that leads from one path to another one, such as from `/my` to `/my/`."""

    async def lead(_request: web.Request, _context: Any) -> web.Response:
        return web.Response(status=303, headers={"Location": to, "Cache-Control": "no-store"})

    return Page("GET", path, lead)


def make_pages(
    rows: Iterable[Page[Context]],
    context: Context,
    logger: logging.Logger,
    pages: Pages,
    middlewares: Sequence[Middleware] = (),
) -> web.Application:
    """Make an application of a table of pages, to be mounted at the prefix of `pages`.

    middlewares: what a request passes besides the check of where it was sent from.
    """

    async def serve_asset(request: web.Request, _context: Context) -> web.Response:
        return pages.serve_asset(request)

    table = [*rows, Page("GET", STATIC + "/{asset}", serve_asset)]
    table += [replace(row, method="HEAD") for row in table if row.method == "GET"]
    return make_application(
        table,
        context,
        logger,
        not_found="There is no such page.",
        refuse=pages.refuse,
        middlewares=[*middlewares, pages.guard()],
        patience=ANSWER_SECONDS,
    )

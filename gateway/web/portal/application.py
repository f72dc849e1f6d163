"""`/my` as an application that the web process mounts at PREFIX."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from gateway.config.page_settings import LANGUAGES
from gateway.config.settings import Settings
from gateway.pages.look import Look
from gateway.web.api.context import AdminContext
from gateway.web.forms import read_form
from gateway.web.pages import LANGUAGE_COOKIE, Page, Pages, make_pages
from gateway.web.portal.context import PortalContext
from gateway.web.sessions import Cookie, Sessions

PREFIX: Final = "/my"
_A_YEAR: Final = 31_536_000


async def show_welcome(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Show the first page."""
    return context.pages.respond(request, "portal/welcome.html")


async def choose_language(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """Remember the language that the reader has chosen, and go back to the page. Raises Problem."""
    form = await read_form(request)
    response = context.pages.back(form.text("back"))
    if form.text("language") in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, form.text("language"), max_age=_A_YEAR, path="/", samesite="Lax")
    return response


PAGES: Final = (
    Page("GET", "/", show_welcome),
    Page("POST", "/language", choose_language),
)


def make_portal(settings: Settings, work: AdminContext, logger: logging.Logger) -> web.Application:
    """Make the application. Raises ConfigurationError for a logo that cannot be used."""
    pages = Pages(Look.of(settings), settings.language, PREFIX, settings.public_url)
    context = PortalContext(
        pages,
        work,
        Sessions(work.store.client, "customer"),
        Cookie("customer", secure=work.base_url.startswith("https://")),
    )
    return make_pages(PAGES, context, logger, pages)

"""`/dashboard` as an application that the web process mounts at PREFIX."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from gateway.config.settings import Settings
from gateway.pages.look import Look
from gateway.web.api.context import AdminContext
from gateway.web.dashboard.context import DashboardContext
from gateway.web.pages import Page, Pages, make_pages
from gateway.web.sessions import Cookie, Sessions

PREFIX: Final = "/dashboard"


async def show_welcome(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the first page."""
    return context.pages.respond(request, "dashboard/welcome.html")


PAGES: Final = (Page("GET", "/", show_welcome),)


def make_dashboard(settings: Settings, work: AdminContext, logger: logging.Logger) -> web.Application:
    """Make the application. Raises ConfigurationError for a logo that cannot be used."""
    pages = Pages(Look.of(settings), settings.language, PREFIX, settings.dashboard_url)
    context = DashboardContext(
        pages,
        work,
        Sessions(work.store.client, "user"),
        Cookie("user", secure=(settings.dashboard_url or "").startswith("https://")),
    )
    return make_pages(PAGES, context, logger, pages)

"""*Running now*: the transfers of this moment. With scripts the list follows by itself."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.usage.running import ask_what_runs
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, show


async def show_running(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what runs: as a page, or to htmx as the part that changes. Raises StoreUnavailable."""
    now = await ask_what_runs(context.work.store.client)
    is_part = "HX-Request" in request.headers
    template = "dashboard/running_list.html" if is_part else "dashboard/running.html"
    return await context.show(request, template, now=now)


LIVE_SCREENS: Final = (show("/usage/running", show_running, EVERYBODY),)

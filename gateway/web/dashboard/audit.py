"""*Settings, changes*: who changed what and when, from the audit trail (gateway.tokens.audit)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import OWNERS, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.times import format_time


async def show_changes(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the changes that are kept, the newest first. Raises StoreUnavailable."""
    listing = read_listing(request, "action", "by")
    found = await context.work.store.audit.search(
        listing.limit, before=listing.after, action=listing.filters["action"], by=listing.filters["by"]
    )
    listing = listing.with_rows(found, lambda change: change.id)
    if listing.wants_csv:
        cells = (
            (format_time(each.time), each.by, each.action, *(" ".join(pair) for pair in each.what.items()))
            for each in listing.rows
        )
        return context.csv("changes", ("time", "by", "action", "what"), cells)
    return await context.show(request, "dashboard/audit.html", listing=listing)


AUDIT_SCREENS: Final = (
    show("/settings/changes", show_changes, OWNERS),
    show("/settings/changes.csv", show_changes, OWNERS),
)

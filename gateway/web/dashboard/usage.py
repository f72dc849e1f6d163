"""*Usage*: downloads and bytes by day, product, version and client, with charts, tables and files."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.pages.texts import texts_of
from gateway.usage.client_classes import CLASSES
from gateway.usage.days import GROUPS, DayFilter, add_up, sums_by, sums_by_day
from gateway.usage.queries import DAY_MS
from gateway.web.api.usage import report_downloads
from gateway.web.dashboard.answers import day, write_day
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.figures import day_charts
from gateway.web.dashboard.frame import EVERYBODY, show
from gateway.web.dashboard.listing import Listing, read_listing

DEFAULT_DAYS: Final = 30
MOST_DAYS: Final = 400
"""Days of one page: a year, and a month. A long time is shown by week or month (figures.py)."""
MOST_GROUPS: Final = 50
"""Rows of the table of groups; the file has up to `days.MOST_ROWS`."""
PERIODS: Final = (7, 30, 90, 365)


def read_period(listing: Listing) -> DayFilter:
    """The days that a page shows, and what else it is filtered by. What is no date counts as none."""
    today = now() // DAY_MS
    filters = listing.filters
    last = day(filters["to"])
    stop = (today if last is None else min(last, today)) + 1
    first = day(filters["from"])
    first = stop - DEFAULT_DAYS if first is None else first
    first = max(0, stop - MOST_DAYS, min(first, stop - 1))
    return DayFilter(
        first, stop, filters["product"] or None, filters["version"] or None, filters["client"] or None
    )


async def show_usage(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show what was downloaded. Raises DatabaseError."""
    listing = read_listing(request, "from", "to", "product", "version", "client", "by")
    only = read_period(listing)
    group = listing.filters["by"] if listing.filters["by"] in GROUPS else "product"
    async with context.work.database.reading() as sql:
        days = await sums_by_day(sql, only)
        groups = [] if group == "day" else await sums_by(sql, only, group)
    if listing.wants_csv:
        names = GROUPS[group]
        rows = groups or [
            ((write_day(only.first + place),), usage) for place, usage in reversed(list(enumerate(days)))
        ]
        return context.csv(
            "usage", (*names, "started", "completed", "bytes"), ((*key, *usage) for key, usage in rows)
        )
    return await context.show(
        request,
        "dashboard/usage.html",
        listing=listing,
        only=only,
        first=write_day(only.first),
        last=write_day(only.stop - 1),
        whole=add_up(days),
        charts=day_charts(only.first, days, texts_of(context.pages.language_of(request))),
        group=group,
        groups=groups[:MOST_GROUPS],
        is_cut=len(groups) > MOST_GROUPS,
        clients=CLASSES,
        periods=[(days, write_day(now() // DAY_MS - days + 1)) for days in PERIODS],
    )


async def save_downloads(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Answer with every download as CSV, as the admin API does. Raises Problem, DatabaseError."""
    return await report_downloads(request, context.work)


USAGE_SCREENS: Final = (
    show("/usage", show_usage, EVERYBODY),
    show("/usage.csv", show_usage, EVERYBODY),
    show("/usage/downloads.csv", save_downloads, EVERYBODY),
)

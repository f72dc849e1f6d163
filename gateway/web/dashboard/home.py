"""The first page: today at a glance, and what needs attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.catalogue.records import has_versions
from gateway.connections.repository import Connection
from gateway.database.types import now
from gateway.orders.order_queries import list_unmapped
from gateway.orders.searching import count_orders
from gateway.pages.texts import texts_of
from gateway.usage.days import sums_by_day
from gateway.usage.queries import DAY_MS
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.figures import day_charts
from gateway.web.dashboard.frame import EVERYBODY, show
from gateway.web.dashboard.products import last_days
from gateway.web.jobs import Job

SHOWN: Final = 5
"""Unmapped items, and jobs, that are named here; their own pages have all."""


@dataclass(frozen=True)
class Attention:
    """What is to be done. unmapped: items that customers wait for. failing: connections with a fault.

    refusing: connections whose deliveries came with a bad signature since the last good one.
    """

    unmapped: list[Any]
    failing: list[Connection]
    refusing: list[Connection]
    jobs: list[Job]

    @property
    def is_empty(self) -> bool:
        """Whether all is well."""
        return not (self.unmapped or self.failing or self.refusing or self.jobs)


def is_refusing(connection: Connection) -> bool:
    """Whether the latest delivery of a connection was refused for its signature."""
    return (connection.last_refused or 0) > (connection.last_event or 0)


async def show_home(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the first page. Raises DatabaseError, StoreUnavailable."""
    only = last_days()
    today = now() // DAY_MS * DAY_MS
    async with context.work.database.reading() as sql:
        days = await sums_by_day(sql, only)
        orders = await count_orders(sql, today)
        unmapped = await list_unmapped(sql, SHOWN, 0)
        has_products = await has_versions(sql)
    connections = await context.work.desk.connections.list_all()
    jobs = [each for each in await context.jobs.latest(SHOWN) if not each.is_over]
    return await context.show(
        request,
        "dashboard/home.html",
        today=days[-1],
        orders=orders,
        charts=day_charts(only.first, days, texts_of(context.pages.language_of(request))),
        has_products=has_products,
        has_connections=bool(connections),
        attention=Attention(
            unmapped,
            [each for each in connections if each.last_error],
            [each for each in connections if not each.last_error and is_refusing(each)],
            jobs,
        ),
    )


HOME_SCREENS: Final = (show("/", show_home, EVERYBODY),)

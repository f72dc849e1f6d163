"""An order as its buyer may print it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.orders.order_queries import get_order_of_buyer
from gateway.web.portal.context import PortalContext
from gateway.web.portal.visitors import Visitor, signed_in
from gateway.web.problems import Problem


async def show_order(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """One order of the customer. Raises Problem (not_found), also for that of another."""
    async with context.work.database.reading() as sql:
        order = await get_order_of_buyer(sql, request.match_info["order"], visitor.holder.customer_id)
    if order is None or order.row.erased is not None:
        raise Problem("not_found", "There is no such order.")
    return context.pages.respond(
        request,
        "portal/order.html",
        visitor=visitor,
        order=order.row,
        lines=order.lines,
        total=order.row.details.get("total"),
    )


SHOW_ORDER: Final = signed_in(show_order)

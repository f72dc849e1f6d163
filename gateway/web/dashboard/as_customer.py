"""*View as customer*: what `/my` shows to a customer, for a seller who answers their mail.

Nothing can be done there. It reads what the customer's pages read (`gateway.orders.purchases`), and signs
nobody in.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.catalogue.records import read_manifest
from gateway.orders.purchases import find_holder, list_purchases, list_waiting, with_versions
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.customers import find
from gateway.web.dashboard.frame import EVERYBODY, show

PURCHASES_SHOWN: Final = 15
FILES_SHOWN: Final = 5
NOTES_SHOWN: Final = 500
"""Characters of a version's notes."""


async def show_as_customer(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show a customer's purchases as they see them. Raises Problem, DatabaseError."""
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
        holder = await find_holder(sql, customer.id)
        everything = [] if holder is None else await list_purchases(sql, holder, PURCHASES_SHOWN + 1)
        waiting = [] if holder is None else await list_waiting(sql, holder)
        purchases = await with_versions(sql, everything[:PURCHASES_SHOWN])
        manifests = {
            each.id: await read_manifest(sql, each.offered.manifest)
            for each in purchases
            if each.is_active and each.offered is not None
        }
    return await context.show(
        request,
        "dashboard/as_customer.html",
        customer=customer,
        holder=holder,
        purchases=purchases,
        manifests=manifests,
        waiting=waiting,
        is_cut=len(everything) > PURCHASES_SHOWN,
        files_shown=FILES_SHOWN,
        notes_shown=NOTES_SHOWN,
    )


AS_CUSTOMER_SCREENS: Final = (show("/customers/{customer}/as", show_as_customer, EVERYBODY),)

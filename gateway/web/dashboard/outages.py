"""Which parts are away, for the page that tells a seller.

A request ends at the first part that does not answer. The other part is asked, too, so that a seller learns
at once that both are away, and not only after one of them was repaired.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import DatabaseError, StoreUnavailable
from gateway.web.api.context import AdminContext
from gateway.web.pages import note_both_away

ASK_SECONDS: Final = 1.0
"""For the question to the other part. The request has waited for the first one already, and every page
answers within 10 s."""


def ask_the_other(work: AdminContext) -> Middleware:
    """Make a middleware that looks at the other part where one has failed."""

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except StoreUnavailable:
            if await _fails(work, "database"):
                note_both_away(request)
            raise
        except DatabaseError:
            if await _fails(work, "store"):
                note_both_away(request)
            raise

    return look


async def _fails(work: AdminContext, part: str) -> bool:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await (work.probe.check() if part == "database" else work.store.client.check())
    except (StoreUnavailable, DatabaseError, TimeoutError):
        return True
    return False

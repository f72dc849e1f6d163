"""Tables as files (RFC 4180): whole, or sent page after page, however many rows there are."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final

from aiohttp import web

from gateway.database.patience import waiting_at_most
from gateway.errors import GatewayError
from gateway.usage.csv_cells import lines

Cells = Iterable[str | int | None]
PAGE_SECONDS: Final = 60.0
"""How long a later page waits for the database. A file has no limit in all."""


def csv_fields(name: str) -> dict[str, str]:
    """The fields of an answer that is saved as a file. name: without its ending."""
    return {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": f'attachment; filename="{name}.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


async def send_csv(
    request: web.Request,
    name: str,
    columns: Iterable[str],
    pages: AsyncGenerator[Iterable[Cells]],
    logger: logging.Logger,
) -> web.StreamResponse:
    """Send a table page after page. What the first page raises is raised before anything is sent.

    Where a later one fails, the connection breaks: that tells that rows are missing. Each page is to be a
    transaction of its own, so that a client that reads slowly holds none open.
    """
    async with aclosing(pages):
        page = await anext(pages, None)
        response = web.StreamResponse(headers=csv_fields(name))
        await response.prepare(request)
        if request.method == "HEAD":  # aiohttp would send a body after the head of an answer to HEAD, too
            return response
        try:
            await response.write(lines([columns]))
            while page is not None:
                if some := lines(page):
                    await response.write(some)
                with waiting_at_most(PAGE_SECONDS):
                    page = await anext(pages, None)
            await response.write_eof()
        except Exception as error:
            if isinstance(error, GatewayError):
                logger.error("a table was broken off: %s", error)
            elif not isinstance(error, ConnectionError):
                logger.exception("a table was broken off by a defect of the gateway")
            if request.transport is not None:
                request.transport.abort()
    return response

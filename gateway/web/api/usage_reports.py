"""/api/reports: what was paid for and never downloaded, and links that look shared."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from gateway.usage.never_downloaded import NeverFilter, search_never_downloaded
from gateway.usage.sharing_report import SharingFilter, search_shared
from gateway.web.api.context import AdminContext
from gateway.web.api.order_documents import page_of
from gateway.web.api.usage_models import (
    ListNeverDownloaded,
    ListSharedLinks,
    NeverDownloadedResponse,
    SharedLinksResponse,
)
from gateway.web.documents import never_downloaded_document, shared_link_document
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate_query

DAY_MS: Final = 86_400_000
DEFAULT_DAYS: Final = 30
"""Tokens that expired earlier are not looked at, unless `from` says so."""


async def report_never_downloaded(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of what was paid for and never downloaded, which may be short. Raises Problem."""
    query = validate_query(ListNeverDownloaded, request)
    before = time.time_ns() // 1_000_000 - query.days * DAY_MS
    only = NeverFilter(max(0, before), query.missing, query.productId)
    page = await search_never_downloaded(context.database, only, query.limit, query.cursor)
    documents = [never_downloaded_document(row) for row in page.rows]
    return json_response(page_of(documents, "neverDownloaded", page.after))


async def report_shared_links(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of links that look shared. Raises Problem."""
    query = validate_query(ListSharedLinks, request)
    start = time.time_ns() // 1_000_000 - DEFAULT_DAYS * DAY_MS if query.start is None else query.start
    only = SharingFilter(start, query.end, query.productId)
    after = None
    if query.cursor is not None:
        expires, _, identifier = query.cursor.partition("-")
        after = int(expires), identifier
    page = await search_shared(context.database, only, context.sharing, after, query.limit)
    cursor = None if page.after is None else f"{page.after[0]}-{page.after[1]}"
    return json_response(page_of([shared_link_document(each) for each in page.links], "sharedLinks", cursor))


USAGE_REPORT_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        "/reports/never-downloaded",
        report_never_downloaded,
        "listNeverDownloaded",
        "What was paid for and never downloaded",
        NeverDownloadedResponse,
        query=ListNeverDownloaded,
    ),
    Route(
        "GET",
        "/reports/shared-links",
        report_shared_links,
        "listSharedLinks",
        "Links that look shared",
        SharedLinksResponse,
        query=ListSharedLinks,
    ),
)

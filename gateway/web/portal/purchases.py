"""The list of purchases, and the page of one: its versions, its files, and what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.catalogue.records import read_manifest
from gateway.manifest import Manifest, ManifestFile
from gateway.orders.purchases import (
    Holder,
    Purchase,
    Version,
    count_purchases,
    get_purchase,
    list_purchases,
    list_waiting,
    read_purchases,
    search_purchases,
    with_versions,
)
from gateway.orders.seats import count_free, list_seats
from gateway.usage.csv_cells import lines
from gateway.web.portal.context import PortalContext
from gateway.web.portal.sign_in import show_sign_in
from gateway.web.portal.visitors import Visitor, find_visitor, signed_in
from gateway.web.problems import Problem
from gateway.web.times import format_time

ON_A_PAGE: Final = 20
"""Purchases of one page."""
VERSIONS_ON_A_PAGE: Final = 8
FILES_ON_A_PAGE: Final = 40
"""With their digests and buttons they take some 50 KB."""
SEATS_ON_A_PAGE: Final = 100
MAX_SEARCH: Final = 200
"""Characters of a search that are looked for."""
MAX_NOTES: Final = 1000
"""Characters of the notes that are shown of a version beside the chosen one."""
_MOST_PAGES: Final = 10_000

Each = TypeVar("Each")


class Part(NamedTuple):
    """One page of a list. before, after: the numbers of the pages beside it; 0 where there is none."""

    items: Sequence[Any]
    before: int
    after: int
    total: int


def part_of(items: Sequence[Each], page: str, size: int) -> Part:
    """Cut one page out of a list. page: its number as the URL has it; anything else means the first."""
    wanted = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
    last = max(1, min(-(-len(items) // size), _MOST_PAGES))
    number = min(max(wanted, 1), last)
    cut = items[(number - 1) * size : number * size]
    return Part(cut, number - 1, number + 1 if number < last else 0, len(items))


class NumberedFile(NamedTuple):
    """A file and its number in the manifest, by which forms name it."""

    number: int
    file: ManifestFile


async def show_first(request: web.Request, context: PortalContext) -> web.StreamResponse:
    """The purchases of who has signed in; for all others the page to sign in."""
    visitor = await find_visitor(request, context)
    if visitor is None:
        return show_sign_in(request, context)
    search = request.query.get("q", "").strip()[:MAX_SEARCH]
    async with context.work.database.reading() as sql:
        part = await _part(sql, visitor.holder, search, request.query.get("page", ""))
        purchases = await with_versions(sql, part.items)
        waiting = await list_waiting(sql, visitor.holder) if not search and not part.before else []
    return context.pages.respond(
        request,
        "portal/purchases.html",
        visitor=visitor,
        purchases=purchases,
        part=part,
        waiting=waiting,
        search=search,
        has_search=part.total > ON_A_PAGE // 4,
        query=urlencode({"q": search}) if search else "",
    )


async def _part(sql: AsyncConnection, holder: Holder, search: str, page: str) -> Part:
    """One page of a holder's purchases: of all, or of those that a search finds."""
    if search:
        part = part_of(await search_purchases(sql, holder, search), page, ON_A_PAGE)
        return part._replace(items=await read_purchases(sql, holder, part.items))
    part = part_of(range(await count_purchases(sql, holder)), page, ON_A_PAGE)
    offset = part.items[0] if part.items else 0
    return part._replace(items=await list_purchases(sql, holder, len(part.items), offset))


async def write_csv(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """The purchases as CSV."""
    search = request.query.get("q", "").strip()[:MAX_SEARCH]
    async with context.work.database.reading() as sql:
        if search:
            ids = await search_purchases(sql, visitor.holder, search)
            found = await read_purchases(sql, visitor.holder, ids)
        else:
            found = await list_purchases(sql, visitor.holder)
        found = await with_versions(sql, found)
    rows: list[list[str | int | None]] = [
        ["product", "order", "bought", "status", "quantity", "version", "published"]
    ]
    for each in found:
        version = each.offered
        rows.append(
            [
                each.title,
                each.order.name if each.order else None,
                format_time(each.placed),
                each.status.value,
                each.quantity,
                version.name if version else None,
                format_time(version.published) if version else None,
            ]
        )
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="purchases.csv"',
        **PRIVATE,
    }
    return web.Response(body=lines(rows), headers=headers)


PRIVATE: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Fields of an answer that is no page."""


async def show_purchase(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """One purchase. The URL may name a version, and pages of versions and files. Raises Problem."""
    return await purchase_page(request, context, visitor, await purchase_of(request, context, visitor))


async def purchase_of(request: web.Request, context: PortalContext, visitor: Visitor) -> Purchase:
    """The purchase that the path names. Raises Problem (not_found), also for that of another."""
    async with context.work.database.reading() as sql:
        purchase = await get_purchase(sql, visitor.holder, request.match_info["purchase"])
    if purchase is None:
        raise Problem("not_found", "There is no such purchase.")
    return purchase


async def purchase_page(
    request: web.Request,
    context: PortalContext,
    visitor: Visitor,
    purchase: Purchase,
    status: int = 200,
    **said: str,
) -> web.StreamResponse:
    """The page of a purchase. said: what a form that came before has to say."""
    version = purchase.version(request.query.get("version", "")) or purchase.offered
    async with context.work.database.reading() as sql:
        manifest = None if version is None else await read_manifest(sql, version.manifest)
        seats = await list_seats(sql, purchase.id, purchase.quantity) if purchase.is_own else []
    files = [] if manifest is None else [NumberedFile(*each) for each in enumerate(manifest.files)]
    return context.pages.respond(
        request,
        "portal/purchase.html",
        status,
        headers={"Content-Security-Policy": context.pages.policy_of_downloads},
        visitor=visitor,
        purchase=purchase,
        version=version,
        manifest=manifest,
        files=part_of(files, request.query.get("files", ""), FILES_ON_A_PAGE),
        versions=part_of(purchase.versions, request.query.get("versions", ""), VERSIONS_ON_A_PAGE),
        size=sum(file.size for _, file in files),
        seats=seats[:SEATS_ON_A_PAGE],
        free=count_free(purchase.quantity, {seat.number for seat in seats}),
        max_notes=MAX_NOTES,
        seat_fault=said.get("seat_fault", ""),
        seat_email=said.get("seat_email", ""),
    )


async def version_files(
    context: PortalContext, purchase: Purchase, name: str
) -> tuple[Version, Manifest] | None:
    """A version of a purchase and its files; None where the purchase does not open it."""
    version = purchase.version(name)
    if version is None:
        return None
    async with context.work.database.reading() as sql:
        manifest = await read_manifest(sql, version.manifest)
    return None if manifest is None else (version, manifest)


SHOW_PURCHASE: Final = signed_in(show_purchase)
WRITE_CSV: Final = signed_in(write_csv)

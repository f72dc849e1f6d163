"""*Tokens*: found by id, customer, product and status; one with what it downloaded, and what can be done.

Tokens that live come from the store. Those that have expired are remembered by the database.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from gateway.config.units import parse_duration
from gateway.database.errors import DatabaseError
from gateway.database.types import now
from gateway.errors import Declined
from gateway.http.repairs import MAX_TEXT, find_tokens
from gateway.orders.entitlements import get_entitlement
from gateway.pages.charts import coverage_strip
from gateway.pages.formats import write_size
from gateway.pages.texts import texts_of
from gateway.secrets import token_id
from gateway.tokens.index import is_token_id
from gateway.tokens.listing import MAX_LIMIT, TokenFilter
from gateway.tokens.records import STATUSES, TokenRecord
from gateway.usage.coverage import count
from gateway.usage.queries import get_token as read_token
from gateway.usage.queries import token_usage
from gateway.usage.received import CoveredFile, covered_files
from gateway.usage.token_search import TokenSearch, expired_tokens
from gateway.web.api.models import UpdateToken
from gateway.web.api.tokens import EXPIRED, FILL_SECONDS, find_token, forgotten_record
from gateway.web.auditing import note_change
from gateway.web.dashboard.answers import number, text_of
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, change, show
from gateway.web.dashboard.listing import CSV_ROWS, Listing, read_listing
from gateway.web.forms import read_form
from gateway.web.problems import Problem
from gateway.web.times import format_time
from gateway.web.validation import validate

_ = str  # marks what is in the catalogue

EXTENSIONS: Final = ("1d", "7d", "30d")
"""By how much a link is made to live longer."""
COLUMNS: Final = (
    "tokenId",
    "productId",
    "version",
    "status",
    "email",
    "name",
    "createdAt",
    "expiresAt",
    "maxDownloads",
    "bytesCharged",
)
"""Of the file of a list."""


async def list_tokens(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the tokens that were looked for. Raises Problem, StoreUnavailable, DatabaseError."""
    listing = read_listing(request, "id", "product", "email", "status")
    identifier = listing.filters["id"].lower()
    if is_token_id(identifier):
        return context.pages.redirect(f"/tokens/{identifier}")
    fault = _("An id has 32 digits from 0 to f.") if identifier else ""
    if not fault:
        read = _expired if listing.filters["status"] == EXPIRED else _live
        listing = await read(context, listing)
    if listing.wants_csv:
        return context.csv("tokens", COLUMNS, map(_cells, listing.rows))
    return await context.show(
        request, "dashboard/tokens.html", listing=listing, statuses=(*STATUSES, EXPIRED), fault=fault
    )


async def _live(context: DashboardContext, listing: Listing) -> Listing:
    """The listing of tokens that the store has."""
    filters = listing.filters
    only = TokenFilter(
        filters["product"] or None,
        filters["status"] if filters["status"] in STATUSES else None,
        filters["email"] or None,
    )
    found: list[TokenRecord] = []
    cursor = listing.after or None
    while True:
        missing = min(listing.limit - (not listing.wants_csv) - len(found), MAX_LIMIT)
        try:
            page = await context.work.store.tokens.list_page(only, missing, cursor, FILL_SECONDS)
        except ValueError:
            raise Problem("invalid_request", "There is no such page of the list.") from None
        found += page.tokens
        cursor = page.cursor
        if cursor is None or not listing.wants_csv or len(found) >= CSV_ROWS:
            return replace(listing, rows=found, next=cursor or "")


async def _expired(context: DashboardContext, listing: Listing) -> Listing:
    """The listing of tokens that only the database remembers."""
    filters = listing.filters
    expires, _sign, identifier = listing.after.partition("-")
    after = (int(expires), identifier) if expires.isascii() and expires.isdigit() else None
    only = TokenSearch(now(), filters["product"] or None, filters["email"] or None)
    async with context.work.database.reading() as sql:
        rows = await expired_tokens(sql, only, after, listing.limit)
    records = [forgotten_record(row) for row in rows]
    return listing.with_rows(records, lambda each: f"{each.expires}-{each.id}")


def _cells(record: TokenRecord) -> tuple[str | int | None, ...]:
    return (
        record.id,
        record.product,
        record.version,
        record.status,
        record.email,
        record.name,
        format_time(record.created),
        format_time(record.expires),
        record.max_downloads,
        sum(record.charged.values()),
    )


async def find_by_link(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Find the token of a link that a customer has sent. The link is in the form, and so in no address."""
    found = set(find_tokens((await read_form(request)).text("link")[:MAX_TEXT]))
    if len(found) != 1:
        return await context.go(request, "/tokens", _("There is no whole link in this text."), "bad")
    return context.pages.redirect(f"/tokens/{token_id(found.pop())}")


async def show_token(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one token. Raises Problem, StoreUnavailable, DatabaseError."""
    record = await find_token(context.work, request.match_info["token"])
    usage, strips, customer = [], [], None
    is_known = True
    try:
        async with context.work.database.reading() as sql:
            usage = await token_usage(sql, record.id)
            covered = await covered_files(sql, record.id)
            row = await read_token(sql, record.id)
            if row is not None and row.entitlement_id is not None:
                customer = await get_entitlement(sql, row.entitlement_id)
        strips = [_strip(request, context, each) for each in covered]
    except DatabaseError:  # what the store knows is shown without the database
        if record.status == EXPIRED:
            raise
        is_known = False
    return await context.show(
        request,
        "dashboard/token.html",
        record=record,
        usage=usage,
        strips=strips,
        entitlement=customer,
        is_known=is_known,
        is_test=str(record.metadata.get("test", "")).lower() == "true",
        extensions=EXTENSIONS,
    )


def _strip(request: web.Request, context: DashboardContext, file: CoveredFile) -> dict[str, Any]:
    """A file as a strip, with how much of it was received."""
    texts = texts_of(context.pages.language_of(request))
    received = count(file.spans)
    percent = 100 * received // file.size if file.size else 100
    label = texts.gettext(_("%(percent)s %% of %(size)s received")) % {
        "percent": percent,
        "size": write_size(file.size, texts.locale),
    }
    strip = coverage_strip(file.size, file.spans, label)
    return {"name": file.name, "size": file.size, "received": received, "percent": percent, "strip": strip}


async def extend(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Let a link live longer, or change how often it downloads. Raises Problem, StoreUnavailable."""
    form, identifier = await read_form(request), request.match_info["token"]
    here = f"/tokens/{identifier}" if is_token_id(identifier) else "/tokens"
    try:
        record = await find_token(context.work, identifier)
        by = form.text("by")
        if by:
            longer = int(1000 * parse_duration(by if by in EXTENSIONS else EXTENSIONS[0]))
            expires = max(record.expires, now()) + longer
            expires = min(expires, now() + 1000 * context.work.max_ttl - 1000)
            after = await context.work.store.tokens.update(
                record.id, expires_at=expires, max_lifetime=context.work.max_ttl
            )
            note_change(request, token=record.id, expiresAt=format_time(after.expires))
            return await context.go(request, here, _("The link works longer now."))
        given = validate(UpdateToken, {"maxDownloads": number(form, "maxDownloads")})
        await context.work.store.tokens.update(record.id, max_downloads=given.maxDownloads)
    except (Problem, Declined) as refusal:
        return await context.go(request, here, text_of(refusal), "bad")
    note_change(request, token=record.id, maxDownloads=str(given.maxDownloads))
    return await context.go(request, here, _("The number of downloads is changed."))


async def revoke(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """End a link for ever. Raises StoreUnavailable."""
    identifier = request.match_info["token"]
    try:
        record = await context.work.store.tokens.revoke(identifier)
    except Declined as refusal:
        return await context.go(request, "/tokens", text_of(refusal), "bad")
    note_change(request, token=record.id)
    return await context.go(request, f"/tokens/{record.id}", _("The link is ended. Running downloads stop."))


TOKEN_SCREENS: Final = (
    show("/tokens", list_tokens, EVERYBODY),
    show("/tokens.csv", list_tokens, EVERYBODY),
    change("/tokens/find", find_by_link, EVERYBODY, audit="token.find"),
    show("/tokens/{token}", show_token, EVERYBODY),
    change("/tokens/{token}", extend, EVERYBODY, audit="token.update"),
    change("/tokens/{token}/revoke", revoke, EVERYBODY, audit="token.revoke"),
)

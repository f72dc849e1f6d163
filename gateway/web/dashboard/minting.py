"""*Generate Download Token*: a link for a customer, shown once. *Test Download*: one that is not counted.

A test token is one whose metadata say `test` (`gateway.usage.known_tokens`): what it downloads is kept out of
usage, and orders know nothing of it.
"""

from __future__ import annotations

from typing import Any, Final

import segno
from aiohttp import web
from markupsafe import Markup

from gateway.catalogue.rules import ProductRecord
from gateway.config.units import format_duration, parse_duration
from gateway.errors import Declined
from gateway.tokens.records import MintedToken
from gateway.web.auditing import note_change
from gateway.web.dashboard.answers import faults_of, number, pairs, seconds, size, text_of, without_nothing
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, change, show
from gateway.web.dashboard.products import find, versions_of
from gateway.web.download_urls import TokenTerms, download_url_document, limit_lifetime
from gateway.web.forms import Form, read_form
from gateway.web.problems import Problem
from gateway.web.validation import validate

_ = str  # marks what is in the catalogue

TEST_SECONDS: Final = 86_400
"""A day: long enough to try a link on another device, too short to be given to customers."""
TEST_MARK: Final = {"test": "true"}
LIFETIMES: Final = ("1h", "1d", "7d", "30d", "90d", "365d")
"""What is offered; any other time may be written."""
QR_SCALE: Final = 4


class NewToken(TokenTerms):
    """The fields of the form: those of the API, and the version."""

    version: str | None = None


FIELDS: Final = (
    "version",
    "expiresIn",
    "maxDownloads",
    "maxConnections",
    "maxRate",
    "maxConnectionRate",
    "bindTo",
    "customer.email",
    "customer.name",
    "metadata",
)


def _document(form: Form) -> dict[str, Any]:
    """The body of the API that a form means. Raises Problem."""
    return without_nothing(
        {
            "version": form.text("version"),
            "expiresIn": seconds(form, "expiresIn"),
            "maxDownloads": number(form, "maxDownloads"),
            "maxConnections": number(form, "maxConnections"),
            "maxRate": size(form, "maxRate"),
            "maxConnectionRate": size(form, "maxConnectionRate"),
            "bindTo": form.text("bindTo"),
            "customer": without_nothing(
                {"email": form.text("customer.email"), "name": form.text("customer.name")}
            ),
            "metadata": pairs(form, "metadata"),
        }
    )


async def show_form(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the form of a new link. Raises Problem, DatabaseError."""
    product = await find(request, context)
    given = {name: request.query.get(name, "") for name in FIELDS}
    given["expiresIn"] = given["expiresIn"] or format_duration(context.work.default_ttl)
    return await _show_form(request, context, product, given, {})


async def _show_form(
    request: web.Request,
    context: DashboardContext,
    product: ProductRecord,
    given: dict[str, str],
    faults: dict[str, str],
) -> web.StreamResponse:
    return await context.show(
        request,
        "dashboard/token_new.html",
        422 if faults else 200,
        product=product,
        versions=versions_of(product),
        lifetimes=[each for each in LIFETIMES if _fits(each, context)],
        longest=format_duration(context.work.max_ttl),
        given=given,
        faults=faults,
    )


def _fits(lifetime: str, context: DashboardContext) -> bool:
    return parse_duration(lifetime) <= context.work.max_ttl


async def create(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a link, and show it this once. Raises Problem, DatabaseError, StoreUnavailable."""
    product, form = await find(request, context), await read_form(request)
    try:
        terms = validate(limit_lifetime(NewToken, context.work.max_ttl), _document(form))
        lifetime = terms.expiresIn or context.work.default_ttl
        minted = await context.work.store.tokens.create(
            product.id, terms.version, expires_in=lifetime, **terms.values()
        )
    except (Problem, Declined) as refusal:
        given = {name: form.text(name) for name in FIELDS}
        return await _show_form(request, context, product, given, faults_of(refusal, FIELDS))
    return await _show_link(request, context, product, minted, is_test=False)


async def try_out(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a link of a day for the seller, which is not counted. Raises Problem, StoreUnavailable."""
    product, form = await find(request, context), await read_form(request)
    try:
        minted = await context.work.store.tokens.create(
            product.id,
            form.text("version") or None,
            expires_in=min(TEST_SECONDS, context.work.max_ttl),
            metadata=TEST_MARK,
        )
    except Declined as refusal:
        return await context.go(request, f"/products/{product.id}", text_of(refusal), "bad")
    return await _show_link(request, context, product, minted, is_test=True)


async def _show_link(
    request: web.Request,
    context: DashboardContext,
    product: ProductRecord,
    minted: MintedToken,
    *,
    is_test: bool,
) -> web.StreamResponse:
    record = minted.record
    note_change(request, token=record.id, product=record.product, version=record.version)
    file = await context.work.store.products.only_file(record.manifest)
    urls = download_url_document(
        context.work.base_url, record.product, record.version, minted.token, record.expires, file
    )
    url = urls.get("directUrl", urls["downloadUrl"])
    return await context.show(
        request,
        "dashboard/token_made.html",
        product=product,
        record=record,
        url=url,
        plain_url=urls["downloadUrl"],
        qr=qr_code(url),
        is_test=is_test,
    )


def qr_code(text: str) -> Markup:
    """A QR code as SVG, black on white, so that a phone reads it in a dark page, too."""
    code = segno.make(text, error="m", micro=False)
    return Markup(code.svg_inline(scale=QR_SCALE, border=3, dark="#000", light="#fff", omitsize=True))  # noqa: S704


MINTING_SCREENS: Final = (
    show("/products/{product}/token", show_form, EVERYBODY),
    change("/products/{product}/token", create, EVERYBODY, audit="token.create"),
    change("/products/{product}/test", try_out, EVERYBODY, audit="token.create"),
)

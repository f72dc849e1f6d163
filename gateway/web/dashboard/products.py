"""*Products*: what is sold, its versions with their files and notes, and how often it was downloaded."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from gateway.catalogue.rules import ProductRecord, VersionRecord
from gateway.database.types import now
from gateway.errors import Declined
from gateway.manifest import Manifest
from gateway.pages.texts import texts_of
from gateway.products.validation import is_name
from gateway.usage.days import DayFilter, Usage, add_up, sums_by, sums_by_day
from gateway.usage.queries import DAY_MS
from gateway.web.api.models import CreateProduct, UpdateProduct, UpdateVersion
from gateway.web.auditing import note_change
from gateway.web.dashboard.answers import faults_of, text_of, without_nothing
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.figures import day_charts
from gateway.web.dashboard.frame import EVERYBODY, change, show
from gateway.web.dashboard.listing import read_listing
from gateway.web.forms import read_form
from gateway.web.problems import Problem
from gateway.web.validation import validate

_ = str  # marks what is in the catalogue; the page translates it

SHOWN_DAYS: Final = 30
FILES_SHOWN: Final = 10
"""Files of a version on a page; the API has all."""
VERSIONS_SHOWN: Final = 5
"""Versions of a product on one page. Each takes some 6 KB, with its notes and files."""


def last_days(days: int = SHOWN_DAYS) -> DayFilter:
    """The days until today (UTC)."""
    today = now() // DAY_MS
    return DayFilter(today - days + 1, today + 1)


async def list_products(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the products with their downloads of 30 days. Raises DatabaseError."""
    listing = read_listing(request, "q", "status")
    products = [each for each in await context.work.catalogue.list_all() if _passes(each, listing.filters)]
    async with context.work.database.reading() as sql:
        sums = {key[0]: usage for key, usage in await sums_by(sql, last_days(), "product")}
    products = sorted(products, key=lambda each: (each.status, each.id))
    if listing.after:
        products = [each for each in products if f"{each.status} {each.id}" > listing.after]
    listing = listing.with_rows(products[: listing.limit], lambda each: f"{each.status} {each.id}")
    if listing.wants_csv:
        cells = (
            (each.id, each.name, each.status, each.active, len(each.versions), *sums.get(each.id, Usage()))
            for each in listing.rows
        )
        columns = ("id", "name", "status", "active", "versions", "started", "completed", "bytes")
        return context.csv("products", columns, cells)
    return await context.show(
        request, "dashboard/products.html", listing=listing, sums=sums, zero=Usage(), given={}, faults={}
    )


def _passes(product: ProductRecord, filters: Any) -> bool:
    wanted = filters["q"].casefold()
    return (not wanted or wanted in product.id.casefold() or wanted in product.name.casefold()) and (
        filters["status"] in ("", product.status)
    )


async def show_new(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show the form of a new product."""
    return await context.show(request, "dashboard/product_new.html", given={}, faults={})


async def create(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a product. Raises DatabaseError, StoreUnavailable."""
    form = await read_form(request)
    given = {"productId": form.text("productId"), "name": form.text("name")}
    try:
        new = validate(CreateProduct, without_nothing(given))
        made = await context.work.catalogue.create(new.productId, new.name)
    except (Problem, Declined) as refusal:
        return await context.show(
            request, "dashboard/product_new.html", 422, given=given, faults=faults_of(refusal, given)
        )
    note_change(request, product=made.id)
    return await context.go(
        request, f"/products/{made.id}", _("The product is there. Now publish its files.")
    )


async def find(request: web.Request, context: DashboardContext) -> ProductRecord:
    """The product that the path names. Raises Problem: product_unknown."""
    identifier = request.match_info["product"]
    product = await context.work.catalogue.read(identifier) if is_name(identifier) else None
    if product is None:
        raise Problem("product_unknown", "There is no such product.")
    return product


def versions_of(product: ProductRecord) -> list[VersionRecord]:
    """The versions of a product, the latest published first."""
    return sorted(product.versions.values(), key=lambda each: (each.published, each.created), reverse=True)


async def show_product(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show one product. Raises Problem, DatabaseError, StoreUnavailable."""
    product = await find(request, context)
    everything = versions_of(product)
    skipped = _skipped(request.query.get("skip", ""))
    versions = everything[skipped : skipped + VERSIONS_SHOWN]
    older = skipped + VERSIONS_SHOWN
    manifests = await _manifests(context, versions)
    only = replace_product(last_days(), product.id)
    async with context.work.database.reading() as sql:
        days = await sums_by_day(sql, only)
        by_version = {key[1]: usage for key, usage in await sums_by(sql, only, "version")}
    return await context.show(
        request,
        "dashboard/product.html",
        product=product,
        versions=versions,
        manifests=manifests,
        files_shown=FILES_SHOWN,
        older=older if older < len(everything) else 0,
        whole=add_up(days),
        by_version=by_version,
        zero=Usage(),
        charts=day_charts(only.first, days, texts_of(context.pages.language_of(request))),
    )


def _skipped(text: str) -> int:
    """How many versions come before those of a page, as its URL says it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


def replace_product(only: DayFilter, product: str) -> DayFilter:
    """The filter for one product."""
    return only._replace(product=product)


async def _manifests(context: DashboardContext, versions: list[VersionRecord]) -> dict[str, Manifest]:
    """The manifests of versions, by their names; what the store has lost is left out."""
    products = context.work.store.products
    found = await asyncio.gather(*(products.get_manifest(each.manifest) for each in versions))
    return {
        each.version: manifest for each, manifest in zip(versions, found, strict=True) if manifest is not None
    }


async def update(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Rename, archive or restore a product, or choose its active version. Raises Problem, DatabaseError."""
    product, form = await find(request, context), await read_form(request)
    names = ("name", "status", "activeVersion")
    here = f"/products/{product.id}"
    try:
        given = validate(UpdateProduct, without_nothing({name: form.text(name) for name in names}))
        await context.work.catalogue.update(
            product.id, name=given.name, status=given.status, active=given.activeVersion
        )
    except (Problem, Declined) as refusal:
        return await context.go(request, here, text_of(refusal), "bad")
    note_change(request, product=product.id, **given.model_dump(exclude_unset=True))
    if given.activeVersion is not None:
        text = _("New links get version %(version)s from now on.")
        return await context.go(request, here, text, version=given.activeVersion)
    if given.status == "archived":
        return await context.go(request, here, _("The product is archived. It gets no new links."))
    return await context.go(request, here, _("The product is changed."))


async def describe(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Change what customers read of a version. Raises Problem, DatabaseError."""
    product, form = await find(request, context), await read_form(request)
    version = request.match_info["version"]
    here = f"/products/{product.id}"
    try:
        change_ = validate(UpdateVersion, {"notes": form.text("notes").replace("\r\n", "\n") or None})
        await context.work.catalogue.describe(product.id, version, notes=change_.notes or "")
    except (Problem, Declined) as refusal:
        return await context.go(request, here, text_of(refusal), "bad")
    note_change(request, product=product.id, version=version, fields="notes")
    return await context.go(request, here, _("The notes of version %(version)s are saved."), version=version)


PRODUCT_SCREENS: Final = (
    show("/products", list_products, EVERYBODY),
    show("/products.csv", list_products, EVERYBODY),
    show("/new-product", show_new, EVERYBODY),
    change("/new-product", create, EVERYBODY, audit="product.create"),
    show("/products/{product}", show_product, EVERYBODY),
    change("/products/{product}", update, EVERYBODY, audit="product.update"),
    change("/products/{product}/versions/{version}", describe, EVERYBODY, audit="version.update"),
)

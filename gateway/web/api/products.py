"""/api/products: what is sold, and registering its versions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from aiohttp import web

from gateway.catalogue.rules import ProductRecord
from gateway.errors import StoreUnavailable
from gateway.mail.announcing import announce
from gateway.manifest import Manifest
from gateway.products.hashing import Stopped
from gateway.products.validation import is_name
from gateway.web.api.context import AdminContext
from gateway.web.api.models import (
    CreateProduct,
    ProductResponse,
    ProductsResponse,
    RegisterVersion,
    UpdateProduct,
    UpdateVersion,
)
from gateway.web.api.version_files import declaration_faults, describe_files
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.documents import product_document
from gateway.web.problems import Problem, invalid
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest. The 10,000 files it may hold take some 300 bytes each, and a few take more."""


async def list_products(_request: web.Request, context: AdminContext) -> web.Response:
    """Answer with all products."""
    products = await context.catalogue.list_all()
    return json_response({"success": True, "products": [product_document(product) for product in products]})


async def get_product(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one product. Raises Problem: product_unknown."""
    return _product_response(await _find_product(request, context))


async def create_product(request: web.Request, context: AdminContext) -> web.Response:
    """Make a product without versions. Raises Problem, Declined."""
    new = validate(CreateProduct, await read_json(request))
    note_change(request, product=new.productId)
    return _product_response(await context.catalogue.create(new.productId, new.name), status=201)


async def update_product(request: web.Request, context: AdminContext) -> web.Response:
    """Rename, archive or restore a product, or choose its active version. Raises Problem, Declined."""
    change = validate(UpdateProduct, await read_json(request))
    product = await _find_product(request, context)
    note_change(request, product=product.id, **change.model_dump(exclude_unset=True))
    product = await context.catalogue.update(
        product.id, name=change.name, status=change.status, active=change.activeVersion
    )
    if change.activeVersion is not None:
        await _tell_customers(context, product.id, change.activeVersion, change.notify)
    return _product_response(product)


async def _tell_customers(context: AdminContext, product: str, version: str, notify: bool | None) -> None:
    """Have customers told of a version, if that is wanted. Raises DatabaseError."""
    if context.tells_customers if notify is None else notify:
        await announce(context.database, product, version)


async def register_version(request: web.Request, context: AdminContext) -> web.Response:
    """Register a version, after comparing its files with what the storages hold. Raises Problem, Declined.

    The files are read for their digests, unless the request asks to trust its own.
    """
    new = validate(RegisterVersion, await read_json(request, MANIFEST_LIMIT))
    product = await _find_product(request, context)
    trust = bool(new.trust)
    note_change(request, product=product.id, version=new.version, digests="trusted" if trust else "computed")
    faults = declaration_faults(product.id, new)
    if faults:
        raise invalid(faults)
    known = [] if trust else await context.store.products.known_manifests(product.product, new.version)
    describe = partial(describe_files, trust=trust, known=known, is_stopped=context.stop.is_set)
    try:
        async with context.reading:
            files, faults = await asyncio.to_thread(describe, new.files, context.storages)
    except Stopped:
        raise StoreUnavailable("the service stopped while it read the files of a version") from None
    if faults:
        raise invalid(faults)
    product = await context.catalogue.register(
        Manifest(product.id, new.version, files),
        activate=new.activate,
        create=False,
        trusted=trust,
        notes=new.notes,
        published=new.publishedAt,
    )
    await _tell_customers(context, product.id, new.version, new.notify)
    return _product_response(product)


async def update_version(request: web.Request, context: AdminContext) -> web.Response:
    """Change what customers read of a version, or when it was published. Raises Problem, Declined."""
    change = validate(UpdateVersion, await read_json(request))
    product, version = await _find_product(request, context), request.match_info["version"]
    note_change(
        request, product=product.id, version=version, fields=", ".join(sorted(change.model_fields_set))
    )
    notes = (change.notes or "") if "notes" in change.model_fields_set else None
    changed = await context.catalogue.describe(product.id, version, notes=notes, published=change.publishedAt)
    return _product_response(changed)


async def _find_product(request: web.Request, context: AdminContext) -> ProductRecord:
    identifier = request.match_info["productId"]
    product = await context.catalogue.read(identifier) if is_name(identifier) else None
    if product is None:
        raise Problem("product_unknown", "There is no such product; POST /api/products makes one.")
    return product


def _product_response(product: ProductRecord, status: int = 200) -> web.Response:
    return json_response({"success": True, "product": product_document(product)}, status)


_PRODUCT: Final = "/products/{productId}"

PRODUCT_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route("GET", "/products", list_products, "listProducts", "List products", ProductsResponse),
    Route(
        "POST",
        "/products",
        create_product,
        "createProduct",
        "Make a product",
        ProductResponse,
        status=201,
        body=CreateProduct,
        refusals=(409,),
        audit="product.create",
    ),
    Route("GET", _PRODUCT, get_product, "getProduct", "Show a product", ProductResponse, refusals=(404,)),
    Route(
        "PUT",
        _PRODUCT,
        update_product,
        "updateProduct",
        "Rename or archive a product, or choose its active version",
        ProductResponse,
        body=UpdateProduct,
        refusals=(404, 409),
        audit="product.update",
    ),
    Route(
        "POST",
        f"{_PRODUCT}/versions",
        register_version,
        "registerVersion",
        "Register a version's files",
        ProductResponse,
        body=RegisterVersion,
        refusals=(404, 409),
        audit="version.register",
    ),
    Route(
        "PUT",
        f"{_PRODUCT}/versions/{{version}}",
        update_version,
        "updateVersion",
        "Change a version's notes or the time of its publication",
        ProductResponse,
        body=UpdateVersion,
        refusals=(404,),
        audit="version.update",
    ),
)

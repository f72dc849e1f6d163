"""/api/products: what is sold, and registering its versions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from aiohttp import web

from gateway.errors import StoreUnavailable
from gateway.manifest import Manifest
from gateway.products.hashing import Stopped
from gateway.products.repository import Product
from gateway.products.validation import is_name
from gateway.web.api.context import AdminContext
from gateway.web.api.models import (
    CreateProduct,
    ProductResponse,
    ProductsResponse,
    RegisterVersion,
    UpdateProduct,
)
from gateway.web.api.version_files import declaration_faults, describe_files
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
    products = await context.store.products.list_all()
    return json_response({"success": True, "products": [product_document(product) for product in products]})


async def get_product(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one product. Raises Problem: product_unknown."""
    return _product_response(await _find_product(request, context))


async def create_product(request: web.Request, context: AdminContext) -> web.Response:
    """Make a product without versions. Raises Problem, Declined."""
    new = validate(CreateProduct, await read_json(request))
    return _product_response(await context.store.products.create(new.productId, new.name), status=201)


async def update_product(request: web.Request, context: AdminContext) -> web.Response:
    """Rename, archive or restore a product, or choose its active version. Raises Problem, Declined."""
    change = validate(UpdateProduct, await read_json(request))
    product = await _find_product(request, context)
    product = await context.store.products.update(
        product.id, name=change.name, status=change.status, active=change.activeVersion
    )
    return _product_response(product)


async def register_version(request: web.Request, context: AdminContext) -> web.Response:
    """Register a version, after comparing its files with what the storages hold. Raises Problem, Declined.

    The files are read for their digests, unless the request asks to trust its own.
    """
    new = validate(RegisterVersion, await read_json(request, MANIFEST_LIMIT))
    product = await _find_product(request, context)
    trust = bool(new.trust)
    faults = declaration_faults(product.id, new)
    if faults:
        raise invalid(faults)
    known = [] if trust else await context.store.products.known_manifests(product, new.version)
    describe = partial(describe_files, trust=trust, known=known, is_stopped=context.stop.is_set)
    try:
        async with context.reading:
            files, faults = await asyncio.to_thread(describe, new.files, context.storages)
    except Stopped:
        raise StoreUnavailable("the service stopped while it read the files of a version") from None
    if faults:
        raise invalid(faults)
    product = await context.store.products.register(
        Manifest(product.id, new.version, files), activate=new.activate, create=False, trusted=trust
    )
    return _product_response(product)


async def _find_product(request: web.Request, context: AdminContext) -> Product:
    identifier = request.match_info["productId"]
    product = await context.store.products.get(identifier) if is_name(identifier) else None
    if product is None:
        raise Problem("product_unknown", "There is no such product; POST /api/products makes one.")
    return product


def _product_response(product: Product, status: int = 200) -> web.Response:
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
    ),
)

"""/api/products: what is sold, and registering its versions."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway.errors import StorageError
from gateway.manifest import Manifest, ManifestFile
from gateway.mint.bodies import read_json, validate
from gateway.mint.context import BODY_LIMIT, MANIFEST_LIMIT, Context, json_answer
from gateway.mint.models import DEFAULT_TYPE, CreateProduct, NewFile, RegisterVersion, UpdateProduct
from gateway.mint.problems import Problem, invalid
from gateway.mint.times import format_time
from gateway.storage.registry import Storages
from gateway.tokens.checks import Fault, is_name, manifest_faults
from gateway.tokens.products import Product


async def list_products(_request: web.Request, context: Context) -> web.Response:
    """All products."""
    products = await context.store.list_products()
    return json_answer({"success": True, "products": [product_data(product) for product in products]})


async def get_product(request: web.Request, context: Context) -> web.Response:
    """One product."""
    return _answer(await _existing(request, context))


async def create_product(request: web.Request, context: Context) -> web.Response:
    """A product without versions."""
    new = validate(CreateProduct, await read_json(request, BODY_LIMIT))
    return _answer(await context.store.create_product(new.productId, new.name), status=201)


async def update_product(request: web.Request, context: Context) -> web.Response:
    """Rename, archive or restore a product, or choose its active version."""
    change = validate(UpdateProduct, await read_json(request, BODY_LIMIT))
    product = await _existing(request, context)
    return _answer(
        await context.store.update_product(
            product.id, name=change.name, status=change.status, active=change.activeVersion
        )
    )


async def register_version(request: web.Request, context: Context) -> web.Response:
    """Register a version whose files lie in storages of this service; each is looked at before."""
    new = validate(RegisterVersion, await read_json(request, MANIFEST_LIMIT))
    product = await _existing(request, context)
    files, faults = await asyncio.to_thread(_look_at_files, new.files, context.storages)
    manifest = Manifest(product.id, new.version, files)
    faults = manifest_faults(manifest) or faults
    if faults:
        raise invalid(faults)
    return _answer(await context.store.register_manifest(manifest, activate=new.activate, create=False))


def _look_at_files(files: list[NewFile], storages: Storages) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    """Compare the files with what the storages hold; `modified` is filled in from there. Blocks."""
    found: list[ManifestFile] = []
    faults: list[Fault] = []
    for index, new in enumerate(files):
        modified = new.modified or 0
        try:
            storage = storages.local(new.storage)
        except StorageError:
            faults.append((f"files[{index}].storage", "is no storage of this service"))
        else:
            try:
                size, held = storage.stat(new.key)
            except StorageError as error:
                faults.append((f"files[{index}].key", f"cannot be served: {error}"))
            else:
                if size != new.size:
                    faults.append((f"files[{index}].size", f"is not the {size} bytes that the storage holds"))
                if new.modified not in (None, held):
                    faults.append((f"files[{index}].modified", f"is not what the storage says: {held}"))
                modified = held
        kind = new.type or DEFAULT_TYPE
        found.append(
            ManifestFile(new.name, new.size, kind, new.sha256, new.crc32, new.storage, new.key, modified)
        )
    return tuple(found), faults


async def _existing(request: web.Request, context: Context) -> Product:
    identifier = request.match_info["productId"]
    product = await context.store.get_product(identifier) if is_name(identifier) else None
    if product is None:
        raise Problem("product_unknown", "There is no such product; POST /api/products makes one.")
    return product


def _answer(product: Product, status: int = 200) -> web.Response:
    return json_answer({"success": True, "product": product_data(product)}, status)


def product_data(product: Product) -> dict[str, Any]:
    """A product as JSON has it (answers.ProductData)."""
    return {
        "productId": product.id,
        "name": product.name,
        "status": product.status,
        "activeVersion": product.active,
        "createdAt": format_time(product.created),
        "versions": [
            {"version": version, "manifest": digest} for version, digest in sorted(product.versions.items())
        ],
    }

"""/api/products: what is sold, and registering its versions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from gateway.errors import StorageError
from gateway.manifest import Manifest, ManifestFile
from gateway.mint.bodies import read_json, validate
from gateway.mint.context import BODY_LIMIT, MANIFEST_LIMIT, Context, Request
from gateway.mint.data import product_data
from gateway.mint.models import DEFAULT_TYPE, CreateProduct, NewFile, RegisterVersion, UpdateProduct
from gateway.mint.problems import Problem, invalid
from gateway.mint.writing import Answer
from gateway.products.bucket_scanning import LOOKERS
from gateway.products.repository import Product
from gateway.products.validation import Fault, is_name, manifest_faults
from gateway.storage.catalog import ObjectFacts
from gateway.storage.registry import Storages


async def list_products(_request: Request, context: Context) -> Answer:
    """All products."""
    products = await context.store.products.list_all()
    return Answer({"success": True, "products": [product_data(product) for product in products]})


async def get_product(request: Request, context: Context) -> Answer:
    """One product."""
    return _answer(await _existing(request, context))


async def create_product(request: Request, context: Context) -> Answer:
    """A product without versions."""
    new = validate(CreateProduct, await read_json(request, BODY_LIMIT))
    return _answer(await context.store.products.create(new.productId, new.name), status=201)


async def update_product(request: Request, context: Context) -> Answer:
    """Rename, archive or restore a product, or choose its active version."""
    change = validate(UpdateProduct, await read_json(request, BODY_LIMIT))
    product = await _existing(request, context)
    return _answer(
        await context.store.products.update(
            product.id, name=change.name, status=change.status, active=change.activeVersion
        )
    )


async def register_version(request: Request, context: Context) -> Answer:
    """Register a version whose files lie in storages of this service; each is looked at before."""
    new = validate(RegisterVersion, await read_json(request, MANIFEST_LIMIT))
    product = await _existing(request, context)
    files, faults = await asyncio.to_thread(_look_at_files, new.files, context.storages)
    manifest = Manifest(product.id, new.version, files)
    faults = manifest_faults(manifest) or faults
    if faults:
        raise invalid(faults)
    return _answer(await context.store.products.register(manifest, activate=new.activate, create=False))


def _look_at_files(files: list[NewFile], storages: Storages) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    """Compare the files with what the storages hold, from where the rest is filled in. Blocks."""
    pool = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
    try:
        looked = list(pool.map(_look_at, range(len(files)), files, repeat(storages)))
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(file for file, _ in looked), [fault for _, faults in looked for fault in faults]


def _look_at(index: int, new: NewFile, storages: Storages) -> tuple[ManifestFile, list[Fault]]:
    faults: list[Fault] = []
    facts = ObjectFacts(new.key, new.size, new.modified or 0, etag="")
    try:
        facts = _facts(new, storages)
    except _Unknown:
        faults.append((f"files[{index}].storage", "is no storage of this service"))
    except StorageError as error:
        faults.append((f"files[{index}].key", f"cannot be served: {error}"))
    else:
        if facts.size != new.size:
            faults.append((f"files[{index}].size", f"is not the {facts.size} bytes that the storage holds"))
        if new.modified not in (None, facts.modified):
            faults.append((f"files[{index}].modified", f"is not what the storage says: {facts.modified}"))
    file = ManifestFile(
        new.name,
        new.size,
        new.type or DEFAULT_TYPE,
        new.sha256,
        new.crc32,
        new.storage,
        new.key,
        facts.modified,
        facts.etag,
        facts.version_id,
    )
    return file, faults


class _Unknown(Exception):
    """No such storage."""


def _facts(new: NewFile, storages: Storages) -> ObjectFacts:
    """What the file's storage says of it, be it a folder or a bucket. Raises _Unknown, StorageError."""
    catalog = storages.catalog(new.storage)
    if catalog is not None:
        return catalog.stat(new.key)
    try:
        storage = storages.local(new.storage)
    except StorageError:
        raise _Unknown from None
    size, modified = storage.stat(new.key)
    return ObjectFacts(new.key, size, modified, etag="")


async def _existing(request: Request, context: Context) -> Product:
    identifier = request.match_info["productId"]
    product = await context.store.products.get(identifier) if is_name(identifier) else None
    if product is None:
        raise Problem("product_unknown", "There is no such product; POST /api/products makes one.")
    return product


def _answer(product: Product, status: int = 200) -> Answer:
    return Answer({"success": True, "product": product_data(product)}, status)

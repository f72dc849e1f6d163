"""Products and their versions in the store.

Two keys a product, under one hash tag, so that every change is one script:

    dg:product:{ID}     hash: name, status (active | archived), active (the version), created (ms)
    dg:version:{ID}     hash: version -> manifest digest
    dg:manifest:{D}     string: the manifest, immutable, named by its own digest
    dg:products         set of ids, only for listing

The manifest is written before the script that names it and the id joins the set before its product
exists: a crash in between leaves something nobody refers to, never a reference to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.manifest import Manifest
from gateway.products.validation import MAX_DISPLAY_NAME, NAME_HELP, Fault, is_name, is_text, manifest_faults
from gateway.store.client import Declined, StoreClient
from gateway.store.scripts import Script

PRODUCTS_KEY: Final = "dg:products"
STATUSES: Final = ("active", "archived")

REGISTER: Final = Script.load("register_version")
CREATE: Final = Script.load("create_product")
UPDATE: Final = Script.load("update_product")
RESOLVE: Final = Script.load("resolve_version")


@dataclass(frozen=True)
class Product:
    """A product as the store holds it. created: ms since 1970. versions: version to manifest digest."""

    id: str
    name: str
    status: str
    active: str | None
    created: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    """The one version of a product that a token is about to be bound to."""

    product: str
    version: str
    manifest: str


def product_key(identifier: str) -> str:
    """The store's key of a product."""
    return f"dg:product:{{{identifier}}}"


def version_key(identifier: str) -> str:
    """The store's key of a product's versions; the same hash tag as the product's."""
    return f"dg:version:{{{identifier}}}"


def manifest_key(digest: str) -> str:
    """The store's key of a manifest."""
    return f"dg:manifest:{{{digest}}}"


class ProductStore(StoreClient):
    """What can be asked of and done to products. Every method may raise StoreUnavailable."""

    async def register_manifest(
        self, manifest: Manifest, name: str | None = None, activate: bool | None = None, create: bool = True
    ) -> Product:
        """Register a version; the product is made if `create`, with `name` (its id when None), else renamed.

        A product's first version becomes the active one, later ones only with `activate`. The same
        version with the same files again changes nothing. Raises Declined: invalid, version_conflict (a
        version is immutable), product_unknown.
        """
        faults = manifest_faults(manifest) + _name_faults(name)
        if faults:
            raise Declined.invalid(faults)
        product = manifest.product
        keys = product_key(product), version_key(product)
        if create:
            await self.call("SADD", PRODUCTS_KEY, product)
        elif not await self.call("EXISTS", keys[0]):
            raise _declined("product_unknown", product)
        await self.call("SET", manifest_key(manifest.digest), manifest.text, "NX")
        if name is None and create and not await self.call("HEXISTS", keys[0], "name"):
            name = product
        answer = await self.run(
            REGISTER, keys, manifest.version, manifest.digest, name or "", int(bool(activate)), int(create)
        )
        if answer != "done":
            raise _declined(answer, product, manifest.version)
        return await self._existing(product)

    async def get_product(self, identifier: str) -> Product | None:
        """The product, or None."""
        fields, versions = await self.call_all(
            ("HGETALL", product_key(identifier)), ("HGETALL", version_key(identifier))
        )
        return _product(identifier, fields, versions) if fields else None

    async def list_products(self) -> list[Product]:
        """Every product, by id."""
        identifiers = sorted(await self.call("SMEMBERS", PRODUCTS_KEY))
        commands = [("HGETALL", key(id_)) for id_ in identifiers for key in (product_key, version_key)]
        replies = await self.call_all(*commands) if commands else []
        rows = zip(identifiers, replies[::2], replies[1::2], strict=True)
        return [_product(id_, fields, versions) for id_, fields, versions in rows if fields]

    async def create_product(self, identifier: str, name: str | None = None) -> Product:
        """A product without versions; `name` None: its id. Raises Declined: invalid, product_exists."""
        faults = _name_faults(name)
        if not is_name(identifier):
            faults.insert(0, ("productId", f"must be {NAME_HELP}"))
        if faults:
            raise Declined.invalid(faults)
        await self.call("SADD", PRODUCTS_KEY, identifier)
        answer = await self.run(CREATE, [product_key(identifier)], name or identifier)
        if answer != "done":
            raise _declined(answer, identifier)
        return await self._existing(identifier)

    async def update_product(
        self,
        identifier: str,
        *,
        name: str | None = None,
        status: str | None = None,
        active: str | None = None,
    ) -> Product:
        """Change what is not None. Raises Declined: invalid, product_unknown, active_version_unknown."""
        faults = _name_faults(name)
        if status is not None and status not in STATUSES:
            faults.append(("status", "must be active or archived"))
        if active is not None and not is_name(active):
            faults.append(("activeVersion", f"must be {NAME_HELP}"))
        if faults:
            raise Declined.invalid(faults)
        keys = product_key(identifier), version_key(identifier)
        answer = await self.run(UPDATE, keys, name or "", status or "", active or "")
        if answer != "done":
            raise _declined(answer, identifier, active)
        return await self._existing(identifier)

    async def get_manifest(self, digest: str) -> Manifest | None:
        """The manifest of that digest, or None."""
        text = await self.call("GET", manifest_key(digest))
        return None if text is None else Manifest.parse(text.encode("utf-8", "surrogateescape"))

    async def resolve_version(self, product: str, version: str | None = None) -> ResolvedVersion:
        """The version that a new token of the product gets: the one named, or the active one.

        Raises Declined: product_unknown, product_archived, version_unknown, version_missing (no active one).
        """
        return resolved(await self.call(*resolve_version_command(product, version)), product, version)

    async def _existing(self, identifier: str) -> Product:
        product = await self.get_product(identifier)
        if product is None:  # deleted by hand, that moment
            raise _declined("product_unknown", identifier)
        return product


def resolve_version_command(product: str, version: str | None) -> tuple[str | int, ...]:
    """The command behind `resolve_version`, to be sent beside others; EVAL, as no reload can happen there."""
    return ("EVAL", RESOLVE.text, 2, product_key(product), version_key(product), version or "")


def resolved(reply: Any, product: str, version: str | None) -> ResolvedVersion:
    """What `resolve_version_command` answered. Raises Declined as `resolve_version` does."""
    status, chosen, digest = (*reply, None, None, None)[:3]
    if status is None:
        raise _declined("product_unknown", product)
    if status != "active":
        raise _declined("product_archived", product)
    if chosen is None:
        raise _declined("version_missing", product)
    if digest is None:
        raise _declined("version_unknown", product, version)
    return ResolvedVersion(product, chosen, digest)


def _name_faults(name: str | None) -> list[Fault]:
    if name is None or (0 < len(name) <= MAX_DISPLAY_NAME and is_text(name)):
        return []
    return [("name", f"must be 1 to {MAX_DISPLAY_NAME} characters without NUL")]


def _declined(code: str, product: str, version: str | None = None) -> Declined:
    texts = {
        "product_unknown": f"there is no product {product}; register a version of it first",
        "product_exists": f"product {product} exists already",
        "product_archived": f"product {product} is archived; set its status to active to sell it again",
        "version_conflict": f"version {version} of {product} exists with other files; a version never "
        "changes, so register the files as a new version",
        "version_unknown": f"product {product} has no version {version}",
        "active_version_unknown": f"product {product} has no version {version}; register it first",
        "version_missing": f"product {product} has no version yet; register one",
    }
    return Declined(code, texts[code])


def _product(identifier: str, fields: dict[str, str], versions: dict[str, str]) -> Product:
    return Product(
        id=identifier,
        name=fields.get("name", identifier),
        status=fields.get("status", "active"),
        active=fields.get("active"),
        created=int(fields.get("created", 0)),
        versions=versions,
    )

"""Products and their versions in the store (see gateway.store.key_names for the keys).

A product has two keys with one hash tag, so that one script makes every change. Its manifest is written
before the script that refers to it, and its id joins the set of all products before the product exists: a
crash in between leaves something that nothing refers to, never a reference to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import Declined
from gateway.manifest import Manifest
from gateway.products.contents import moved, same_content, same_places
from gateway.products.validation import NAME_HELP, display_name_faults, is_name, manifest_faults
from gateway.store.client import StoreClient
from gateway.store.key_names import PRODUCTS_KEY, manifest_key, product_key, version_key
from gateway.store.scripts import Script

STATUSES: Final = ("active", "archived")
ONLY_FILES_KEPT: Final = 4096
"""For how many manifests the name of the only file is kept: with the longest names they take 4 MiB."""

REGISTER: Final = Script.load("register_version")
CREATE: Final = Script.load("create_product")
UPDATE: Final = Script.load("update_product")
REPLACE: Final = Script.load("replace_manifest")
RESOLVE: Final = Script.load("resolve_version")
REMOVE: Final = Script.load("remove_product")


@dataclass(frozen=True)
class Product:
    """A product as the store holds it.

    created: ms since 1970 UTC. versions: version → manifest's digest. trusted: the versions whose files'
    digests were taken on trust, and not computed by us.
    """

    id: str
    name: str
    status: str
    active: str | None
    created: int
    versions: dict[str, str]
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    """The one version of a product that a new token gets. manifest: the digest of its manifest.

    read_at: when it was looked up, ms since 1970 by the store's clock; 0 where that is not known.
    """

    product: str
    version: str
    manifest: str
    read_at: int = 0


class ProductRepository:
    """The products of a store. Every method may raise StoreUnavailable."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._only_files: dict[str, str] = {}

    async def register(
        self,
        manifest: Manifest,
        name: str | None = None,
        activate: bool | None = None,
        create: bool = True,
        *,
        trusted: bool = False,
    ) -> Product:
        """Register a version, and give its product the name. With `create` a missing product is made.

        A product made without a name is named by its id. Its first version becomes the active one, a later
        one only with `activate`. Registering the same content in the same places again changes nothing,
        except that objects get the ETags and versions that they have now. trusted: the digests of the files
        were not computed by us. Raises Declined: invalid, version_conflict (a version never changes),
        product_unknown.
        """
        faults = manifest_faults(manifest) + display_name_faults("name", name)
        if faults:
            raise Declined.invalid(faults)
        product = manifest.product
        keys = product_key(product), version_key(product)
        if create:
            await self._client.call("SADD", PRODUCTS_KEY, product)
        elif not await self._client.call("EXISTS", keys[0]):
            raise declined("product_unknown", product)
        await self._client.call("SET", manifest_key(manifest.digest), manifest.text, "NX")
        if name is None and create and not await self._client.call("HEXISTS", keys[0], "name"):
            name = product
        options = (name or "", int(bool(activate)), int(create), int(trusted))
        reply = await self._client.run(REGISTER, keys, manifest.version, manifest.digest, *options)
        if reply == "version_conflict":
            digest = await self._same_version(manifest)
            if digest is not None:
                reply = await self._client.run(REGISTER, keys, manifest.version, digest, *options)
        if reply != "done":
            raise declined(reply, product, manifest.version)
        return await self._existing(product)

    async def _same_version(self, manifest: Manifest) -> str | None:
        """The digest of the registered version, if it has the content and the places of this manifest.

        Raises Declined (version_conflict) when only the places differ.
        """
        digest = await self._client.call("HGET", version_key(manifest.product), manifest.version)
        known = None if digest is None else await self.get_manifest(digest)
        if known is None or not same_content(known, manifest):
            return None
        if not same_places(known, manifest):
            raise Declined(
                "version_conflict",
                f"version {known.version} of {known.product} exists with the same files in another place; if "
                f"they have moved, use: product relocate {known.product} {known.version} PATH",
            )
        return await self._replace(known, moved(known, manifest))

    async def relocate(self, known: Manifest, found: Manifest) -> Manifest:
        """Let the files of a registered version be where `found` has them; return the version's new manifest.

        The content has been compared. Tokens that were made before keep the digest of the old manifest;
        workers find the new one when the files are not in their old place. Raises Declined.
        """
        new = moved(known, found)
        await self._replace(known, new)
        return new

    async def _replace(self, known: Manifest, new: Manifest) -> str:
        if new.digest != known.digest:
            await self._client.call("SET", manifest_key(new.digest), new.text, "NX")
            keys = [version_key(known.product)]
            reply = await self._client.run(REPLACE, keys, known.version, known.digest, new.digest)
            if reply != "done":
                raise Declined(
                    "version_conflict",
                    f"version {known.version} of {known.product} was changed meanwhile; try again",
                )
        return new.digest

    async def get(self, identifier: str) -> Product | None:
        """The product, or None."""
        fields, versions = await self._client.call_all(
            ("HGETALL", product_key(identifier)), ("HGETALL", version_key(identifier))
        )
        return _product(identifier, fields, versions) if fields else None

    async def list_all(self) -> list[Product]:
        """Every product, by id."""
        identifiers = sorted(await self._client.call("SMEMBERS", PRODUCTS_KEY))
        commands = [("HGETALL", key(id_)) for id_ in identifiers for key in (product_key, version_key)]
        replies = await self._client.call_all(*commands) if commands else []
        rows = zip(identifiers, replies[::2], replies[1::2], strict=True)
        return [_product(id_, fields, versions) for id_, fields, versions in rows if fields]

    async def create(self, identifier: str, name: str | None = None) -> Product:
        """Create a product without versions; name None: its id. Raises Declined: invalid, product_exists."""
        faults = display_name_faults("name", name)
        if not is_name(identifier):
            faults.insert(0, ("productId", f"must be {NAME_HELP}"))
        if faults:
            raise Declined.invalid(faults)
        await self._client.call("SADD", PRODUCTS_KEY, identifier)
        reply = await self._client.run(CREATE, [product_key(identifier)], name or identifier)
        if reply != "done":
            raise declined(reply, identifier)
        return await self._existing(identifier)

    async def update(
        self,
        identifier: str,
        *,
        name: str | None = None,
        status: str | None = None,
        active: str | None = None,
    ) -> Product:
        """Change what is not None. Raises Declined: invalid, product_unknown, active_version_unknown."""
        faults = display_name_faults("name", name)
        if status is not None and status not in STATUSES:
            faults.append(("status", "must be active or archived"))
        if active is not None and not is_name(active):
            faults.append(("activeVersion", f"must be {NAME_HELP}"))
        if faults:
            raise Declined.invalid(faults)
        keys = product_key(identifier), version_key(identifier)
        reply = await self._client.run(UPDATE, keys, name or "", status or "", active or "")
        if reply != "done":
            raise declined(reply, identifier, active)
        return await self._existing(identifier)

    async def find(self, identifier: str) -> Product:
        """The product. Raises Declined: product_unknown."""
        product = await self.get(identifier)
        if product is None:
            raise Declined("product_unknown", f"there is no product {identifier} (`product list` shows all)")
        return product

    async def remove(self, identifier: str, version: str | None = None) -> None:
        """Remove a product with all its versions, or one version, and their manifests, if they are there.

        Tokens are not looked at: see gateway.catalogue.removal. A manifest names its product and version, so
        no other version has the same one.
        """
        keys = product_key(identifier), version_key(identifier)
        digests = await self._client.run(REMOVE, keys, version or "")
        if version is None:
            await self._client.call("SREM", PRODUCTS_KEY, identifier)
        if digests:
            await self._client.call_all(*(("DEL", manifest_key(digest)) for digest in digests))

    async def get_manifest(self, digest: str) -> Manifest | None:
        """The manifest with this digest, or None."""
        text = await self._client.call("GET", manifest_key(digest))
        return None if text is None else Manifest.parse(text.encode("utf-8", "surrogateescape"))

    async def only_file(self, digest: str) -> str:
        """The name of the file of a manifest that has only one; an empty text for any other.

        Names are kept in a bounded memory, because manifests never change.
        """
        name = self._only_files.get(digest)
        if name is None:
            manifest = await self.get_manifest(digest)
            if manifest is None:
                return ""
            if len(self._only_files) >= ONLY_FILES_KEPT:
                del self._only_files[next(iter(self._only_files))]
            self._only_files[digest] = name = manifest.only_file
        return name

    async def known_manifests(self, product: Product | None, version: str) -> list[Manifest]:
        """The manifest whose digests need not be computed again for this version, if there is one.

        It is that of the version itself, else of the active one, unless its digests were taken on trust.
        """
        if product is None:
            return []
        known = version if version in product.versions else product.active
        if known is None or known in product.trusted or known not in product.versions:
            return []
        manifest = await self.get_manifest(product.versions[known])
        return [] if manifest is None else [manifest]

    async def resolve_version(self, product: str, version: str | None = None) -> ResolvedVersion:
        """The version that a new token of the product gets: the one named, or the active one.

        Raises Declined: product_unknown, product_archived, version_unknown, version_missing (no active one).
        """
        reply = await self._client.call(*resolve_version_command(product, version))
        return read_resolved_version(reply, product, version)

    async def _existing(self, identifier: str) -> Product:
        product = await self.get(identifier)
        if product is None:  # somebody has just deleted it by hand
            raise declined("product_unknown", identifier)
        return product


def resolve_version_command(product: str, version: str | None) -> tuple[str | int, ...]:
    """The command of `resolve_version`, to be sent together with others.

    It is EVAL and not EVALSHA, because a script that the server has forgotten cannot be sent again there.
    """
    return ("EVAL", RESOLVE.text, 2, product_key(product), version_key(product), version or "")


def read_resolved_version(reply: Any, product: str, version: str | None) -> ResolvedVersion:
    """Read the reply to `resolve_version_command`. Raises Declined as `resolve_version` does."""
    moment, status, chosen, digest = (*reply, None, None, None)[:4]
    if status is None:
        raise declined("product_unknown", product)
    if status != "active":
        raise declined("product_archived", product)
    if chosen is None:
        raise declined("version_missing", product)
    if digest is None:
        raise declined("version_unknown", product, version)
    return ResolvedVersion(product, chosen, digest, int(moment))


def declined(code: str, product: str, version: str | None = None) -> Declined:
    """Make the exception for what the products forbid."""
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
        trusted=frozenset(field[8:] for field in fields if field.startswith("trusted:")),
    )

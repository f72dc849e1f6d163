"""Removing a product, or one version of it, with what belongs to it in the database and the store.

No link may be left that opens nothing, so valid tokens are looked for first, and again when the product gets
no new ones any more. There is no index of the tokens of a product: this walks through all keys of the store,
as listing tokens does.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.catalogue.catalogue import Catalogue
from gateway.errors import Declined
from gateway.products.repository import Product
from gateway.tokens.listing import TokenFilter
from gateway.tokens.repositories import Repositories


@dataclass(frozen=True)
class Removal:
    """What is to be removed. version: None for the whole product. live: ids of the tokens that are valid."""

    product: Product
    version: str | None
    live: tuple[str, ...]

    @property
    def subject(self) -> str:
        """What is removed, for people."""
        return f"{self.product.id} {self.version}" if self.version else f"product {self.product.id}"

    def refusal(self) -> Declined:
        """Make the exception that says why it is not removed."""
        number = f"{len(self.live)} valid token{'' if len(self.live) == 1 else 's'}"
        remedy = "activate another version" if self.version else f"`product archive {self.product.id}`"
        text = (
            f"{self.subject} has {number}, whose links would end: stop new ones ({remedy}) and let these "
            "expire, or revoke them with --force"
        )
        return Declined("tokens_live", text)


async def plan_removal(store: Repositories, product_id: str, version: str | None) -> Removal:
    """Look at what would be removed. Raises Declined: product_unknown, version_unknown, version_active."""
    product = await store.products.find(product_id)
    if version is not None:
        if version not in product.versions:
            raise Declined("version_unknown", f"product {product_id} has no version {version}")
        if version == product.active and len(product.versions) > 1:
            raise Declined(
                "version_active",
                f"version {version} is the active one of {product_id}: activate another first "
                f"(`product activate {product_id} VERSION`)",
            )
    return Removal(product, version, await _live(store, product_id, version))


async def remove(catalogue: Catalogue, planned: Removal, *, force: bool) -> int:
    """Remove what was planned, and revoke its valid tokens with `force`. Returns how many were revoked.

    Whatever breaks off in between, the product is archived, and the same command goes on. Raises Declined
    (tokens_live) when there are valid tokens and no `force`.
    """
    product, store = planned.product, catalogue.store
    if planned.version is None and product.status == "active":
        await catalogue.update(product.id, status="archived")
    live = await _live(store, product.id, planned.version)
    if live and not force:
        if planned.version is None and product.status == "active":
            await catalogue.update(product.id, status="active")
        raise Removal(product, planned.version, live).refusal()
    for identifier in live:
        await store.tokens.revoke(identifier)
    await catalogue.remove(product.id, planned.version)
    return len(live)


async def _live(store: Repositories, product: str, version: str | None) -> tuple[str, ...]:
    found = store.tokens.list_live(TokenFilter(product))
    return tuple([token.id async for token in found if version in (None, token.version)])

"""A token from an entitlement: for a version that it opens, as long as it is active.

The order of the steps leaves no token that outlives its entitlement, whenever a process dies or something is
revoked:

1. A transaction finds the entitlement active, and writes down the token's id as a link of it.
2. The store gets the token.
3. The entitlement is looked at again. If it was revoked since, the token is ended here, because the enforcer
may have
   looked for it before it was there.
4. Only then somebody is told the token. One that was told to nobody opens nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.errors import Declined
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.orders.entitlements import (
    add_link,
    get_entitlement,
    is_active,
    published_versions,
    set_link_expiry,
    share_of,
)
from gateway.orders.mappings import Scope, Share
from gateway.products.repository import Product, ResolvedVersion
from gateway.secrets import new_token, token_id
from gateway.tokens.records import MintedToken
from gateway.tokens.repositories import Repositories
from gateway.tokens.repository import DEFAULT_LIFETIME
from gateway.tokens.validation import is_email


class Terms(NamedTuple):
    """What a caller may ask of a token. expires_in: seconds. version: None for the one offered first."""

    version: str | None = None
    expires_in: int | None = None
    max_downloads: int | None = None
    metadata: Mapping[str, object] | None = None
    key: str | None = None


def choose_version(
    share: Share, product: Product, published: Mapping[str, int], wanted: str | None
) -> str | None:
    """Choose the version of a token. None where the entitlement opens none, or not the one that is wanted.

    published: when each version was published, the latest first. A version that is not in it is as old as the
    product. Without a wish it is the active version where that is open, else the latest that is.
    """
    opened = [
        version
        for version in (*published, *product.versions)
        if version in product.versions and share.opens(version, published.get(version, product.created))
    ]
    if wanted is not None:
        return wanted if wanted in opened else None
    if product.active in opened:
        return product.active
    return opened[0] if opened else None


async def mint_from_entitlement(
    database: Database, store: Repositories, entitlement_id: str, terms: Terms
) -> MintedToken:
    """Make a token. Raises Declined, DatabaseError, StoreUnavailable.

    Declined: entitlement_unknown, entitlement_not_active, version_not_included, product_unknown, invalid.
    """
    async with database.reading() as sql:
        row = await get_entitlement(sql, entitlement_id)
        if row is None:
            raise Declined("entitlement_unknown", "there is no such entitlement")
        published = await published_versions(sql, row.product_id)
    if row.status != EntitlementStatus.ACTIVE:
        raise _not_active()
    product = await store.products.get(row.product_id)
    if product is None:
        raise Declined("product_unknown", "the product of the entitlement is not registered here any more")
    share = share_of(row)
    version = choose_version(share, product, published, terms.version)
    if version is None:
        raise _not_included(share)
    token = new_token()
    lifetime = 1000 * (terms.expires_in if terms.expires_in is not None else DEFAULT_LIFETIME)
    moment = now()
    async with database.writing() as sql:
        if not await add_link(sql, row.id, token_id(token), version, moment + lifetime, moment):
            raise _not_active()
    minted = await store.tokens.create(
        ResolvedVersion(product.id, version, product.versions[version]),
        expires_in=terms.expires_in,
        max_downloads=terms.max_downloads,
        email=row.email if row.email is not None and is_email(row.email) else None,
        metadata=terms.metadata,
        token=token,
        key=terms.key,
    )
    async with database.writing() as sql:
        active = await is_active(sql, row.id)
        await set_link_expiry(sql, minted.record.id, minted.record.expires)
    if not active:
        with contextlib.suppress(Declined):
            await store.tokens.revoke(minted.record.id)
        raise _not_active()
    return minted


def _not_active() -> Declined:
    return Declined(
        "entitlement_not_active", "the entitlement is suspended or revoked; its `reasons` say why"
    )


def _not_included(share: Share) -> Declined:
    if share.scope is Scope.UNTIL:
        return Declined("version_not_included", "no such version was published before the updates ended")
    return Declined("version_not_included", "the entitlement does not open such a version")

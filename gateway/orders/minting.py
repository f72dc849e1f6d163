"""A token from an entitlement: for a version that it opens, as long as it is active.

The order of the steps leaves no token that outlives its entitlement, whenever a process dies or something is
revoked:

1. A transaction finds the entitlement active, and writes down the token's id as a link of it.
2. The store gets the token.
3. The entitlement is looked at again. If it was revoked since, the token is ended here, because the enforcer
   may have looked for it before it was there.
4. Only then somebody is told the token. One that was told to nobody opens nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Row

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
from gateway.tokens import idempotency
from gateway.tokens.idempotency import IdempotencyRecord
from gateway.tokens.repositories import Repositories
from gateway.tokens.repository import DEFAULT_LIFETIME
from gateway.tokens.validation import is_email


class Repeat(NamedTuple):
    """That the same request again gets the same token: see `gateway.tokens.idempotency`.

    api_key: of the caller. name: its Idempotency-Key. body: a digest of what is asked for, which has the
    entitlement in it.
    """

    api_key: str
    name: str
    body: str


class Terms(NamedTuple):
    """What a caller may ask of a token.

    version: None for the one offered first. expires_in: seconds. values: what else `TokenRepository.create`
    is told; without an address, the token has that of the entitlement. key: the id of the API key. base: what
    its URL begins with. repeat: None for a new token each time.
    """

    version: str | None = None
    expires_in: int = DEFAULT_LIFETIME
    values: Mapping[str, Any] = MappingProxyType({})
    key: str | None = None
    base: str = ""
    repeat: Repeat | None = None


class MintedUrl(NamedTuple):
    """A token, and what its URL is made of. expires: ms since 1970. manifest: the digest of its version's."""

    token: str
    base: str
    product: str
    version: str
    manifest: str
    expires: int


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
) -> MintedUrl:
    """Make a token, or the same one again. Raises Declined, DatabaseError, StoreUnavailable.

    Declined: entitlement_unknown, entitlement_not_active, version_not_included, product_unknown,
    idempotency_key_reused, invalid. What is not active makes nothing, whatever was made from it before.
    """
    async with database.reading() as sql:
        row = await get_entitlement(sql, entitlement_id)
        if row is None:
            raise Declined("entitlement_unknown", "there is no such entitlement")
        published = await published_versions(sql, row.product_id)
    if row.status != EntitlementStatus.ACTIVE:
        raise _not_active()
    if terms.repeat is None:
        version = await _resolve(store, row, published, terms.version)
        expires = now() + 1000 * terms.expires_in
        url = MintedUrl(new_token(), terms.base, version.product, version.version, version.manifest, expires)
        return await _make(database, store, row, url, terms, expires_in=terms.expires_in)
    key = idempotency.record_key(terms.repeat.api_key, terms.repeat.name)
    record = await _decide(store, row, published, terms, key)
    token = idempotency.derive_token(terms.repeat.api_key, terms.repeat.name, record)
    url = MintedUrl(token, record.base, record.product, record.version, record.manifest, record.expires)
    if not record.done:
        await _make(database, store, row, url, terms, expires_at=url.expires)
        await idempotency.finish(store, key)
    return url


async def _decide(
    store: Repositories, row: Row[Any], published: Mapping[str, int], terms: Terms, key: str
) -> IdempotencyRecord:
    """Find what was decided about a request, or decide it. key: of the record. Raises Declined."""
    assert terms.repeat is not None
    text = await store.client.call("GET", key)
    if text is not None:
        return idempotency.read_record(text, terms.repeat.body)
    version = await _resolve(store, row, published, terms.version)
    return await idempotency.claim(store, key, terms.repeat.body, terms.base, version, terms.expires_in)


async def _resolve(
    store: Repositories, row: Row[Any], published: Mapping[str, int], wanted: str | None
) -> ResolvedVersion:
    """Find the version of a new token. Raises Declined."""
    product = await store.products.get(row.product_id)
    if product is None:
        raise Declined("product_unknown", "the product of the entitlement is not registered here any more")
    share = share_of(row)
    version = choose_version(share, product, published, wanted)
    if version is None:
        raise _not_included(share)
    return ResolvedVersion(product.id, version, product.versions[version])


async def _make(
    database: Database,
    store: Repositories,
    row: Row[Any],
    url: MintedUrl,
    terms: Terms,
    *,
    expires_in: int | None = None,
    expires_at: int | None = None,
) -> MintedUrl:
    """Take the steps of a token that is decided. Its expiry is given as to `TokenRepository.create`."""
    identifier = token_id(url.token)
    async with database.writing() as sql:
        if not await add_link(sql, row.id, identifier, url.version, url.expires, now()):
            raise _not_active()
    values = dict(terms.values)
    if values.get("email") is None and row.email is not None and is_email(row.email):
        values["email"] = row.email
    version = ResolvedVersion(url.product, url.version, url.manifest)
    try:
        minted = await store.tokens.create(
            version,
            token=url.token,
            key=terms.key,
            expires_in=expires_in,
            expires_at=expires_at,
            **values,
        )
    except Declined as declined:
        # a process crashed before it wrote the token, and the request came again after the token's expiry
        if declined.code != "expiry_past":
            raise
        return url
    async with database.writing() as sql:
        active = await is_active(sql, row.id)
        await set_link_expiry(sql, identifier, minted.record.expires)
    if not active:
        with contextlib.suppress(Declined):
            await store.tokens.revoke(identifier)
        raise _not_active()
    return url._replace(expires=minted.record.expires)


def _not_active() -> Declined:
    return Declined(
        "entitlement_not_active", "the entitlement is suspended or revoked; its `reasons` say why"
    )


def _not_included(share: Share) -> Declined:
    if share.scope is Scope.UNTIL:
        return Declined("version_not_included", "no such version was published before the updates ended")
    return Declined("version_not_included", "the entitlement does not open such a version")

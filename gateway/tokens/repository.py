"""Tokens in the store, off the hot path: creating, reading, listing, revoking and changing them.

The key of a token (`dg:token:{ID}`, see gateway.store.key_names) lives exactly until the token expires. The
times `created` and `expires` come from the store's own clock, so no two clocks can disagree. Each script
touches one token; the index of all tokens (tokens/index.py) is written beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any, Final

from gateway.errors import Declined, StoreUnavailable
from gateway.products.repository import ProductRepository, ResolvedVersion
from gateway.products.validation import Fault, display_name_faults, is_text
from gateway.secrets import new_token, token_id
from gateway.store.client import StoreClient
from gateway.store.key_names import token_key
from gateway.store.scripts import Script
from gateway.tokens.caps import CapChanges, Caps, cap_faults, changed_caps, encode_changes
from gateway.tokens.index import TokenIndex, is_token_id, pack_entry
from gateway.tokens.listing import (
    DEFAULT_LIMIT,
    TokenFilter,
    TokenListing,
    TokenPage,
    describe_damage,
)
from gateway.tokens.records import MintedToken, RecordReader, TokenRecord, token_record
from gateway.tokens.validation import MAX_DOWNLOADS, encode_metadata, is_email, metadata_faults

DEFAULT_LIFETIME: Final = 86_400
"""Seconds that a token lives when no lifetime is given: 24 hours."""


class Keep(Enum):
    """The value of an argument that leaves a field unchanged, where None means to remove the field."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

CREATE: Final = Script.load("create_token")
REVOKE: Final = Script.load("revoke_token")
UPDATE: Final = Script.load("update_token")


class TokenRepository:
    """The tokens of a store. Every method may raise StoreUnavailable."""

    def __init__(self, client: StoreClient, products: ProductRepository) -> None:
        self._client = client
        self._products = products
        self.index: Final = TokenIndex(client)
        self._reader = RecordReader(client)
        self._listing = TokenListing(client, self._reader, self.index)

    async def create(
        self,
        product: str | ResolvedVersion,
        version: str | None = None,
        *,
        expires_in: int | None = None,
        expires_at: int | None = None,
        max_downloads: int | None = None,
        email: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, object] | None = None,
        token: str | None = None,
        key: str | None = None,
        caps: Caps | None = None,
    ) -> MintedToken:
        """Create a token for a version of a product; version None: the active one.

        expires_in: seconds from now by the store's clock; expires_at: ms since 1970 UTC; neither: a day. key:
        the id of the API key that makes it. caps: its limits beside its downloads.
        Creating the same `token` again changes nothing and returns it with its first times. Raises Declined:
        invalid, product_unknown, product_archived, version_unknown, version_missing, expiry_past.
        """
        faults = _token_faults(max_downloads, email, name, metadata or {}) + cap_faults(caps)
        if expires_in is not None and expires_in < 1:
            faults.append(("expiresIn", "must be at least 1 second"))
        if faults:
            raise Declined.invalid(faults)
        if isinstance(product, ResolvedVersion):
            resolved = product
        else:
            resolved = await self._products.resolve_version(product, version)
        fields: dict[str, str] = {
            "manifest": resolved.manifest,
            "product": resolved.product,
            "version": resolved.version,
        }
        if max_downloads is not None:
            fields["max"] = str(max_downloads)
            sizes = await self._reader.file_sizes(resolved.manifest)
            if len(sizes) == 1:
                fields["size"] = str(sizes[0])
        if caps is not None and any(caps):
            fields["caps"] = caps.encode()
        given = {"email": email, "name": name, "key": key}
        fields |= {field: text for field, text in given.items() if text is not None}
        if metadata:
            fields["metadata"] = encode_metadata(metadata).decode()
        token = token or new_token()
        identifier = token_id(token)
        await self._write_new(identifier, fields, resolved.read_at, expires_in, expires_at)
        return MintedToken(token, token_record(identifier, fields))

    async def _write_new(
        self,
        identifier: str,
        fields: dict[str, str],
        now: int,
        expires_in: int | None,
        expires_at: int | None,
    ) -> None:
        """Write a token and its entry in the index, and add its times to `fields`.

        now: ms since 1970 by the store's clock, as it was a moment ago. The token and its entry are written
        together, with the same times.
        """
        lifetime = 1000 * (DEFAULT_LIFETIME if expires_in is None else expires_in)
        expiry = ("in", lifetime) if expires_at is None else ("at", expires_at)
        expected = now + lifetime if expires_at is None else expires_at
        product, email = fields["product"], fields.get("email")
        entry = pack_entry(identifier, max(0, now), max(0, expected), product, email)
        self.index.put(entry)
        pairs = [text for pair in fields.items() for text in pair]
        reply = await self._client.run(CREATE, [token_key(identifier)], *expiry, now, *pairs)
        if isinstance(reply, str):
            raise _declined(reply)
        fields["created"], fields["expires"] = reply
        if (int(reply[0]), int(reply[1])) != (now, expected):
            right = pack_entry(identifier, int(reply[0]), int(reply[1]), product, email)
            self.index.correct(entry, right)

    async def get(self, identifier: str) -> TokenRecord | None:
        """The token with this id, or None when there is none (it is unknown or has expired)."""
        if not is_token_id(identifier):
            return None
        damaged: list[str] = []
        records = await self._listing.read([identifier], damaged)
        if damaged:
            raise StoreUnavailable(describe_damage(identifier))
        return records[0]

    async def list_page(
        self,
        only: TokenFilter | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        patience: float | None = None,
    ) -> TokenPage:
        """One page of the tokens that pass a filter: see TokenListing.page. Raises ValueError (cursor)."""
        return await self._listing.page(only, limit, cursor, patience)

    async def list_live(self, only: TokenFilter) -> AsyncIterator[TokenRecord]:
        """Every token that passes the filter and is not revoked. This walks through all keys of the store."""
        async for record in self._listing.walk(only):
            if record.revoked is None:
                yield record

    async def revoke(self, identifier: str) -> TokenRecord:
        """Revoke a token at once and for ever, if it is not revoked yet. Raises Declined: token_unknown."""
        reply = await self._client.run(REVOKE, [_key(identifier)], identifier)
        if not reply:
            raise _declined("token_unknown")
        return await self._reader.record(identifier, _pairs(reply))

    async def update(
        self,
        identifier: str,
        *,
        expires_at: int | None = None,
        max_downloads: int | Keep | None = KEEP,
        max_lifetime: int | None = None,
        caps: CapChanges | None = None,
    ) -> TokenRecord:
        """Change the expiry (ms since 1970 UTC) and the limit (None removes it; charged bytes stay charged).

        max_lifetime: how many seconds from now the expiry may be. caps: what changes of its other limits, for
        requests from now on; where it names `binding`, the token belongs to the next client that downloads.
        Raises Declined: invalid, token_unknown,
        token_revoked, expiry_past, expiry_too_far.
        """
        key = _key(identifier)
        if faults := cap_faults(changed_caps(caps or {})):
            raise Declined.invalid(faults)
        limit = size = ""
        if max_downloads is None:
            limit = size = "-"
        elif max_downloads is not KEEP:
            if faults := _token_faults(max_downloads, None, None, {}):
                raise Declined.invalid(faults)
            digest = await self._client.call("HGET", key, "manifest")
            if digest is None:
                raise _declined("token_unknown")
            sizes = await self._reader.file_sizes(digest)
            limit, size = str(max_downloads), str(sizes[0]) if len(sizes) == 1 else ""
        max_ms_from_now = "" if max_lifetime is None else 1000 * max_lifetime
        expires = "" if expires_at is None else expires_at
        reply = await self._client.run(
            UPDATE, [key], expires, max_ms_from_now, limit, size, *encode_changes(caps or {})
        )
        if isinstance(reply, str):
            raise _declined(reply)
        record = await self._reader.record(identifier, _pairs(reply))
        entry = pack_entry(identifier, record.created, record.expires, record.product, record.email)
        self.index.put(entry, is_new=False)
        return record


def _key(identifier: str) -> str:
    """The key of a token. Raises Declined (token_unknown) when the id has not the form of one."""
    if not is_token_id(identifier):
        raise _declined("token_unknown")
    return token_key(identifier)


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _token_faults(
    limit: int | None, email: str | None, name: str | None, metadata: Mapping[str, Any]
) -> list[Fault]:
    faults = metadata_faults(metadata)
    if limit is not None and not 1 <= limit <= MAX_DOWNLOADS:
        faults.append(("maxDownloads", f"must be 1 to {MAX_DOWNLOADS}"))
    if email is not None and not (is_email(email) and is_text(email)):
        faults.append(("customer.email", "must be an e-mail address"))
    return faults + display_name_faults("customer.name", name)


def _declined(code: str) -> Declined:
    return Declined(
        code,
        {
            "token_unknown": "there is no such token; it may have expired",
            "token_revoked": "the token is revoked for ever; create another",
            "expiry_past": "the expiry is in the past; to end a token now, revoke it",
            "expiry_too_far": "the expiry is further away than mint.max_ttl allows",
        }[code],
    )

"""The store of tokens, off the hot path: what the mint service and the commands ask.

    dg:token:{ID}   hash, ID = first 32 hex digits of SHA-256(token); the token itself is never here.
                    manifest, product, version, created, expires, optional max, size (bytes; with max and
                    a manifest of one file), email, name, metadata (JSON), revoked, charged:N; and while
                    it is downloaded lease:N:…, leased (see scripts.py)

The key lives exactly until `expires` (PEXPIREAT). Created and expires come from the store's own clock,
inside the script that writes them: no two clocks can disagree. A script touches one token, all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Self

from gateway.products.repository import ProductStore, ResolvedVersion
from gateway.products.validation import MAX_DISPLAY_NAME, Fault, is_text
from gateway.secrets import new_token, token_id
from gateway.store.client import Declined
from gateway.store.key_names import token_key
from gateway.store.scripts import Script
from gateway.tokens.keys import KeyStore
from gateway.tokens.listing import TokenFilter, TokenPage, TokenReader, is_token_id
from gateway.tokens.records import Minted, TokenRecord, token_record
from gateway.tokens.validation import EMAIL_PATTERN, MAX_DOWNLOADS, encode_metadata, is_email, metadata_faults

__all__ = [
    "EMAIL_PATTERN",
    "KEEP",
    "Declined",
    "Keep",
    "Minted",
    "TokenFilter",
    "TokenPage",
    "TokenRecord",
    "TokenStore",
]

DEFAULT_LIFETIME: Final = 86_400
"""Seconds a token lives when nothing is said: the seed's 24 hours."""


class Keep(Enum):
    """The value of an argument that leaves a field as it is, where None means to remove it."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

CREATE: Final = Script.load("create_token")
REVOKE: Final = Script.load("revoke_token")
UPDATE: Final = Script.load("update_token")


class TokenStore(TokenReader, ProductStore, KeyStore):
    """Tokens, products and API keys over one link to the store. Every method may raise StoreUnavailable.

        async with TokenStore.connect("redis://localhost", timeout=1.0) as store: ...

    Connecting is lazy: the store may be away when this is made. `timeout` (s) bounds one command.
    """

    @classmethod
    def connect(cls, url: str, timeout: float = 1.0) -> Self:
        """A store at a redis://, rediss:// or unix:// URL. Raises ConfigurationError when it is none."""
        return cls(url, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_token(
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
    ) -> Minted:
        """A token for a version of a product (the active one when None), or for an resolved looked up before.

        expires_in: seconds from now by the store's clock (a day when neither is given); expires_at: ms
        since 1970. Creating the same `token` again returns what it was created with. Raises Declined:
        invalid, product_unknown, product_archived, version_unknown, version_missing, expiry_past.
        """
        faults = _token_faults(max_downloads, email, name, metadata or {})
        if expires_in is not None and expires_in < 1:
            faults.append(("expiresIn", "must be at least 1 second"))
        if faults:
            raise Declined.invalid(faults)
        resolved = (
            product if isinstance(product, ResolvedVersion) else await self.resolve_version(product, version)
        )
        fields: dict[str, str] = {
            "manifest": resolved.manifest,
            "product": resolved.product,
            "version": resolved.version,
        }
        if max_downloads is not None:
            fields["max"] = str(max_downloads)
            sizes = await self._sizes_of(resolved.manifest)
            if len(sizes) == 1:
                fields["size"] = str(sizes[0])
        if email is not None:
            fields["email"] = email
        if name is not None:
            fields["name"] = name
        if metadata:
            fields["metadata"] = encode_metadata(metadata).decode()
        if expires_at is not None:
            moment = ("at", expires_at)
        else:
            moment = ("in", 1000 * (DEFAULT_LIFETIME if expires_in is None else expires_in))
        token = token or new_token()
        identifier = token_id(token)
        pairs = [text for pair in fields.items() for text in pair]
        answer = await self.run(CREATE, [token_key(identifier)], *moment, *pairs)
        if isinstance(answer, str):
            raise _declined(answer)
        fields["created"], fields["expires"] = answer
        return Minted(token, token_record(identifier, fields))

    async def revoke_token(self, identifier: str) -> TokenRecord:
        """Revoke a token, at once and for good; again changes nothing. Raises Declined: token_unknown."""
        answer = await self.run(REVOKE, [_known_key(identifier)])
        if not answer:
            raise _declined("token_unknown")
        return await self._record(identifier, _pairs(answer))

    async def update_token(
        self,
        identifier: str,
        *,
        expires_at: int | None = None,
        max_downloads: int | Keep | None = KEEP,
        max_lifetime: int | None = None,
    ) -> TokenRecord:
        """Move the expiry (ms since 1970), change the limit (None removes it; what was charged stays so).

        max_lifetime: seconds from now that the expiry may reach. Raises Declined: invalid, token_unknown,
        token_revoked, expiry_past, expiry_too_far.
        """
        key = _known_key(identifier)
        limit = size = ""
        if max_downloads is None:
            limit = size = "-"
        elif max_downloads is not KEEP:
            if faults := _token_faults(max_downloads, None, None, {}):
                raise Declined.invalid(faults)
            digest = await self.call("HGET", key, "manifest")
            if digest is None:
                raise _declined("token_unknown")
            sizes = await self._sizes_of(digest)
            limit, size = str(max_downloads), str(sizes[0]) if len(sizes) == 1 else ""
        reach = "" if max_lifetime is None else 1000 * max_lifetime
        expires = "" if expires_at is None else expires_at
        answer = await self.run(UPDATE, [key], expires, reach, limit, size)
        if isinstance(answer, str):
            raise _declined(answer)
        return await self._record(identifier, _pairs(answer))


def _known_key(identifier: str) -> str:
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
    if name is not None and not (0 < len(name) <= MAX_DISPLAY_NAME and is_text(name)):
        faults.append(("customer.name", f"must be 1 to {MAX_DISPLAY_NAME} characters without NUL"))
    return faults


def _declined(code: str) -> Declined:
    return Declined(
        code,
        {
            "token_unknown": "there is no such token; it may have expired",
            "token_revoked": "the token is revoked, which is for good; create another",
            "expiry_past": "the expiry is in the past; to end a token now, revoke it",
            "expiry_too_far": "the expiry is further away than mint.max_ttl allows",
        }[code],
    )

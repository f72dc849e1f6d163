"""Idempotency-Key: the same key and body within a day get the same response, byte for byte.

    dg:idem:{SHA-256(hash of the API key, Idempotency-Key)}   string: state, expires (ms), JSON

The response holds a token, and a token is never stored. So the token of such a request is not random; it can
be computed again:

    token = HMAC-SHA256(API key, "…" Idempotency-Key salt)

The record keeps the random salt. Only somebody who has both the API key and the record can compute the token.

There are three steps. Each says what a crash after it leaves:
1. claim: one script writes the record, with the token's expiry and version, unless there is one; it returns
   the record that is in the store then. Two requests at the same time agree on one record, and so on one
   token. After a crash here, the same request again does steps 2 and 3.
2. create: writes the token unless it exists. After a crash here, the same request again does both steps, and
   changes nothing in the second.
3. finish: marks the record as done, so that the same request never creates a removed token again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import Declined, StoreUnavailable
from gateway.products.repository import ResolvedVersion
from gateway.secrets import TOKEN_PREFIX, encode_secret, key_hash
from gateway.store.key_names import idempotency_record_key
from gateway.store.scripts import Script
from gateway.tokens.repositories import Repositories

HEADER: Final = "Idempotency-Key"
KEEP_SECONDS: Final = 86_400
"""How long a record is kept."""
SALT_BYTES: Final = 16
_PURPOSE: Final = b"download-gateway token for an Idempotency-Key\0"

CLAIM: Final = Script.load("claim_idempotency_key")
FINISH: Final = Script.load("finish_idempotency_key")


@dataclass(frozen=True)
class IdempotencyRecord:
    """What the store holds for an Idempotency-Key: enough to make the same response again.

    done: step 3 has been taken. expires: of the token, ms since 1970. body: digest of the request's body.
    salt: hex digits. base: what the download URL begins with. manifest: its digest.
    """

    done: bool
    expires: int
    body: str
    salt: str
    base: str
    product: str
    version: str
    manifest: str


def record_key(api_key: str, name: str) -> str:
    """Make the store's key of a record. The same Idempotency-Key of another API key is another record."""
    digest = hashlib.sha256(f"{key_hash(api_key)}\n{name}".encode()).hexdigest()
    return idempotency_record_key(digest)


def digest_body(document: Any) -> str:
    """Digest a parsed body. Bodies that differ in spaces and order only have the same digest."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def derive_token(api_key: str, name: str, record: IdempotencyRecord) -> str:
    """Compute the token of a record. That needs the API key itself, which only its owner's requests carry."""
    message = _PURPOSE + name.encode() + b"\0" + bytes.fromhex(record.salt)
    return encode_secret(TOKEN_PREFIX, hmac.digest(api_key.encode(), message, hashlib.sha256))


def read_record(text: str, body: str) -> IdempotencyRecord:
    """Read a record. Raises Declined (idempotency_key_reused) when it was made for another body."""
    try:
        state, expires, fields = text.split(" ", 2)
        record = IdempotencyRecord(state == "done", int(expires), **json.loads(fields))
    except (ValueError, TypeError):
        raise StoreUnavailable("the store holds an idempotency record that cannot be read") from None
    if record.body != body:
        raise Declined(
            "idempotency_key_reused",
            f"Use a new {HEADER} for each different request; a key is remembered for one day.",
        )
    return record


async def claim(
    store: Repositories, key: str, body: str, base: str, version: ResolvedVersion, lifetime: int
) -> IdempotencyRecord:
    """Take step 1. key: of the record. lifetime: of the token, seconds. Raises Declined, StoreUnavailable."""
    salt = secrets.token_hex(SALT_BYTES)
    fields = {
        "body": body,
        "salt": salt,
        "base": base,
        "product": version.product,
        "version": version.version,
        "manifest": version.manifest,
    }
    text = await store.client.run(CLAIM, [key], json.dumps(fields), 1000 * KEEP_SECONDS, 1000 * lifetime)
    return read_record(text, body)


async def finish(store: Repositories, key: str) -> None:
    """Take step 3. Raises StoreUnavailable."""
    await store.client.run(FINISH, [key])

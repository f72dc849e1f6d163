"""Idempotency-Key: the same key and body within a day get the same answer, byte for byte.

    dg:idem:{SHA-256(hash of the API key, Idempotency-Key)}   string: state, expires (ms), JSON

The answer holds a token, and a token is never in the store. So it is not kept but made again:

    token = HMAC-SHA256(API key, "…" Idempotency-Key salt)

with a random salt that the record keeps. Only who has the API key and the record can make it.

The steps, and what a crash between two of them leaves:
1. claim: one script writes the record (with expiry and version already decided) or returns the one there.
   Two requests at once agree on one record, and so on one token.
2. create: writes the token unless it is there. After a crash here, a replay does steps 2 and 3.
3. finish: marks the record, so that a later replay never makes a token again that was since removed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import web

from gateway.errors import StoreUnavailable
from gateway.products.repository import ResolvedVersion
from gateway.secrets import TOKEN_PREFIX, encode_secret, key_hash
from gateway.store.key_names import idempotency_record_key
from gateway.store.scripts import Script
from gateway.tokens.repositories import Repositories
from gateway.web.problems import Problem, invalid

HEADER: Final = "Idempotency-Key"
KEY_PATTERN: Final = r"^[!-~](?:[ -~]{0,253}[!-~])?$"
KEEP_SECONDS: Final = 86_400
SALT_BYTES: Final = 16
_KEY: Final = re.compile(KEY_PATTERN[1:-1])
_PURPOSE: Final = b"download-gateway token for an Idempotency-Key\0"

CLAIM: Final = Script.load("claim_idempotency_key")
FINISH: Final = Script.load("finish_idempotency_key")


@dataclass(frozen=True)
class Promise:
    """What a record holds: enough to give the same answer again. expires: ms since 1970. salt: hex."""

    done: bool
    expires: int
    body: str
    salt: str
    base: str
    product: str
    version: str
    manifest: str


def idempotency_key(request: web.BaseRequest) -> str | None:
    """The request's Idempotency-Key, if any. Raises Problem."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise invalid([(HEADER, "must be 1 to 255 printable ASCII characters, once")])
    return values[0]


def record_key(api_key: str, name: str) -> str:
    """The store's key of a record: other callers' keys of the same name are other records."""
    digest = hashlib.sha256(f"{key_hash(api_key)}\n{name}".encode()).hexdigest()
    return idempotency_record_key(digest)


def digest_body(plain: Any) -> str:
    """What tells one body from another: the meaning counts, not spaces and order."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def derive_token(api_key: str, name: str, promise: Promise) -> str:
    """The token of a promise; needs the API key in clear, which only its owner's requests bring."""
    message = _PURPOSE + name.encode() + b"\0" + bytes.fromhex(promise.salt)
    return encode_secret(TOKEN_PREFIX, hmac.digest(api_key.encode(), message, hashlib.sha256))


def read_promise(record: str, body: str) -> Promise:
    """Read a record. Raises Problem (idempotency_key_reused) when it was made for another body."""
    try:
        state, expires, text = record.split(" ", 2)
        promise = Promise(state == "done", int(expires), **json.loads(text))
    except (ValueError, TypeError):
        raise StoreUnavailable("the store holds an idempotency record that cannot be read") from None
    if promise.body != body:
        raise Problem(
            "idempotency_key_reused",
            f"Use a new {HEADER} for each different request; this one is a day old at most.",
        )
    return promise


async def claim(
    store: Repositories, key: str, body: str, base: str, resolved: ResolvedVersion, lifetime: int
) -> Promise:
    """Step 1. key: the record's. lifetime: the token's, in seconds. Raises Problem, StoreUnavailable."""
    salt = secrets.token_hex(SALT_BYTES)
    fields = {"body": body, "salt": salt, "base": base, **asdict(resolved)}
    record = await store.client.run(CLAIM, [key], json.dumps(fields), 1000 * KEEP_SECONDS, 1000 * lifetime)
    return read_promise(record, body)


async def finish(store: Repositories, key: str) -> None:
    """Step 3. Raises StoreUnavailable."""
    await store.client.run(FINISH, [key])

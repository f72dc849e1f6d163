"""API keys as bearer tokens (RFC 6750 section 2.1), and what each of the two roles may do."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.secrets import MAX_TOKEN_LENGTH, key_hash, key_id
from gateway.store.key_names import api_key_key
from gateway.tokens.keys import KeyRecord, key_record
from gateway.tokens.repositories import Repositories
from gateway.web.attempts import ClientAttempts
from gateway.web.connection import ProblemConnection
from gateway.web.problems import Problem, key_expired, key_invalid, key_missing
from gateway.web.times import format_time

CALLER: Final = web.RequestKey("caller", str)
"""Where a request keeps the id of its API key."""
ADMIN: Final = frozenset(("admin",))
MINT: Final = frozenset(("admin", "mint"))


def bearer_key(request: web.BaseRequest) -> str:
    """Read the API key of a request. Raises Problem: key_missing, key_invalid, too_many_attempts."""
    headers = request.headers.getall("Authorization", [])
    if len(headers) != 1:
        raise key_missing()
    scheme, _, key = headers[0].partition(" ")
    key = key.strip(" ")
    if scheme.lower() != "bearer" or not key:
        raise key_missing()
    attempts = _attempts(request)
    if attempts.over:
        attempts.check(request, key_id(key) or "")
    if len(key) > MAX_TOKEN_LENGTH or not key.isascii():
        attempts.refuse(request)
        raise key_invalid()
    return key


def key_command(key: str) -> tuple[str, str]:
    """Make the store's command whose reply `admit` reads, so that it can be sent beside others."""
    return ("HGETALL", api_key_key(key_hash(key)))


async def admit(
    request: web.BaseRequest,
    store: Repositories,
    key: str,
    reply: dict[str, str],
    roles: frozenset[str],
) -> KeyRecord:
    """Return the key's record when its role is one of `roles`; `caller_of(request)` is its id from now on.

    reply: to `key_command`. Raises Problem: key_invalid, key_expired, too_many_attempts, forbidden; and
    StoreUnavailable.
    """
    record = key_record(key_hash(key), reply)
    if record is None:
        request[CALLER] = key_id(key) or ""
        _attempts(request).refuse(request, request[CALLER])
        moment = await store.keys.expired_at(key)
        raise key_invalid() if moment is None else key_expired(format_time(moment))
    request[CALLER] = record.id
    _attempts(request).note_valid(record.id)
    if record.role not in roles:
        raise Problem(
            "forbidden",
            "A key of the role `mint` may only make download URLs; use a key of the role `admin`.",
        )
    return record


def _attempts(request: web.BaseRequest) -> ClientAttempts:
    """The line of refused API keys, of the service that the request came to."""
    assert isinstance(request.protocol, ProblemConnection)
    return request.protocol.limits.key_attempts


def caller_of(request: web.BaseRequest) -> str | None:
    """The id of the API key that the request came with, valid or not; None when it had none."""
    return request.get(CALLER) or None


async def authenticate(request: web.BaseRequest, store: Repositories, roles: frozenset[str]) -> KeyRecord:
    """Look up the API key of a request, which must have one of `roles`. Raises Problem, StoreUnavailable."""
    key = bearer_key(request)
    return await admit(request, store, key, await store.client.call(*key_command(key)), roles)

"""POST /api/generate-download-url: the one request that shops make all day.

Two round trips to the store: who asks and for what, in one; then the token. With an Idempotency-Key the
first also reads the record, and two more make it (see gateway.mint.idempotency).
"""

from __future__ import annotations

from typing import Any

from gateway.errors import Declined
from gateway.mint import idempotency
from gateway.mint.access import MINT, admit, bearer, key_command
from gateway.mint.bodies import read_json, validate
from gateway.mint.context import BODY_LIMIT, Context, Request
from gateway.mint.models import GenerateDownloadUrl
from gateway.mint.problems import Problem
from gateway.mint.times import format_time
from gateway.mint.writing import Answer
from gateway.products.repository import ResolvedVersion, read_resolved_version, resolve_version_command


async def generate_download_url(request: Request, context: Context) -> Answer:
    """Make a token and the URL that carries it. Raises Problem, Declined, StoreUnavailable."""
    key = bearer(request)
    try:
        name = idempotency.idempotency_key(request)
        plain = await read_json(request, BODY_LIMIT)
        wanted = validate(context.mint_model, plain)
    except Problem:  # told only to who may ask
        admit(key, await context.store.client.call(*key_command(key)), MINT)
        raise
    commands = [key_command(key), resolve_version_command(wanted.productId, wanted.version)]
    if name is None:
        caller, found = await context.store.client.call_all(*commands)
        admit(key, caller, MINT)
        return await _answer_once(
            context, wanted, read_resolved_version(found, wanted.productId, wanted.version)
        )
    record_key = idempotency.record_key(key, name)
    caller, found, record = await context.store.client.call_all(*commands, ("GET", record_key))
    admit(key, caller, MINT)
    body = idempotency.digest_body(plain)
    if record is not None:
        promise = idempotency.read_promise(record, body)
    else:
        chosen = read_resolved_version(found, wanted.productId, wanted.version)
        lifetime = wanted.expiresIn or context.default_ttl
        promise = await idempotency.claim(context.store, record_key, body, context.base, chosen, lifetime)
    token = idempotency.derive_token(key, name, promise)
    if not promise.done:
        await _keep_promise(context, wanted, promise, token)
        await idempotency.finish(context.store, record_key)
    return _answer(promise.base, promise.product, promise.version, token, promise.expires)


async def _answer_once(context: Context, wanted: GenerateDownloadUrl, chosen: ResolvedVersion) -> Answer:
    minted = await context.store.tokens.create(
        chosen, expires_in=wanted.expiresIn or context.default_ttl, **_terms(wanted)
    )
    record = minted.record
    return _answer(context.base, record.product, record.version, minted.token, record.expires)


async def _keep_promise(
    context: Context, wanted: GenerateDownloadUrl, promise: idempotency.Promise, token: str
) -> None:
    chosen = ResolvedVersion(promise.product, promise.version, promise.manifest)
    try:
        await context.store.tokens.create(chosen, expires_at=promise.expires, token=token, **_terms(wanted))
    except Declined as declined:
        if declined.code != "expiry_past":  # a promise broken by a crash and asked for again too late
            raise


def _terms(wanted: GenerateDownloadUrl) -> dict[str, Any]:
    customer = wanted.customer
    return {
        "max_downloads": wanted.maxDownloads,
        "email": customer.email if customer else None,
        "name": customer.name if customer else None,
        "metadata": wanted.metadata,
    }


def _answer(base: str, product: str, version: str, token: str, expires: int) -> Answer:
    return Answer(
        {
            "success": True,
            "productId": product,
            "version": version,
            "downloadToken": token,
            "downloadUrl": f"{base}/download?token={token}",
            "expiresAt": format_time(expires),
        }
    )

"""POST /api/generate-download-url: the one request that shops make all day.

It takes two round trips to the store. The first looks up the API key and the version together; the second
writes the token. With an Idempotency-Key the first also reads the record of that key, and two more round
trips write it (see gateway.mint.idempotency).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.errors import Declined
from gateway.mint import idempotency
from gateway.mint.context import MintContext
from gateway.mint.models import GenerateDownloadUrl
from gateway.products.repository import ResolvedVersion, read_resolved_version, resolve_version_command
from gateway.web.authentication import MINT, bearer_key, check_role, key_command
from gateway.web.bodies import read_json
from gateway.web.problems import Problem
from gateway.web.quick_response import QuickResponse
from gateway.web.times import format_time
from gateway.web.validation import validate


async def generate_download_url(request: web.BaseRequest, context: MintContext) -> QuickResponse:
    """Make a token and the URL that carries it. Raises Problem, Declined, StoreUnavailable."""
    key = bearer_key(request)
    try:
        name = idempotency.idempotency_key(request)
        body = await read_json(request)
        order = validate(context.mint_model, body)
    except Problem:  # only a caller with a valid key learns what is wrong with the request
        check_role(key, await context.store.client.call(*key_command(key)), MINT)
        raise
    commands = [key_command(key), resolve_version_command(order.productId, order.version)]
    if name is None:
        key_reply, version_reply = await context.store.client.call_all(*commands)
        check_role(key, key_reply, MINT)
        version = read_resolved_version(version_reply, order.productId, order.version)
        return await _mint_once(context, order, version)
    record_key = idempotency.record_key(key, name)
    key_reply, version_reply, record = await context.store.client.call_all(*commands, ("GET", record_key))
    check_role(key, key_reply, MINT)
    digest = idempotency.digest_body(body)
    if record is not None:
        promise = idempotency.read_promise(record, digest)
    else:
        version = read_resolved_version(version_reply, order.productId, order.version)
        lifetime = order.expiresIn or context.default_ttl
        promise = await idempotency.claim(
            context.store, record_key, digest, context.base_url, version, lifetime
        )
    token = idempotency.derive_token(key, name, promise)
    if not promise.done:
        await _keep_promise(context, order, promise, token)
        await idempotency.finish(context.store, record_key)
    return _response(promise.base, promise.product, promise.version, token, promise.expires)


async def _mint_once(
    context: MintContext, order: GenerateDownloadUrl, version: ResolvedVersion
) -> QuickResponse:
    minted = await context.store.tokens.create(
        version, expires_in=order.expiresIn or context.default_ttl, **_terms(order)
    )
    record = minted.record
    return _response(context.base_url, record.product, record.version, minted.token, record.expires)


async def _keep_promise(
    context: MintContext, order: GenerateDownloadUrl, promise: idempotency.Promise, token: str
) -> None:
    version = ResolvedVersion(promise.product, promise.version, promise.manifest)
    try:
        await context.store.tokens.create(version, expires_at=promise.expires, token=token, **_terms(order))
    except Declined as declined:
        # a crash came before the token was written, and the request was repeated after the token's expiry
        if declined.code != "expiry_past":
            raise


def _terms(order: GenerateDownloadUrl) -> dict[str, Any]:
    customer = order.customer
    return {
        "max_downloads": order.maxDownloads,
        "email": customer.email if customer else None,
        "name": customer.name if customer else None,
        "metadata": order.metadata,
    }


def _response(base_url: str, product: str, version: str, token: str, expires: int) -> QuickResponse:
    return QuickResponse(
        {
            "success": True,
            "productId": product,
            "version": version,
            "downloadToken": token,
            "downloadUrl": f"{base_url}/download?token={token}",
            "expiresAt": format_time(expires),
        }
    )

"""POST /api/generate-download-url: the one request that shops make all day.

It takes two round trips to the store. The first looks up the API key and the version together; the second
writes the token. The name of a version's only file is read once, and remembered. Where the body is long or
still arriving, the key is looked up before it is read. With an Idempotency-Key the first also reads the
record of that key, and two more round trips write it (see gateway.tokens.idempotency).
"""

from __future__ import annotations

from aiohttp import web

from gateway.errors import Declined
from gateway.mint.context import MintContext
from gateway.mint.models import GenerateDownloadUrl
from gateway.products.repository import ResolvedVersion, read_resolved_version, resolve_version_command
from gateway.tokens import idempotency
from gateway.tokens.records import TokenRecord
from gateway.web.authentication import MINT, admit, authenticate, bearer_key, key_command
from gateway.web.bodies import is_at_hand, read_json
from gateway.web.download_urls import download_url_document
from gateway.web.idempotency import idempotency_key
from gateway.web.problems import Problem
from gateway.web.quick_response import QuickResponse
from gateway.web.validation import validate


async def generate_download_url(request: web.BaseRequest, context: MintContext) -> QuickResponse:
    """Make a token and the URL that carries it. Raises Problem, Declined, StoreUnavailable."""
    key = bearer_key(request)
    if not is_at_hand(request):
        await authenticate(request, context.store, MINT)
    try:
        name = idempotency_key(request)
        document = await read_json(request)
        body = validate(context.mint_model, document)
    except Problem:  # only a caller with a valid key learns what is wrong with the request
        await authenticate(request, context.store, MINT)
        raise
    commands = [key_command(key), resolve_version_command(body.productId, body.version)]
    if name is None:
        key_reply, version_reply = await context.store.client.call_all(*commands)
        caller = await admit(request, context.store, key, key_reply, MINT)
        version = read_resolved_version(version_reply, body.productId, body.version)
        return await _mint_once(context, body, version, caller.id)
    record_key = idempotency.record_key(key, name)
    key_reply, version_reply, record_text = await context.store.client.call_all(
        *commands, ("GET", record_key)
    )
    caller = await admit(request, context.store, key, key_reply, MINT)
    digest = idempotency.digest_body(document)
    if record_text is not None:
        record = idempotency.read_record(record_text, digest)
    else:
        version = read_resolved_version(version_reply, body.productId, body.version)
        lifetime = body.expiresIn or context.default_ttl
        record = await idempotency.claim(
            context.store, record_key, digest, context.base_url, version, lifetime
        )
    token = idempotency.derive_token(key, name, record)
    if not record.done:
        await _create_recorded(context, body, record, token, caller.id)
        await idempotency.finish(context.store, record_key)
    file = await context.store.products.only_file(record.manifest)
    return _response(record.base, record.product, record.version, token, record.expires, file)


async def _mint_once(
    context: MintContext, body: GenerateDownloadUrl, version: ResolvedVersion, caller: str
) -> QuickResponse:
    minted = await context.store.tokens.create(
        version, expires_in=body.expiresIn or context.default_ttl, key=caller, **body.values()
    )
    record = minted.record
    _write_audit(context, record)
    base, file = context.base_url, await context.store.products.only_file(record.manifest)
    return _response(base, record.product, record.version, minted.token, record.expires, file)


async def _create_recorded(
    context: MintContext,
    body: GenerateDownloadUrl,
    record: idempotency.IdempotencyRecord,
    token: str,
    caller: str,
) -> None:
    """Write the token that a record decides, unless it exists."""
    claimed = record.expires - 1000 * (body.expiresIn or context.default_ttl)
    version = ResolvedVersion(record.product, record.version, record.manifest, claimed)
    try:
        minted = await context.store.tokens.create(
            version, expires_at=record.expires, token=token, key=caller, **body.values()
        )
    except Declined as declined:
        # the process crashed before it wrote the token, and the request came again after the token's expiry
        if declined.code != "expiry_past":
            raise
    else:
        _write_audit(context, minted.record)


def _write_audit(context: MintContext, token: TokenRecord) -> None:
    """Write the audit line of a new token. The token's own record keeps the rest."""
    what = {"token": token.id, "product": token.product, "version": token.version}
    context.store.audit.write(token.key or "", "token.create", what)


def _response(
    base_url: str, product: str, version: str, token: str, expires: int, file: str
) -> QuickResponse:
    """The answer. file: the name of the version's only file; empty if there are several."""
    return QuickResponse(download_url_document(base_url, product, version, token, expires, file))

"""/api/downloads/tokens: looking at tokens, changing and revoking them, by their ids."""

from __future__ import annotations

import logging

from gateway.mint.bodies import read_json, validate, validate_query
from gateway.mint.context import BODY_LIMIT, Context, Request
from gateway.mint.data import token_data
from gateway.mint.models import ListTokens, UpdateToken
from gateway.mint.problems import Problem
from gateway.mint.writing import Answer
from gateway.tokens.listing import TokenFilter, describe_damage
from gateway.tokens.records import TokenRecord
from gateway.tokens.repository import KEEP

_log = logging.getLogger("gateway.mint")


async def list_tokens(request: Request, context: Context) -> Answer:
    """One page of the tokens."""
    asked = validate_query(ListTokens, request.query)
    wanted = TokenFilter(asked.productId, asked.status, asked.customerEmail)
    page = await context.store.tokens.list_page(wanted, asked.limit, asked.cursor)
    for identifier in page.damaged:
        _log.error("%s", describe_damage(identifier))
    return Answer(
        {"success": True, "tokens": [token_data(record) for record in page.tokens], "nextCursor": page.cursor}
    )


async def get_token(request: Request, context: Context) -> Answer:
    """One token."""
    record = await context.store.tokens.get(request.match_info["tokenId"])
    if record is None:
        raise Problem("token_unknown", "There is no such token; it may have expired.")
    return _answer(record)


async def revoke_token(request: Request, context: Context) -> Answer:
    """Revoke a token; it is shown as revoked until it would have expired."""
    return _answer(await context.store.tokens.revoke(request.match_info["tokenId"]))


async def update_token(request: Request, context: Context) -> Answer:
    """Move a token's expiry, or change its limit."""
    change = validate(UpdateToken, await read_json(request, BODY_LIMIT))
    given = change.model_fields_set
    record = await context.store.tokens.update(
        request.match_info["tokenId"],
        expires_at=change.expiresAt if "expiresAt" in given else None,
        max_downloads=change.maxDownloads if "maxDownloads" in given else KEEP,
        max_lifetime=context.max_ttl,
    )
    return _answer(record)


def _answer(record: TokenRecord) -> Answer:
    return Answer({"success": True, "token": token_data(record)})

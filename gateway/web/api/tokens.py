"""/api/downloads/tokens: tokens are listed, shown, changed and revoked, by their ids."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Row

from gateway.errors import DatabaseError
from gateway.tokens.index import is_token_id
from gateway.tokens.listing import TokenFilter, describe_damage
from gateway.tokens.records import TokenRecord
from gateway.tokens.repository import KEEP
from gateway.usage.queries import get_token as read_token
from gateway.usage.queries import token_usage
from gateway.web.api.context import AdminContext
from gateway.web.api.models import ListTokens, TokenResponse, TokensResponse, UpdateToken
from gateway.web.auditing import note_change
from gateway.web.bodies import read_json
from gateway.web.documents import token_document, usage_document
from gateway.web.problems import Problem
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate, validate_query

_log = logging.getLogger("gateway.web")

EXPIRED: Final = "expired"
"""The status of a token that only the database remembers."""
FILL_SECONDS: Final = 10.0
"""How long a list waits while the index of tokens is filled, which happens once, after an update from a
version without one: 100,000 tokens take some three seconds. Then it is 503, and the filling goes on."""


async def list_tokens(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of the tokens."""
    query = validate_query(ListTokens, request)
    token_filter = TokenFilter(query.productId, query.status, query.customerEmail, query.keyId)
    page = await context.store.tokens.list_page(token_filter, query.limit, query.cursor, FILL_SECONDS)
    for identifier in page.damaged:
        _log.error("%s", describe_damage(identifier))
    tokens = [token_document(record) for record in page.tokens]
    return json_response({"success": True, "tokens": tokens, "nextCursor": page.cursor})


async def get_token(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one token. Raises Problem: token_unknown."""
    identifier = request.match_info["tokenId"]
    record = await find_token(context, identifier)
    document = token_document(record)
    if record.status == EXPIRED:
        document["usage"] = await _usage(context, identifier)
    else:
        with contextlib.suppress(DatabaseError):  # what the store knows is shown without the database
            document["usage"] = await _usage(context, identifier)
    return json_response({"success": True, "token": document})


async def find_token(context: AdminContext, identifier: str) -> TokenRecord:
    """A token as the store has it, or as the database remembers it when it has expired.

    Raises Problem (token_unknown), StoreUnavailable, DatabaseError.
    """
    record = await context.store.tokens.get(identifier) or await _forgotten_token(context, identifier)
    if record is None:
        raise Problem("token_unknown", "There is no such token, and never was.")
    return record


async def _forgotten_token(context: AdminContext, identifier: str) -> TokenRecord | None:
    """What the database knows of a token that the store has forgotten: it has expired."""
    if not is_token_id(identifier):
        return None
    async with context.database.reading() as sql:
        row = await read_token(sql, identifier)
    return None if row is None else forgotten_record(row)


def forgotten_record(row: Row[Any]) -> TokenRecord:
    """The record of a token that has expired, from its row in the database."""
    return TokenRecord(
        row.id,
        row.product or "",
        row.version or "",
        "",
        row.created,
        row.expires,
        EXPIRED,
        row.max_downloads,
        row.email,
        row.name,
        row.key,
        row.metadata or {},
    )


async def _usage(context: AdminContext, identifier: str) -> dict[str, Any]:
    async with context.database.reading() as sql:
        return usage_document(await token_usage(sql, identifier))


async def revoke_token(request: web.Request, context: AdminContext) -> web.Response:
    """Revoke a token. It is shown as revoked until it would have expired. Raises Declined: token_unknown."""
    record = await context.store.tokens.revoke(request.match_info["tokenId"])
    note_change(request, token=record.id)
    return _token_response(record)


async def update_token(request: web.Request, context: AdminContext) -> web.Response:
    """Move a token's expiry, or change its limits. Raises Problem, Declined."""
    change = validate(UpdateToken, await read_json(request))
    given = change.model_fields_set
    record = await context.store.tokens.update(
        request.match_info["tokenId"],
        expires_at=change.expiresAt if "expiresAt" in given else None,
        max_downloads=change.maxDownloads if "maxDownloads" in given else KEEP,
        max_lifetime=context.max_ttl,
        caps=change.caps(),
    )
    changed = change.model_dump(exclude_unset=True)
    note_change(request, token=record.id, **{name: str(value) for name, value in changed.items()})
    return _token_response(record)


def _token_response(record: TokenRecord) -> web.Response:
    return json_response({"success": True, "token": token_document(record)})


_TOKEN: Final = "/downloads/tokens/{tokenId}"  # noqa: S105 - a path

TOKEN_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET", "/downloads/tokens", list_tokens, "listTokens", "List tokens", TokensResponse, query=ListTokens
    ),
    Route("GET", _TOKEN, get_token, "getToken", "Show a token", TokenResponse, refusals=(404,)),
    Route(
        "DELETE",
        _TOKEN,
        revoke_token,
        "revokeToken",
        "Revoke a token",
        TokenResponse,
        refusals=(404,),
        audit="token.revoke",
    ),
    Route(
        "PATCH",
        _TOKEN,
        update_token,
        "updateToken",
        "Change a token's expiry or limits",
        TokenResponse,
        body=UpdateToken,
        refusals=(404, 409),
        audit="token.update",
    ),
)

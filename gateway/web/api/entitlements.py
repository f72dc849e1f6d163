"""/api/entitlements: listed, granted by hand, overridden by the seller, and made into download URLs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.orders.email_addresses import normalise
from gateway.orders.entitlement_rules import Override
from gateway.orders.entitlements import (
    EntitlementFilter,
    HandGrant,
    get_entitlement,
    grant_by_hand,
    list_entitlements,
    override_entitlement,
)
from gateway.orders.mappings import Scope, Share
from gateway.orders.minting import Repeat, Terms, mint_from_entitlement
from gateway.secrets import token_id
from gateway.tokens.idempotency import digest_body
from gateway.tokens.repositories import Repositories
from gateway.web.api.context import AdminContext
from gateway.web.api.order_documents import entitlement_document, page_of
from gateway.web.api.order_models import (
    CreateEntitlement,
    EntitlementUrl,
    ListEntitlements,
    UpdateEntitlement,
)
from gateway.web.api.order_responses import EntitlementResponse, EntitlementsResponse
from gateway.web.auditing import note_change
from gateway.web.authentication import bearer_key, caller_of
from gateway.web.bodies import read_json
from gateway.web.download_urls import DownloadUrl, download_url_document, limit_lifetime
from gateway.web.idempotency import PARAMETER, idempotency_key
from gateway.web.problems import Problem
from gateway.web.responses import json_response
from gateway.web.routes import Route
from gateway.web.validation import validate, validate_query


async def get_entitlements(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one page of the entitlements."""
    query = validate_query(ListEntitlements, request)
    only = EntitlementFilter(
        email=None if query.email is None else normalise(query.email),
        product_id=query.productId,
        status=query.status,
    )
    async with context.database.reading() as sql:
        rows = await list_entitlements(sql, only, query.limit, query.cursor)
    cursor = rows[-1].id if len(rows) == query.limit else None
    return json_response(page_of([entitlement_document(row) for row in rows], "entitlements", cursor))


async def get_one(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with one entitlement. Raises Problem: entitlement_unknown."""
    return await _response(context, request.match_info["entitlementId"])


async def create_entitlement(request: web.Request, context: AdminContext) -> web.Response:
    """Grant a product by hand. Raises Problem: product_unknown, version_unknown."""
    body = validate(CreateEntitlement, await read_json(request))
    identifier = await grant_product(context.database, context.store, body)
    note_change(request, entitlement=identifier, product=body.productId)
    return await _response(context, identifier, 201)


async def grant_product(database: Database, store: Repositories, body: CreateEntitlement) -> str:
    """Grant a product by hand; returns the entitlement's id. Raises Problem, DatabaseError."""
    product = await store.products.get(body.productId)
    if product is None:
        raise Problem("product_unknown", "There is no such product; register it first.")
    if body.version is not None and body.version not in product.versions:
        raise Problem("version_unknown", "The product has no such version.")
    share = Share(body.productId, Scope(body.scope or "all"), body.version, body.until)
    given = HandGrant(normalise(body.email), body.email, share, body.name, body.quantity or 1, body.reason)
    async with database.writing() as sql:
        return await grant_by_hand(sql, given, now())


async def update_entitlement(request: web.Request, context: AdminContext) -> web.Response:
    """Write the seller's decision about an entitlement. Raises Problem: entitlement_unknown."""
    body = validate(UpdateEntitlement, await read_json(request))
    identifier = request.match_info["entitlementId"]
    override = None if body.override is None else Override(body.override)
    async with context.database.writing() as sql:
        if not await override_entitlement(sql, identifier, override, body.reason, now()):
            raise _unknown()
    context.enforcer.wake()
    note_change(request, entitlement=identifier, override=body.override or "none")
    return await _response(context, identifier)


async def create_url(request: web.Request, context: AdminContext) -> web.Response:
    """Make a token from an entitlement, and the URL that carries it. Raises Problem, Declined.

    All fields may be left out, and so may the body. They and Idempotency-Key are those of the mint service.
    """
    name = idempotency_key(request)
    document = await read_json(request) if request.body_exists else {}
    body = validate(limit_lifetime(EntitlementUrl, context.max_ttl), document)
    identifier = request.match_info["entitlementId"]
    terms = Terms(
        body.version,
        body.expiresIn or context.default_ttl,
        body.values(),
        caller_of(request),
        context.base_url,
        None
        if name is None
        else Repeat(bearer_key(request), name, digest_body({"entitlement": identifier, "body": document})),
    )
    url = await mint_from_entitlement(context.database, context.store, identifier, terms)
    note_change(request, entitlement=identifier, token=token_id(url.token), version=url.version)
    file = await context.store.products.only_file(url.manifest)
    return json_response(
        download_url_document(url.base, url.product, url.version, url.token, url.expires, file)
    )


async def _response(context: AdminContext, identifier: str, status: int = 200) -> web.Response:
    async with context.database.reading() as sql:
        row = await get_entitlement(sql, identifier)
    if row is None:
        raise _unknown()
    return json_response({"success": True, "entitlement": entitlement_document(row)}, status)


def _unknown() -> Problem:
    return Problem("entitlement_unknown", "There is no such entitlement.")


_ENTITLEMENT: Final = "/entitlements/{entitlementId}"

ENTITLEMENT_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        "/entitlements",
        get_entitlements,
        "listEntitlements",
        "List entitlements",
        EntitlementsResponse,
        query=ListEntitlements,
    ),
    Route(
        "POST",
        "/entitlements",
        create_entitlement,
        "createEntitlement",
        "Grant a product by hand",
        EntitlementResponse,
        201,
        body=CreateEntitlement,
        refusals=(404,),
        audit="entitlement.create",
    ),
    Route(
        "GET",
        _ENTITLEMENT,
        get_one,
        "getEntitlement",
        "Show an entitlement",
        EntitlementResponse,
        refusals=(404,),
    ),
    Route(
        "PATCH",
        _ENTITLEMENT,
        update_entitlement,
        "updateEntitlement",
        "Decide about an entitlement against what platforms tell",
        EntitlementResponse,
        body=UpdateEntitlement,
        refusals=(404,),
        audit="entitlement.override",
    ),
    Route(
        "POST",
        f"{_ENTITLEMENT}/download-url",
        create_url,
        "createEntitlementUrl",
        "Make a download URL from an entitlement",
        DownloadUrl,
        body=EntitlementUrl,
        needs_body=False,
        headers=(PARAMETER,),
        refusals=(404, 409, 422),
        audit="entitlement.mint",
    ),
)

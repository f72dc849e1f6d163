"""…/receipt: what a token was sent, signed, as JSON or as a page; and the keys that verify it."""

from __future__ import annotations

from typing import Any, Final, Literal

from aiohttp import web
from pydantic import Field

from gateway.http.fields import prefers_html
from gateway.tokens.index import is_token_id
from gateway.usage import jws
from gateway.web.api.context import AdminContext
from gateway.web.models import ResponseModel
from gateway.web.problems import Problem
from gateway.web.receipt_pages import show_receipt
from gateway.web.receipts import make_receipt, signed_receipt
from gateway.web.responses import encode_json, json_response
from gateway.web.routes import Route

JWKS_PATH: Final = "/.well-known/jwks.json"
KEPT_SECONDS: Final = 300
"""How long others may keep the keys. A receipt with a key that they do not know lets them ask again."""


class ReceiptResponse(ResponseModel):
    """The receipt of a token; docs/receipts.md describes its fields."""

    success: Literal[True]
    receipt: dict[str, Any]
    jws: str = Field(description="The receipt as a compact JWS (RFC 7515, EdDSA).")


class KeyDocument(ResponseModel):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]


class KeysResponse(ResponseModel):
    """All public keys, the current one first (RFC 7517)."""

    keys: list[KeyDocument]


async def get_receipt(request: web.Request, context: AdminContext) -> web.Response:
    """Answer with the receipt of a token, also of one that has expired. Raises Problem: token_unknown."""
    identifier = request.match_info["tokenId"]
    receipt = None
    if is_token_id(identifier):
        record = await context.store.tokens.get(identifier)
        receipt = await make_receipt(context.database, identifier, record, context.base_url)
    if receipt is None:
        raise Problem("token_unknown", "There is no such token, and never was.")
    answer = await signed_receipt(receipt, context.signing)
    if prefers_html(request.headers.get("Accept")):
        return show_receipt(context.pages, request, answer)
    response = json_response(answer)
    response.headers["Vary"] = "Accept"
    return response


async def get_keys(_request: web.Request, context: AdminContext) -> web.Response:
    """Answer with the public keys of receipts, also those that are not used any more."""
    keys = await context.signing.published()
    headers = {"Content-Type": "application/json", "Cache-Control": f"public, max-age={KEPT_SECONDS}"}
    body = encode_json({"keys": [jws.jwk(public) for public in keys.values()]})
    return web.Response(body=body, headers=headers)


RECEIPT_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        "/downloads/tokens/{tokenId}/receipt",
        get_receipt,
        "getReceipt",
        "The signed receipt of a token",
        ReceiptResponse,
        refusals=(404,),
        page=True,
    ),
)
WELL_KNOWN_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    Route(
        "GET",
        JWKS_PATH,
        get_keys,
        "listReceiptKeys",
        "The keys that receipts are signed with",
        KeysResponse,
        roles=None,
        any_query=True,
        refusals=(503,),
    ),
)

"""The mint service's table of routes, and its OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from aiohttp import web

from gateway.mint.context import MintContext
from gateway.mint.minting import generate_download_url
from gateway.mint.models import GenerateDownloadUrl
from gateway.web.authentication import MINT
from gateway.web.download_urls import DownloadUrl
from gateway.web.health import health_routes
from gateway.web.idempotency import PARAMETER
from gateway.web.openapi import describe
from gateway.web.quick_response import QuickResponse
from gateway.web.routes import Route

_DESCRIPTION: Final = (
    "Makes download tokens. Private: for shops, not for customers. "
    "Times are RFC 3339, UTC, with milliseconds. The admin API is another service, on `dashboard.listen`."
)


async def get_openapi(_request: web.BaseRequest, context: MintContext) -> QuickResponse:
    """Answer with the description of this API."""
    return QuickResponse(_document(context.mint_model))


def make_routes(model: type[GenerateDownloadUrl]) -> tuple[Route[MintContext], ...]:
    """Make the table. model: of the body, with the limits of the settings."""
    return (
        Route(
            "POST",
            "/api/generate-download-url",
            generate_download_url,
            "generateDownloadUrl",
            "Make a download URL",
            DownloadUrl,
            body=model,
            roles=MINT,
            checks_key=False,  # the handler does so in the round trip that looks up the version
            headers=(PARAMETER,),
            refusals=(404, 409, 422),
        ),
        Route("GET", "/api/openapi.json", get_openapi, "describe", "This document", None, roles=None),
        *health_routes(QuickResponse),
    )


@cache
def _document(model: type[GenerateDownloadUrl]) -> dict[str, Any]:
    return describe(make_routes(model), title="Download gateway: mint service", description=_DESCRIPTION)

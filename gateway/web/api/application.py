"""The admin API as an application that the `web` process mounts at PREFIX."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import Any, Final

from aiohttp import web

from gateway.orders.limits import SOURCE_PATTERN
from gateway.products.validation import NAME_PATTERN
from gateway.web.api.connections import CONNECTION_ROUTES
from gateway.web.api.context import AdminContext
from gateway.web.api.customers import CUSTOMER_ROUTES
from gateway.web.api.entitlements import ENTITLEMENT_ROUTES
from gateway.web.api.mails import MAIL_ROUTES
from gateway.web.api.mappings import MAPPING_ROUTES
from gateway.web.api.models import TOKEN_ID_PATTERN
from gateway.web.api.order_models import ID_PATTERN, ORDER_ID_PATTERN
from gateway.web.api.orders import ORDER_ROUTES
from gateway.web.api.products import PRODUCT_ROUTES
from gateway.web.api.receipts import RECEIPT_ROUTES, WELL_KNOWN_ROUTES
from gateway.web.api.tokens import TOKEN_ROUTES
from gateway.web.api.usage import USAGE_ROUTES
from gateway.web.api.usage_reports import USAGE_REPORT_ROUTES
from gateway.web.api.webhooks import WEBHOOK_ROUTES
from gateway.web.application import make_application
from gateway.web.download_urls import TokenTerms, limit_lifetime
from gateway.web.health import health_routes
from gateway.web.openapi import describe
from gateway.web.responses import json_response
from gateway.web.routes import Route, below

PREFIX: Final = "/api"
NOT_FOUND: Final = "This service has no such URL; /api/openapi.json lists its URLs."
_DESCRIPTION: Final = (
    "Manages tokens, products and versions, and what was sold. Private: for operators and their scripts, "
    "not for customers. Times are RFC 3339, UTC, with milliseconds."
)


async def get_openapi(_request: web.Request, context: AdminContext) -> web.Response:
    """Answer with the description of this API."""
    return json_response(_document(context.max_ttl))


API_ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    *TOKEN_ROUTES,
    *PRODUCT_ROUTES,
    *ORDER_ROUTES,
    *CUSTOMER_ROUTES,
    *ENTITLEMENT_ROUTES,
    *MAPPING_ROUTES,
    *CONNECTION_ROUTES,
    *USAGE_ROUTES,
    *MAIL_ROUTES,
    *WEBHOOK_ROUTES,
    *USAGE_REPORT_ROUTES,
    *RECEIPT_ROUTES,
    Route("GET", "/openapi.json", get_openapi, "describe", "This document", None, roles=None),
)
HEALTH_ROUTES: Final = health_routes(json_response, needs_database=True)
ROUTES: Final[tuple[Route[AdminContext], ...]] = (
    *below(PREFIX, API_ROUTES),
    *WELL_KNOWN_ROUTES,
    *HEALTH_ROUTES,
)
"""Every URL of the process, as callers see it."""


def _limited(route: Route[AdminContext], max_ttl: int) -> Route[AdminContext]:
    """The row with the limit of `expiresIn` that the settings give."""
    if route.body is None or not issubclass(route.body, TokenTerms):
        return route
    return replace(route, body=limit_lifetime(route.body, max_ttl))


@cache
def _document(max_ttl: int) -> dict[str, Any]:
    return describe(
        [_limited(route, max_ttl) for route in ROUTES],
        title="Download gateway: admin API",
        description=_DESCRIPTION,
        patterns={
            "productId": NAME_PATTERN,
            "version": NAME_PATTERN,
            "tokenId": TOKEN_ID_PATTERN,
            "source": SOURCE_PATTERN,
            "orderId": ORDER_ID_PATTERN,
            "customerId": ID_PATTERN,
            "entitlementId": ID_PATTERN,
            "connectionId": ID_PATTERN,
            "eventId": ID_PATTERN,
            "mailId": ID_PATTERN,
            "webhookId": ID_PATTERN,
            "deliveryId": ID_PATTERN,
        },
    )


def make_api(context: AdminContext, logger: logging.Logger) -> web.Application:
    """Make the application. Its URLs begin with a slash; PREFIX goes before them."""
    return make_application(API_ROUTES, context, logger, not_found=NOT_FOUND)

"""The mint service's URLs: one table of method, path, who may ask, and the handler; and what is around them.

Around every handler: the API key is checked before anything else is looked at, parameters nobody knows are
refused, and every exception becomes a problem answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.errors import StoreUnavailable
from gateway.mint.access import ADMIN, authenticate
from gateway.mint.bodies import validate_query
from gateway.mint.context import MANIFEST_LIMIT, Context, json_answer
from gateway.mint.minting import generate_download_url
from gateway.mint.models import NoParameters
from gateway.mint.openapi import describe
from gateway.mint.problems import (
    Problem,
    from_declined,
    from_http,
    problem_answer,
    store_unavailable,
)
from gateway.mint.products import (
    create_product,
    get_product,
    list_products,
    register_version,
    update_product,
)
from gateway.mint.tokens import get_token, list_tokens, revoke_token, update_token
from gateway.tokens.link import Declined

Handler = Callable[[web.Request, Context], Awaitable[web.Response]]

_log = logging.getLogger("gateway.mint")


@dataclass(frozen=True)
class Route:
    """One row. roles: who may ask; None: everybody. parameters: the handler reads the URL's own."""

    method: str
    path: str
    handler: Handler
    roles: frozenset[str] | None = ADMIN
    parameters: bool = False


async def get_openapi(_request: web.Request, context: Context) -> web.Response:
    """The description of this API."""
    return json_answer(describe(context.mint_model))


async def get_health(_request: web.Request, _context: Context) -> web.Response:
    """Alive: this process answers."""
    return json_answer({"success": True, "status": "ok"})


async def get_readiness(_request: web.Request, context: Context) -> web.Response:
    """Ready: the store answers too."""
    await context.store.ping()
    return json_answer({"success": True, "status": "ok"})


TOKEN: Final = "/api/downloads/tokens/{tokenId}"  # noqa: S105 - a path
PRODUCT: Final = "/api/products/{productId}"

ROUTES: Final = (
    # it checks the key itself, in the round trip that looks up the product
    Route("POST", "/api/generate-download-url", generate_download_url, roles=None),
    Route("GET", "/api/downloads/tokens", list_tokens, parameters=True),
    Route("GET", TOKEN, get_token),
    Route("DELETE", TOKEN, revoke_token),
    Route("PATCH", TOKEN, update_token),
    Route("GET", "/api/products", list_products),
    Route("POST", "/api/products", create_product),
    Route("GET", PRODUCT, get_product),
    Route("PUT", PRODUCT, update_product),
    Route("POST", PRODUCT + "/versions", register_version),
    Route("GET", "/api/openapi.json", get_openapi, roles=None),
    Route("GET", "/healthz", get_health, roles=None, parameters=True),
    Route("GET", "/readyz", get_readiness, roles=None, parameters=True),
)


def build_application(context: Context) -> web.Application:
    """Make the aiohttp application of the table."""
    application = web.Application(middlewares=[_answer_problems], client_max_size=MANIFEST_LIMIT)
    for route in ROUTES:
        application.router.add_route(route.method, route.path, _enter(route, context))
    return application


def _enter(route: Route, context: Context) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if route.roles is not None:
            await authenticate(request, context.store, route.roles)
        if request.query_string and not route.parameters:
            validate_query(NoParameters, request.query)
        return await route.handler(request, context)

    return handle


@web.middleware
async def _answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem_answer(problem)
    except Declined as declined:
        return problem_answer(from_declined(declined))
    except StoreUnavailable as error:
        _log.warning("%s", error)
        return problem_answer(store_unavailable())
    except web.HTTPException as error:
        return problem_answer(from_http(error))
    except Exception as error:
        log_failure(error)
        return problem_answer(Problem("internal_error", "It was logged; nothing is wrong with the request."))


def log_failure(error: BaseException) -> None:
    """Log a fault of ours. The formatter of gateway.log cuts secrets out of the traceback."""
    details: Any = (type(error), error, error.__traceback__)
    _log.error("a request failed: %s", type(error).__name__, exc_info=details)

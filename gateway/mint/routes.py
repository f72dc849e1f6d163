"""The mint service's URLs: one table of method, path, who may ask, and the handler; and what is around them.

The table is looked up here and not by an aiohttp application, whose router and middlewares cost 7 µs.
Around every handler: the API key is checked before anything else is looked at, parameters nobody knows are
refused, and every exception becomes a problem answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import HttpVersion11, web

from gateway.errors import Declined, StoreUnavailable
from gateway.mint.access import ADMIN, authenticate
from gateway.mint.bodies import validate_query
from gateway.mint.context import Context, Request
from gateway.mint.minting import generate_download_url
from gateway.mint.models import NoParameters
from gateway.mint.openapi import describe
from gateway.mint.problems import (
    Problem,
    from_declined,
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
from gateway.mint.writing import Answer

Handler = Callable[[Request, Context], Awaitable[Answer]]

_log = logging.getLogger("gateway.mint")


@dataclass(frozen=True)
class Route:
    """One row. roles: who may ask; None: everybody. parameters: the handler reads the URL's own."""

    method: str
    path: str
    handler: Handler
    roles: frozenset[str] | None = ADMIN
    parameters: bool = False


async def get_openapi(_request: Request, context: Context) -> Answer:
    """The description of this API."""
    return Answer(describe(context.mint_model))


async def get_health(_request: Request, _context: Context) -> Answer:
    """Alive: this process answers."""
    return Answer({"success": True, "status": "ok"})


async def get_readiness(_request: Request, context: Context) -> Answer:
    """Ready: the store answers too."""
    await context.store.client.ping()
    return Answer({"success": True, "status": "ok"})


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


class Router:
    """Answers requests by the table."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fixed: dict[str, dict[str, Route]] = {}
        self._named: dict[re.Pattern[str], dict[str, Route]] = {}
        for route in ROUTES:
            if "{" in route.path:
                pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))
                self._named.setdefault(pattern, {})[route.method] = route
            else:
                self._fixed.setdefault(route.path, {})[route.method] = route

    async def answer(self, request: web.BaseRequest) -> Answer:
        """Answer one request; every exception becomes a problem."""
        assert isinstance(request, Request)
        try:
            return await self._handle(request)
        except Problem as problem:
            return problem_answer(problem)
        except Declined as declined:
            return problem_answer(from_declined(declined))
        except StoreUnavailable as error:
            _log.warning("%s", error)
            return problem_answer(store_unavailable())
        except Exception as error:
            log_failure(error)
            return problem_answer(
                Problem("internal_error", "It was logged; nothing is wrong with the request.")
            )

    async def _handle(self, request: Request) -> Answer:
        route, request.match_info = self._find(request.rel_url.raw_path, request.method)
        if "Expect" in request.headers:
            _meet_expectation(request)
        if route.roles is not None:
            await authenticate(request, self._context.store, route.roles)
        if request.query_string and not route.parameters:
            validate_query(NoParameters, request.query)
        return await route.handler(request, self._context)

    def _find(self, path: str, method: str) -> tuple[Route, dict[str, str]]:
        """The row, and what stands for the names in its path. Raises Problem."""
        methods, names = self._fixed.get(path), {}
        if methods is None:
            for pattern, found in self._named.items():
                if match := pattern.fullmatch(path):
                    methods = found
                    names = {name: unquote(value) for name, value in match.groupdict().items()}
                    break
            else:
                raise Problem(
                    "not_found", "There is nothing under this URL; /api/openapi.json lists what there is."
                )
        if method not in methods:
            allowed = [("Allow", ",".join(sorted(methods)))]
            raise Problem(
                "method_not_allowed", "Use one of the methods in the Allow header.", headers=allowed
            )
        return methods[method], names


def _meet_expectation(request: Request) -> None:
    """Answer an Expect field (RFC 9110 section 10.1.1): the client waits for it before it sends the body."""
    if request.version < HttpVersion11 or request.transport is None:
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise Problem("expectation_failed", "Send the request without this Expect header.")
    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def log_failure(error: BaseException) -> None:
    """Log a fault of ours. The formatter of gateway.runtime.log cuts secrets out of the traceback."""
    details: Any = (type(error), error, error.__traceback__)
    _log.error("a request failed: %s", type(error).__name__, exc_info=details)

"""Health: whether a service is alive, and whether it is ready to answer. Every service has both URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from gateway.errors import StoreUnavailable
from gateway.web.models import HealthResponse
from gateway.web.problems import store_unavailable
from gateway.web.routes import HasStore, Route

HEALTHY: Final[dict[str, Any]] = {"success": True, "status": "ok"}

Respond = Callable[[dict[str, Any]], web.StreamResponse]


def health_routes(respond: Respond) -> tuple[Route[Any], ...]:
    """Make the two rows of the table. respond: makes the service's kind of JSON response."""

    async def get_health(_request: web.BaseRequest, _context: HasStore) -> web.StreamResponse:
        return respond(HEALTHY)

    async def get_readiness(_request: web.BaseRequest, context: HasStore) -> web.StreamResponse:
        try:
            await context.store.client.check()
        except StoreUnavailable as error:
            raise store_unavailable(f"The store cannot be used. {error.reason}.") from None
        return respond(HEALTHY)

    # monitoring tools may add parameters of their own, such as one against caches
    return (
        Route("GET", "/healthz", get_health, "health", "Alive", HealthResponse, roles=None, any_query=True),
        Route(
            "GET",
            "/readyz",
            get_readiness,
            "readiness",
            "Ready: the store takes writes too; the problem's detail says why not",
            HealthResponse,
            roles=None,
            any_query=True,
            refusals=(503,),
        ),
    )

"""Health: whether a service is alive, and whether it is ready to answer. Every service has both URLs.

/readyz answers 503 while a part cannot be used that the service needs. Its detail names each such part and
what is wrong with it: the store, and in the web process the database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aiohttp import web

from gateway.errors import RETRY_AFTER_SECONDS, DatabaseError, StoreUnavailable
from gateway.web.models import HealthResponse
from gateway.web.problems import Problem
from gateway.web.routes import HasStore, Route

HEALTHY: Final[dict[str, Any]] = {"success": True, "status": "ok"}

Respond = Callable[[dict[str, Any]], web.StreamResponse]


class _Probe(Protocol):
    async def check(self) -> None: ...


class HasProbe(HasStore, Protocol):
    """What the readiness of a service that needs the database is given."""

    @property
    def probe(self) -> _Probe:
        """Asks the database."""
        ...


def health_routes(respond: Respond, *, needs_database: bool = False) -> tuple[Route[Any], ...]:
    """Make the two rows of the table.

    respond: makes the service's kind of JSON response. needs_database: whether the service is not ready
    without it; then its context is a HasProbe.
    """

    async def get_health(_request: web.BaseRequest, _context: HasStore) -> web.StreamResponse:
        return respond(HEALTHY)

    async def get_readiness(_request: web.BaseRequest, context: HasStore) -> web.StreamResponse:
        faults: dict[str, str] = {}
        try:
            await context.store.client.check()
        except StoreUnavailable as error:
            faults["store_unavailable"] = f"The store cannot be used. {error.reason}."
        if needs_database:
            try:
                await cast("HasProbe", context).probe.check()
            except DatabaseError as error:
                text = str(error).rstrip(".")
                faults["database_unavailable"] = f"The database cannot be used: {text}."
        if faults:
            again = [("Retry-After", str(RETRY_AFTER_SECONDS))]
            raise Problem(next(iter(faults)), " ".join(faults.values()), headers=again)
        return respond(HEALTHY)

    what = "store and database can be used" if needs_database else "the store takes writes too"
    # monitoring tools may add parameters of their own, such as one against caches
    return (
        Route("GET", "/healthz", get_health, "health", "Alive", HealthResponse, roles=None, any_query=True),
        Route(
            "GET",
            "/readyz",
            get_readiness,
            "readiness",
            f"Ready: {what}; the problem's detail says what cannot, and why",
            HealthResponse,
            roles=None,
            any_query=True,
            refusals=(503,),
        ),
    )

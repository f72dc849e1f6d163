"""Tables of routes: each row says what a URL and method do, who may use them, and how OpenAPI describes them.

Two things are made from such a table: what answers requests (`gateway.web.application`, or the mint service's
own dispatcher), and the OpenAPI document (`gateway.web.openapi`). So the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from gateway.tokens.repositories import Repositories
from gateway.web.auditing import record_change
from gateway.web.authentication import ADMIN, authenticate
from gateway.web.models import NoParameters
from gateway.web.validation import validate_query


class HasStore(Protocol):
    """What the handlers of every API are given, at least."""

    @property
    def store(self) -> Repositories:
        """Where API keys are looked up."""
        ...


Context = TypeVar("Context", bound=HasStore)


@dataclass(frozen=True)
class Route(Generic[Context]):
    """One row of a table. The handler is given the request and the context of its API.

    path: may hold names in braces, each of which stands for one segment (`match_info` has their values).
    operation, summary: the operation's id and title in the OpenAPI document.
    response, status: of a request that succeeds; None is any JSON object.
    body: the model of the request's body. query: the model of the URL's parameters.
    roles: of API keys that may use it; None: everybody may.
    checks_key: False when the handler checks the API key itself.
    audit: of a request that changes something, what its audit line says was done.
    any_query: True when parameters are ignored; else parameters that `query` does not name are refused.
    needs_body: False when a request may come without one.
    headers: OpenAPI parameter objects of header fields. refusals: statuses of refusals, beside those that
    follow from the other columns. media: the type of what a request that succeeds is answered with. creates:
    whether it answers 201 where it has made something new. page: whether it answers with a page (HTML) where
    that is preferred.
    """

    method: str
    path: str
    handler: Callable[[Any, Context], Awaitable[web.StreamResponse]]
    operation: str
    summary: str
    response: type[BaseModel] | None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    roles: frozenset[str] | None = ADMIN
    checks_key: bool = True
    any_query: bool = False
    headers: tuple[Mapping[str, Any], ...] = ()
    refusals: tuple[int, ...] = ()
    creates: bool = False
    needs_body: bool = True
    audit: str = ""
    media: str = "application/json"
    page: bool = False

    async def handle(self, request: web.BaseRequest, context: Context) -> web.StreamResponse:
        """Check the API key, refuse parameters if there may be none, and call the handler.

        Raises Problem, Declined, StoreUnavailable, and whatever the handler may raise.
        """
        if self.roles is not None and self.checks_key:
            await authenticate(request, context.store, self.roles)
        if request.query_string and self.query is None and not self.any_query:
            validate_query(NoParameters, request)
        response = await self.handler(request, context)
        if self.audit:
            await record_change(request, context.store.audit, self.audit)
        return response


def below(prefix: str, routes: Iterable[Route[Context]]) -> tuple[Route[Context], ...]:
    """Return the rows as callers see them when their application is mounted at the prefix."""
    return tuple(replace(route, path=prefix + route.path) for route in routes)

"""Answers the mint service's requests by its table of routes.

An aiohttp application would do the same, but its router and middlewares cost 7 µs a request, and its response
16 µs (see `gateway.web.quick_response`). The checks, the codes and the form of the table come from
`gateway.web`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from aiohttp import web

from gateway.mint.context import MintContext
from gateway.web.bodies import check_expectation
from gateway.web.problems import Problem, method_not_allowed, problem_of
from gateway.web.quick_response import quick_problem
from gateway.web.routes import Route


class Dispatcher:
    """Finds the row of a request and calls its handler. Every exception becomes a problem."""

    def __init__(
        self, routes: Iterable[Route[MintContext]], context: MintContext, logger: logging.Logger
    ) -> None:
        self._context = context
        self._logger = logger
        self._routes: dict[str, dict[str, Route[MintContext]]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            route = self._find(request.rel_url.raw_path, request.method)
            check_expectation(request)
            return await route.handle(request, self._context)
        except Exception as error:
            return quick_problem(problem_of(error, self._logger))

    def _find(self, path: str, method: str) -> Route[MintContext]:
        methods = self._routes.get(path)
        if methods is None:
            raise Problem(
                "not_found",
                "The mint service has no such URL; /api/openapi.json lists its URLs. "
                "Tokens and products are managed by the admin API, on `dashboard.listen`.",
            )
        if method not in methods:
            raise method_not_allowed(methods)
        return methods[method]

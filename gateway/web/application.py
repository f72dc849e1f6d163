"""aiohttp applications from tables of routes.

The `web` process is one application with others mounted in it, each with its own table, context and rules:

    make_application(HEALTH_ROUTES, context, logger, mounted={"/api": make_application(API_ROUTES, …)})

An application made here refuses requests as a JSON API does: every exception of a handler, an unknown URL and
a wrong method become a problem (`gateway.web.problems`). HEAD is a method like any other: a URL whose rows
lack it answers 405.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.web.bodies import check_expectation
from gateway.web.problems import Problem, method_not_allowed, problem_of
from gateway.web.responses import problem_response
from gateway.web.routes import Context, Route

_NAME: Final = re.compile(r"\{(\w+)\}")


def make_application(
    routes: Iterable[Route[Context]],
    context: Context,
    logger: logging.Logger,
    *,
    mounted: Mapping[str, web.Application] | None = None,
    not_found: str = "This service has no such URL.",
) -> web.Application:
    """Make an application of a table. Nothing is opened or started.

    mounted: other applications by the prefix of their URLs. not_found: what a caller reads at an unknown URL.
    """
    unknown = Problem("not_found", not_found)
    application = web.Application(middlewares=[_problems(logger, unknown)])
    application.on_response_prepare.append(_drop_server_field)
    by_path: dict[str, list[Route[Context]]] = {}
    for route in routes:
        by_path.setdefault(route.path, []).append(route)
    for path, rows in by_path.items():
        resource = application.router.add_resource(_NAME.sub(r"{\1:[^/]+}", path))
        for route in rows:
            resource.add_route(route.method, _handler(route, context), expect_handler=_expect)
        refuse = method_not_allowed(route.method for route in rows)
        resource.add_route("*", _refusing(refuse), expect_handler=_ignore_expectation)
    for prefix, part in (mounted or {}).items():
        application.add_subapp(prefix, part)
    # last, because the router tries resources of equal depth in the order of their registration
    application.router.add_route("*", "/{rest:.*}", _refusing(unknown), expect_handler=_ignore_expectation)
    return application


def _handler(route: Route[Context], context: Context) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handle(request, context)

    return handle


def _refusing(problem: Problem) -> Handler:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return problem_response(problem)

    return refuse


def _problems(logger: logging.Logger, unknown: Problem) -> Middleware:
    @web.middleware
    async def answer_with_problems(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:  # a mounted application's bare prefix: its own routes begin with a slash
            return problem_response(unknown)
        except Exception as error:
            return problem_response(problem_of(error, logger))

    return answer_with_problems


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Refuse an Expect field that asks for anything unusual; aiohttp calls this before the middlewares."""
    try:
        check_expectation(request)
    except Problem as problem:
        return problem_response(problem)
    return None


async def _ignore_expectation(_request: web.Request) -> None:
    """Do nothing: a refusal follows, so the client need not send its body."""


async def _drop_server_field(_request: web.Request, response: web.StreamResponse) -> None:
    """Take away the field that names aiohttp, Python and their versions."""
    response.headers.pop("Server", None)

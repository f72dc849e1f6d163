"""aiohttp applications from tables of routes.

The `web` process is one application with others mounted in it, each with its own table, context and rules:

    make_application(HEALTH_ROUTES, context, logger, mounted={"/api": make_application(API_ROUTES, …)})

Every exception of a handler, an unknown URL and a wrong method become a problem (`gateway.web.problems`),
which is answered as JSON, or as a page (`gateway.web.pages`). HEAD is a method like any other: a URL whose
rows lack it answers 405.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.database.patience import Patience, waiting_at_most
from gateway.web.auditing import write_refusal
from gateway.web.bodies import check_expectation
from gateway.web.problems import Problem, method_not_allowed, problem_of
from gateway.web.responses import problem_response

ANSWER_SECONDS: Final = 8.0
"""How long a request of a person or a platform waits for the database, in all. A connection that does not
work is given up within 2 s more."""
PATIENCE: Final = web.RequestKey("patience", Patience)
"""Where a request keeps what it has waited for."""
_NAME: Final = re.compile(r"\{(\w+)\}")
Context = TypeVar("Context")
_Given_contra = TypeVar("_Given_contra", contravariant=True)
Refuse = Callable[[web.Request, Problem], web.StreamResponse]
"""Makes the answer to a request that is refused."""


class Row(Protocol[_Given_contra]):
    """What a row of a table has at least: a method, a path with names in braces, and what answers."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    async def handle(self, request: web.Request, context: _Given_contra, /) -> web.StreamResponse:
        """Answer a request."""
        ...


def _refuse_as_json(_request: web.Request, problem: Problem) -> web.StreamResponse:
    return problem_response(problem)


def make_application(
    routes: Iterable[Row[Context]],
    context: Context,
    logger: logging.Logger,
    *,
    mounted: Mapping[str, web.Application] | None = None,
    not_found: str = "This service has no such URL.",
    refuse: Refuse = _refuse_as_json,
    middlewares: Sequence[Middleware] = (),
    patience: float | None = None,
) -> web.Application:
    """Make an application of a table. Nothing is opened or started.

    mounted: other applications by the prefix of their URLs. not_found: what a caller reads at an unknown URL.
    refuse: makes the answer to a request that is refused. middlewares: what a request passes before it is
    answered; what they raise becomes a refusal as well. patience: seconds that a request waits for the
    database.
    """
    unknown = Problem("not_found", not_found)
    application = web.Application(middlewares=[_problems(logger, unknown, refuse, patience), *middlewares])
    application.on_response_prepare.append(_drop_server_field)
    by_path: dict[str, list[Row[Context]]] = {}
    for route in routes:
        by_path.setdefault(route.path, []).append(route)
    for path, rows in by_path.items():
        resource = application.router.add_resource(_NAME.sub(r"{\1:[^/]+}", path))
        for route in rows:
            resource.add_route(route.method, _handler(route, context), expect_handler=_expect)
        wrong = method_not_allowed(route.method for route in rows)
        resource.add_route("*", _refusing(wrong, refuse), expect_handler=_ignore_expectation)
    for prefix, part in (mounted or {}).items():
        application.add_subapp(prefix, part)
    # last, because the router tries resources of equal depth in the order of their registration
    application.router.add_route(
        "*", "/{rest:.*}", _refusing(unknown, refuse), expect_handler=_ignore_expectation
    )
    return application


def _handler(route: Row[Context], context: Context) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handle(request, context)

    return handle


def _refusing(problem: Problem, refuse: Refuse) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return refuse(request, problem)

    return answer


def _problems(logger: logging.Logger, unknown: Problem, refuse: Refuse, seconds: float | None) -> Middleware:
    @web.middleware
    async def answer_with_problems(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if seconds is None:
                return await handler(request)
            with waiting_at_most(seconds) as request[PATIENCE]:
                return await handler(request)
        except web.HTTPNotFound:  # a mounted application's bare prefix: its own routes begin with a slash
            return refuse(request, unknown)
        except Exception as error:
            problem = problem_of(error, logger)
            write_refusal(request, problem)
            return refuse(request, problem)

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

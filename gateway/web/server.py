"""An HTTP server on listening sockets: how a service accepts connections, and how it stops.

It uses aiohttp's `RequestHandler`, which is not public, for one thing: bytes that are no HTTP request must be
answered with a problem, too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.config.settings import Settings
from gateway.runtime.peers import PeerName, read_peer
from gateway.runtime.process import run_until_sigterm
from gateway.tokens.repositories import Repositories
from gateway.web.problems import internal_error, log_failure, malformed_request
from gateway.web.quick_response import quick_problem

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
STOP_SECONDS: Final = 10.0
"""How long requests under way may take after the server stops. The store's time-out is shorter."""
YOUNG_OBJECTS: Final = 10_000
"""How many objects are made before the garbage collector looks for cycles. A request makes no cycles."""

Serve = Callable[[Repositories, list[socket.socket], Settings], AbstractAsyncContextManager[object]]
"""Makes a service's server, which answers on the sockets while the context manager is entered."""


def run_service(
    name: str,
    serve: Serve,
    settings: Settings,
    sockets: list[socket.socket],
    ready: Callable[[], None],
    logger: logging.Logger,
) -> None:
    """Connect to the store and serve until SIGTERM, finish what is under way, and return.

    name: of the service, for the log. settings.redis_url must be set. ready: called once connections are
    accepted.
    """

    @asynccontextmanager
    async def open_service() -> AsyncIterator[None]:
        assert settings.redis_url is not None
        async with (
            Repositories.connect(settings.redis_url, settings.redis_timeout) as store,
            serve(store, sockets, settings),
        ):
            yield

    def started() -> None:
        ready()
        logger.info("the %s service serves", name)

    run_until_sigterm(settings, open_service, started, YOUNG_OBJECTS)


class Server:
    """Accepts connections while it is entered. Leaving it stops accepting and finishes what is under way.

    runner: of an application (web.AppRunner) or of a plain handler (web.ServerRunner), made with
    shutdown_timeout=STOP_SECONDS. logger: of the service.
    """

    def __init__(
        self,
        runner: web.BaseRunner,
        sockets: Sequence[socket.socket],
        settings: Settings,
        logger: logging.Logger,
    ) -> None:
        self._runner = runner
        self._sockets = sockets
        self._logger = logger
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": settings.keepalive_timeout,
            "max_line_size": settings.max_line,
            "max_field_size": settings.max_field,
            "max_headers": settings.max_headers,
        }
        self._listeners: list[asyncio.Server] = []

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()

        def connect() -> ProblemConnection:
            return ProblemConnection(server, self._logger, loop=loop, **self._options)

        for sock in self._sockets:
            listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._listeners.append(await listen(connect, sock=sock, backlog=BACKLOG))
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        await self._runner.cleanup()


class ProblemConnection(RequestHandler):
    """One connection of aiohttp whose own refusals, such as of bytes that are no HTTP, are problems.

    peer: the client's address (runtime/peers.py); a connection without one is ended unread.
    """

    __slots__ = ("_service_logger", "peer")

    def __init__(self, server: web.Server, service_logger: logging.Logger, **options: Any) -> None:
        super().__init__(server, **options)
        self._service_logger = service_logger
        self.peer: PeerName | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = read_peer(transport)
        if self.peer is None and self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp names it; it may quote a header, and so a key
    ) -> web.StreamResponse:
        """Make the response to a request that failed outside of every handler; the connection then closes."""
        if status < 500:
            problem = malformed_request()
        else:
            problem = internal_error()
            log_failure(exc or RuntimeError(f"aiohttp answers {status}"), self._service_logger)
        response = quick_problem(problem)
        response.force_close()
        return response

"""An HTTP server on listening sockets: how a service accepts connections, bounds them, and stops."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from aiohttp import web

from gateway.config.settings import Settings
from gateway.http.client_address import TrustedProxies
from gateway.runtime.descriptors import FOR_REQUESTS, descriptor_limit, share_descriptors
from gateway.runtime.process import run_until_sigterm
from gateway.runtime.tracing import Tracing
from gateway.tokens.repositories import Repositories
from gateway.web.attempts import ClientAttempts
from gateway.web.connection import LINGER_SECONDS, ConnectionLimits, ProblemConnection
from gateway.web.tracing import traced

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
STOP_SECONDS: Final = 10.0
"""How long requests under way may take after the server stops. The store's time-out is shorter."""
SWEEP_SECONDS: Final = 1.0
"""How often each connection is looked at. Where a time-out is short, this is done more often."""
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
            Repositories.connect(settings.redis_url, settings.redis_timeout, logger) as store,
            serve(store, sockets, settings),
        ):
            watch = asyncio.create_task(store.client.watch())
            try:
                yield
            finally:
                watch.cancel()

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
            "auto_decompress": False,  # a short body can be a long one
            "lingering_time": LINGER_SECONDS,
            "keepalive_timeout": settings.keepalive_timeout,
            "max_line_size": settings.max_line,
            "max_field_size": settings.max_field,
            "max_headers": settings.max_headers,
        }
        shares = share_descriptors(descriptor_limit(), settings.max_connections, 1, FOR_REQUESTS)
        self._limits = ConnectionLimits(
            settings.header_timeout,
            settings.stall_timeout,
            shares.connections,
            settings,
            ClientAttempts(settings.max_key_attempts, settings.trusted_proxies),
        )
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._tracing = Tracing.of(
            settings.traces_share,
            settings.traces_endpoint,
            f"download-gateway-{logger.name.rpartition('.')[2]}",
        )
        self._sweep_seconds = min(SWEEP_SECONDS, settings.header_timeout / 4, settings.stall_timeout / 4)
        self._connections: set[ProblemConnection] = set()
        self._listeners: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        if self._tracing is not None:
            server.request_handler = traced(
                server.request_handler, self._tracing, self._proxies, self._logger.name.rpartition(".")[2]
            )
        loop = asyncio.get_running_loop()

        def connect() -> ProblemConnection:
            return ProblemConnection(
                server, self._limits, self._connections, self._logger, loop=loop, **self._options
            )

        for sock in self._sockets:
            listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._listeners.append(await listen(connect, sock=sock, backlog=BACKLOG))
        self._sweep()
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        await self._runner.cleanup()
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._connections):
            connection.close_at_once()
        if self._tracing is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._tracing.stop)

    def _sweep(self) -> None:
        """Look at each connection, again and again."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        self._timer = loop.call_at(now + self._sweep_seconds, self._sweep)

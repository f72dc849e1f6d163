"""The mint service's process: its loop, its signals, its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

import uvloop
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from gateway.config.settings import Settings, base_url
from gateway.mint.context import MANIFEST_LIMIT, Context, Request
from gateway.mint.models import mint_model
from gateway.mint.problems import Problem, problem_answer
from gateway.mint.routes import Router, log_failure
from gateway.runtime import log
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories

_log = logging.getLogger("gateway.mint")

BACKLOG: Final = 1024
STOP_SECONDS: Final = 10.0
"""How long requests under way may finish after SIGTERM; none takes longer than the store's time-out."""
YOUNG_OBJECTS: Final = 10_000
"""Objects made before the collector looks for cycles, as in a worker."""
OPEN_FILES: Final = 16
"""Descriptors the storages may keep here: this service only looks at files, it does not serve them."""


def run(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Answer the API on the listening sockets until SIGTERM, finish what is under way, and return.

    settings.redis_url must be set. ready: called once connections are accepted.
    """
    log.configure(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sockets, ready))


async def _serve(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    assert settings.redis_url is not None
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    async with (
        Repositories.connect(settings.redis_url, settings.redis_timeout) as store,
        Service(build_context(settings, store), sockets, settings),
    ):
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(YOUNG_OBJECTS)
        ready()
        _log.info("the mint service serves")
        await stopping.wait()


def build_context(settings: Settings, store: Repositories) -> Context:
    """Build the parts from the settings."""
    return Context(
        store=store,
        storages=Storages(settings.storage, settings.data, OPEN_FILES),
        base=base_url(settings),
        default_ttl=settings.mint_default_ttl,
        max_ttl=settings.mint_max_ttl,
        mint_model=mint_model(settings.mint_max_ttl),
    )


class Service:
    """The API on its sockets, as an async context manager; leaving it finishes what is under way."""

    def __init__(self, context: Context, sockets: list[socket.socket], settings: Settings) -> None:
        self._context = context
        self._sockets = sockets
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": settings.keepalive_timeout,
            "max_line_size": settings.max_line,
            "max_field_size": settings.max_field,
            "max_headers": settings.max_headers,
        }
        router = Router(context)
        server = web.Server(router.answer, request_factory=_read)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        self._listeners: list[asyncio.Server] = []

    async def __aenter__(self) -> Service:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()

        def connect() -> ProblemHandler:
            return ProblemHandler(server, loop=loop, **self._options)

        for sock in self._sockets:
            listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._listeners.append(await listen(connect, sock=sock, backlog=BACKLOG))
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        await self._runner.cleanup()
        self._context.storages.close()


class ProblemHandler(RequestHandler):
    """aiohttp's connection, whose own errors (such as a request that is no HTTP) are problems too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp names it; it may quote a header, and so a key
    ) -> web.StreamResponse:
        """Answer and close."""
        if status < 500:
            problem = Problem("invalid_request", "This is not an HTTP/1.1 request that can be understood.")
        else:
            problem = Problem("internal_error", "It was logged; nothing is wrong with the request.")
            if exc is not None:
                log_failure(exc)
        answer = problem_answer(problem)
        answer.force_close()
        return answer


def _read(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> Request:
    """Make the request of what aiohttp parsed."""
    loop = asyncio.get_running_loop()
    return Request(message, payload, protocol, writer, task, loop, client_max_size=MANIFEST_LIMIT)

"""The mint service's process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from aiohttp import web

from gateway.config.settings import Settings, base_url
from gateway.mint.context import MintContext
from gateway.mint.dispatcher import Dispatcher
from gateway.mint.models import mint_model
from gateway.mint.routes import make_routes
from gateway.tokens.repositories import Repositories
from gateway.web.server import STOP_SECONDS, Server, run_service

_log = logging.getLogger("gateway.mint")


def run(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Answer requests on the listening sockets until SIGTERM, finish what is under way, and return.

    settings.redis_url must be set. ready: called once connections are accepted.
    """
    run_service("mint", serve, settings, sockets, ready, _log)


def serve(store: Repositories, sockets: list[socket.socket], settings: Settings) -> Server:
    """Make the server, which answers on the sockets while it is entered; leaving it finishes its requests."""
    model = mint_model(settings.mint_max_ttl)
    context = MintContext(store, base_url(settings), settings.mint_default_ttl, model)
    dispatcher = Dispatcher(make_routes(model), context, _log)
    runner = web.ServerRunner(web.Server(dispatcher.respond), shutdown_timeout=STOP_SECONDS)
    return Server(runner, sockets, settings, _log)

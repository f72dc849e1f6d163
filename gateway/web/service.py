"""The `web` process: the admin API on `dashboard.listen`, and health."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Final

from aiohttp import web

from gateway.config.settings import Settings
from gateway.runtime.process import run_until_sigterm
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories
from gateway.web.api.application import HEALTH_ROUTES, NOT_FOUND, PREFIX, make_api
from gateway.web.api.context import AdminContext
from gateway.web.api.products import MANIFEST_LIMIT
from gateway.web.application import make_application
from gateway.web.server import STOP_SECONDS, Server

_log = logging.getLogger("gateway.web")

YOUNG_OBJECTS: Final = 10_000
"""How many objects are made before the garbage collector looks for cycles."""
OPEN_FILES: Final = 16
"""Descriptors that the storages may keep open here: this process looks at files, and does not serve them."""


def run(settings: Settings, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Answer requests on the listening sockets until SIGTERM, finish what is under way, and return.

    settings.redis_url must be set. ready: called once connections are accepted.
    """

    def started() -> None:
        ready()
        _log.info("the web service serves")

    run_until_sigterm(settings, lambda: _open(settings, sockets), started, YOUNG_OBJECTS)


@asynccontextmanager
async def _open(settings: Settings, sockets: list[socket.socket]) -> AsyncIterator[None]:
    assert settings.redis_url is not None
    async with (
        Repositories.connect(settings.redis_url, settings.redis_timeout) as store,
        serve(store, sockets, settings),
    ):
        yield


@asynccontextmanager
async def serve(store: Repositories, sockets: list[socket.socket], settings: Settings) -> AsyncIterator[None]:
    """Answer on the sockets while the context is entered; leaving it finishes the requests under way."""
    with closing(Storages(settings.storage, settings.data, OPEN_FILES)) as storages:
        root = make_root(AdminContext(store, storages, settings.mint_max_ttl))
        runner = web.AppRunner(root, shutdown_timeout=STOP_SECONDS)
        async with Server(runner, sockets, settings, _log):
            yield


def make_root(context: AdminContext) -> web.Application:
    """Mount the parts of the process in one application."""
    return make_application(
        HEALTH_ROUTES,
        context,
        _log,
        mounted={PREFIX: make_api(context, _log)},
        not_found=NOT_FOUND,
        max_body=MANIFEST_LIMIT,
    )

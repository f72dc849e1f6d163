"""A running web service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from gateway.web.service import serve
from tests.support.control_plane import Api, ServiceProcess, listen, make_settings, run_api, run_service
from tests.support.store_server import StoreServer


@pytest.fixture
def settings(store: StoreServer, tmp_path: Path) -> Settings:
    return make_settings(store.url, tmp_path)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with run_api(serve, settings) as running:
        yield running


@pytest.fixture
async def portal(settings: Settings) -> AsyncIterator[Api]:
    """The service as strangers reach it, through what workers pass on."""
    sock = listen()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with run_api(partial(serve, passed=[sock]), settings) as running:
        yield replace(running, url=url)


@pytest.fixture
def service_process(settings: Settings) -> Iterator[ServiceProcess]:
    with run_service("gateway.web.service", settings) as running:
        yield running

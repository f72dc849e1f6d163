"""A running mint service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.config.settings import Settings
from gateway.mint.service import serve
from tests.support.control_plane import Api, ServiceProcess, make_settings, run_api, run_service
from tests.support.store_server import StoreServer


@pytest.fixture
def settings(store: StoreServer, tmp_path: Path) -> Settings:
    return make_settings(store.url, tmp_path)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with run_api(serve, settings) as running:
        yield running


@pytest.fixture
def service_process(settings: Settings) -> Iterator[ServiceProcess]:
    with run_service("gateway.mint.service", settings) as running:
        yield running

"""Workers that pass requests on, and stand-ins for the web process behind them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.passing import SHORT
from tests.support.plane import Plane
from tests.support.store_server import StoreServer
from tests.support.web_stand_in import WebStandIn


@pytest.fixture(scope="module")
def plane(shared_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("passing")
    running = Plane(folder, shared_store.url, {"cors_origins": ["*"], "trusted_proxies": ["127.0.0.2"]})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def web(plane: Plane) -> Iterator[WebStandIn]:
    with WebStandIn(plane.folder / "data" / "web.sock") as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def hasty(shared_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker with short time-outs."""
    running = Plane(tmp_path_factory.mktemp("hasty"), shared_store.url, SHORT)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def hasty_web(hasty: Plane) -> Iterator[WebStandIn]:
    with WebStandIn(hasty.folder / "data" / "web.sock") as standing_in:
        yield standing_in

"""A seller's machine on each kind of database, shared by the tests that only add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import ENGINES
from tests.support.nginx import Nginx
from tests.support.plane import Plane
from tests.support.programs import need
from tests.support.storefront import Storefront


@pytest.fixture(scope="session", params=ENGINES)
def storefront(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storefront]:
    """`up` on a database of its own. Its processes can be killed (tests/support/faults.py)."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Storefront(tmp_path_factory.mktemp(f"storefront-{request.param}"), server)
    try:
        yield made.open()
    finally:
        made.close()


@pytest.fixture
def start_nginx(make_plane: Callable[..., Plane], tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts a worker that trusts this machine, and nginx with an example before it."""
    running: list[Nginx] = []

    def make(example: str, changes: Mapping[str, str] | None = None, **options: Any) -> Nginx:
        need("nginx")
        plane = make_plane(trusted_proxies="127.0.0.1", **options)
        folder = tmp_path / f"nginx-{len(running)}"
        folder.mkdir()
        nginx = Nginx(example, folder, plane)
        running.append(nginx)
        nginx.start(changes or {})
        return nginx

    yield make
    for nginx in running:
        nginx.stop()
        assert "ct_" not in nginx.error_log.read_text()
        assert "ct_" not in (nginx.access_log.read_text() if nginx.access_log.exists() else "")

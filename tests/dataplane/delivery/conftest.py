"""How a client is connected to a server in the test's own event loop: by TCP, a unix socket or TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.plane import make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS contexts of the server and of its client."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(certificate, key)
    return ours, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(params=["tcp", "unix", "tls"])
def way(request: pytest.FixtureRequest, tmp_path: Path, certificate: Any) -> dict[str, Any]:
    """How the client is connected: arguments for the server of the test."""
    ways = {"tcp": {}, "unix": {"path": str(tmp_path / "gateway.sock")}, "tls": {"secure": certificate}}
    return ways[request.param]

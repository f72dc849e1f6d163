"""How a client is connected to a server in the test's own event loop: by TCP, a unix socket or TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificate
from tests.support.object_source import Make
from tests.support.relay_bench import CONTENT, arriving, lying


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


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "stored"
    path.write_bytes(bytes(1000) + CONTENT)
    return path


@pytest.fixture(params=["spliced", "copied", "files", "mixed"])
def make(request: pytest.FixtureRequest, stored: Path) -> Make:
    """In which form the storage hands out the bytes."""
    if request.param == "files":
        return lying(stored, 1_000_000)
    if request.param == "mixed":
        files, streams = lying(stored, 700_000), arriving(CONTENT, True)
        return lambda start, stop: (
            files(start, stop)
            if start // 700_000 % 2
            else streams(start, min(stop, start - start % 700_000 + 700_000))
        )
    return arriving(CONTENT, request.param == "spliced")

"""A running mint service: in the test's own loop, or as a process of its own where that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.config.settings import Settings
from gateway.mint.service import Service, build_context
from gateway.tokens.repository import TokenStore
from tests.support.mint import CONTENT, MAX_TTL, PROCESS, PUBLIC_URL, Api, ServiceProcess, listen, manifest
from tests.support.store_server import StoreServer


@pytest.fixture
def settings(store: StoreServer, tmp_path: Path) -> Settings:
    """The settings of a service with one storage, `main`, that holds a.bin of 100 bytes."""
    root = tmp_path / "files"
    root.mkdir()
    (root / "a.bin").write_bytes(CONTENT)
    return Settings.model_validate(
        {
            "redis_url": store.url,
            "public_url": PUBLIC_URL,
            "mint_max_ttl": MAX_TTL,
            "data": tmp_path / "data",
            "storage": {"main": {"root": root}},
        }
    )


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """A service with product `drums`: version 1.0.0 of one file of 100 bytes, and 2.0.0 of two."""
    sock = listen()
    assert settings.redis_url is not None
    async with (
        TokenStore.connect(settings.redis_url) as store,
        Service(build_context(settings, store), [sock], settings),
        aiohttp.ClientSession() as session,
    ):
        await store.register_manifest(manifest("drums", "1.0.0"))
        await store.register_manifest(manifest("drums", "2.0.0", 100, 50))
        minted = await store.create_key("tests")
        yield Api(f"http://127.0.0.1:{sock.getsockname()[1]}", session, minted.key, store)


@pytest.fixture
def service_process(settings: Settings) -> Iterator[ServiceProcess]:
    sock = listen()
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(sock.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[sock.fileno()],
        env=dict(os.environ),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(settings.model_dump_json().encode())
    process.stdin.close()
    assert process.stdout.read(1) == b"R"
    port = sock.getsockname()[1]
    sock.close()
    yield ServiceProcess(process, port)
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()

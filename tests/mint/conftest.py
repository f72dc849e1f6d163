"""A running mint service: in the test's own loop, or as a process of its own where that matters."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.settings import Settings
from gateway.manifest import Manifest, ManifestFile
from gateway.mint.service import Service, build_context
from gateway.tokens.repositories import Repositories
from tests.conftest import StoreServer

PUBLIC_URL = "https://downloads.example"
CONTENT = b"0123456789" * 10
MAX_TTL = 100_000

PROCESS = """
import os, socket, sys
from gateway.mint.service import run
from gateway.config.settings import Settings
settings = Settings.model_validate_json(sys.stdin.read())
run(settings, [socket.socket(fileno=int(sys.argv[1]))], lambda: os.write(1, b"R"))
"""


def listen() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def manifest(product: str, version: str, *sizes: int) -> Manifest:
    files = [
        ManifestFile(
            f"file {index}.bin", size, "application/zip", "0" * 64, "0" * 8, "main", f"{index}.bin", 7
        )
        for index, size in enumerate(sizes or (100,))
    ]
    return Manifest(product, version, tuple(files))


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


@dataclass
class Api:
    """The service's URL, a client for it, an admin key and the store behind."""

    url: str
    session: aiohttp.ClientSession
    key: str
    store: Repositories

    async def ask(
        self, method: str, path: str, json: Any = None, *, key: str | None = None, **options: Any
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, parsed body and response; with the admin key unless told otherwise ("" for none)."""
        headers = dict(options.pop("headers", {}))
        key = self.key if key is None else key
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if json is not None:
            options["json"] = json
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            return response.status, await response.json(content_type=None), response

    async def talk(self, request: bytes) -> bytes:
        """Everything that is answered to these bytes; their last request ends the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        writer.write(request)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """A service with product `drums`: version 1.0.0 of one file of 100 bytes, and 2.0.0 of two."""
    sock = listen()
    assert settings.redis_url is not None
    async with (
        Repositories.connect(settings.redis_url) as store,
        Service(build_context(settings, store), [sock], settings),
        aiohttp.ClientSession() as session,
    ):
        await store.products.register(manifest("drums", "1.0.0"))
        await store.products.register(manifest("drums", "2.0.0", 100, 50))
        minted = await store.keys.create("tests")
        yield Api(f"http://127.0.0.1:{sock.getsockname()[1]}", session, minted.key, store)


@dataclass
class ServiceProcess:
    """A mint service that is a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


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

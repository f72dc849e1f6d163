"""A running control-plane service (mint, web): in the test's own loop, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.config.settings import Settings
from gateway.manifest import Manifest, ManifestFile
from gateway.store.client_connection import Command
from gateway.tokens.repositories import Repositories
from gateway.web.authentication import key_command
from gateway.web.problems import TABLE
from tests.support.databases import new_database_url
from tests.support.raw_connection import PATIENCE_SECONDS, RawConnection
from tests.support.store_server import STORE_SECONDS

PUBLIC_URL = "https://downloads.example"
CONTENT = b"0123456789" * 10
MAX_TTL = 100_000

PROCESS = """
import importlib, os, socket, sys
from gateway.config.settings import Settings
settings = Settings.model_validate_json(sys.stdin.read())
service = importlib.import_module(sys.argv[1])
service.run(settings, [socket.socket(fileno=int(sys.argv[2]))], lambda: os.write(1, b"R"))
"""

Serve = Callable[[Repositories, list[socket.socket], Settings], AbstractAsyncContextManager[object]]


def listen() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


def make_settings(redis_url: str, folder: Path) -> Settings:
    """The settings of a service with one storage, `main`, that holds a.bin of 100 bytes."""
    root = folder / "files"
    root.mkdir()
    (root / "a.bin").write_bytes(CONTENT)
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "public_url": PUBLIC_URL,
            "mint_max_ttl": MAX_TTL,
            "redis_timeout": STORE_SECONDS,
            "data": folder / "data",
            "database_url": new_database_url(),
            "storage": {"main": {"root": root}},
        }
    )


def manifest(product: str, version: str, *sizes: int) -> Manifest:
    files = [
        ManifestFile(
            f"file {index}.bin", size, "application/zip", "0" * 64, "0" * 8, "main", f"{index}.bin", 7
        )
        for index, size in enumerate(sizes or (100,))
    ]
    return Manifest(product, version, tuple(files))


@dataclass
class Api:
    """The service's URL, a client for it, an admin key, and the repositories of its store."""

    url: str
    session: aiohttp.ClientSession
    key: str
    store: Repositories

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ask(
        self, method: str, path: str, json: Any = None, *, key: str | None = None, **options: Any
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, body (parsed if it is JSON) and response; with the admin key, or another ("" for none)."""
        headers = dict(options.pop("headers", {}))
        key = self.key if key is None else key
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if json is not None:
            options["json"] = json
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            is_csv = response.content_type == "text/csv"
            body = await (response.text() if is_csv else response.json(content_type=None))
            return response.status, body, response

    async def talk(self, request: bytes) -> bytes:
        """Send bytes whose last request ends the connection; return the whole answer."""
        connection = await RawConnection.open(self.port)
        connection.send(request)
        return await connection.until_ended()


@asynccontextmanager
async def run_api(serve: Serve, settings: Settings) -> AsyncIterator[Api]:
    """A service with product `drums`: version 1.0.0 of one file of 100 bytes, and 2.0.0 of two."""
    sock = listen()
    assert settings.redis_url is not None
    async with Repositories.connect(settings.redis_url, settings.redis_timeout) as store:
        # The web service records what it finds in the store.
        await store.products.register(manifest("drums", "1.0.0"))
        await store.products.register(manifest("drums", "2.0.0", 100, 50))
        minted = await store.keys.create("tests")
        async with serve(store, [sock], settings), aiohttp.ClientSession() as session:
            yield Api(url_of(sock), session, minted.key, store)


def ask(url: str, document: Any = None, key: str = "", method: str | None = None) -> tuple[int, Any]:
    """Status and parsed body, without an event loop."""
    data = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


async def prepare(redis_url: str) -> tuple[str, str]:
    """Make a product; return an admin key and the id of a token."""
    async with Repositories.connect(redis_url, STORE_SECONDS) as tokens:
        await tokens.products.register(manifest("drums", "1.0.0"))
        key = (await tokens.keys.create("tests")).key
        return key, (await tokens.tokens.create("drums", max_downloads=3)).record.id


def note_request(store: Repositories, key: str) -> asyncio.Event:
    """An event that is set once a service asks the store for an API key: a request is under way then."""
    asked = asyncio.Event()
    real = store.client._send

    async def send(commands: Sequence[Command]) -> list[Any]:
        if key_command(key) in commands:
            asked.set()
        return await real(commands)

    store.client._send = send
    return asked


async def read_store(redis_url: str) -> str:
    """Every key of the store and its value, as one text to search in."""
    async with Repositories.connect(redis_url, STORE_SECONDS) as tokens:
        keys = await tokens.client.call("KEYS", "*")
        return "\n".join([*keys, *[str(await tokens.client.call("DUMP", name)) for name in keys]])


@dataclass
class ServiceProcess:
    """A service that is a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> str:
        """End the process with SIGTERM; return its log."""
        self.process.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


@contextmanager
def run_service(module: str, settings: Settings) -> Iterator[ServiceProcess]:
    """The service of a module such as `gateway.web.service`, started and ready."""
    sock = listen()
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, module, str(sock.fileno())],
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
    try:
        yield ServiceProcess(process, port)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def check_problem(status: int, body: Any, content_type: str) -> None:
    """Assert that a refusal has the form that all refusals have."""
    assert content_type == "application/problem+json"
    assert set(body) - {"errors"} == {"type", "title", "status", "code", "detail", "error", "success"}
    assert (body["status"], TABLE[body["code"]].status, body["success"]) == (status, status, False)
    assert body["error"]


def fields_of(head: bytes) -> dict[str, str]:
    """The header fields of a response; asserts that each comes once."""
    lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines)
    return fields

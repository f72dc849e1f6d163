"""The mint service under test: in the test's own loop, or as a process of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.manifest import Manifest, ManifestFile
from gateway.tokens.repository import TokenStore

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


@dataclass
class Api:
    """The service's URL, a client for it, an admin key and the store behind."""

    url: str
    session: aiohttp.ClientSession
    key: str
    store: TokenStore

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


@dataclass
class ServiceProcess:
    """A mint service that is a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


PATH = "/api/generate-download-url"
MINIMAL = {"productId": "drums", "version": "1.0.0"}

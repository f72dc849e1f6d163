"""The mint service as a process: its signals, its store, what it leaves, and schemathesis against it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.mint.service import Service, build_context
from gateway.tokens.repositories import Repositories
from tests.conftest import StoreServer
from tests.mint.conftest import ServiceProcess, manifest

SCHEMATHESIS_SECONDS = 90


def ask(url: str, json_body: Any = None, key: str = "", method: str | None = None) -> tuple[int, Any]:
    data = None if json_body is None else json.dumps(json_body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=10
        ) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


async def prepare(store: StoreServer) -> tuple[str, str]:
    """A product, an admin key and the id of a token."""
    async with Repositories.connect(store.url) as tokens:
        await tokens.products.register(manifest("drums", "1.0.0"))
        key = (await tokens.keys.create("tests")).key
        return key, (await tokens.tokens.create("drums", max_downloads=3)).record.id


def test_sigterm_ends_it(service_process: ServiceProcess) -> None:
    assert ask(f"{service_process.url}/readyz") == (200, {"success": True, "status": "ok"})
    with socket.create_connection(
        ("127.0.0.1", service_process.port)
    ) as idle:  # an idle client holds nothing up
        started = time.monotonic()
        service_process.process.send_signal(signal.SIGTERM)
        assert service_process.process.wait(5) == 0
        assert time.monotonic() - started < 3
        assert idle.recv(1) == b""


async def test_what_is_under_way_is_finished(settings: Settings, own_store: StoreServer) -> None:
    settings = settings.model_copy(update={"redis_url": own_store.url, "redis_timeout": 5.0})
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    key, _ = await prepare(own_store)
    async with Repositories.connect(own_store.url, 5) as store, Repositories.connect(own_store.url) as other:
        async with Service(build_context(settings, store), [sock], settings):
            await other.client.call("CLIENT", "PAUSE", 700, "ALL")
            answer = asyncio.create_task(
                asyncio.to_thread(ask, f"http://127.0.0.1:{port}/api/products", None, key)
            )
            await asyncio.sleep(0.3)
        status, body = await answer
    assert (status, len(body["products"])) == (200, 1)


async def test_the_store_goes_and_comes_back(settings: Settings, own_store: StoreServer) -> None:
    settings = settings.model_copy(update={"redis_url": own_store.url})
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with (
        Repositories.connect(own_store.url) as store,
        Service(build_context(settings, store), [sock], settings),
    ):
        key, _ = await prepare(own_store)
        own_store.stop()
        for path, body in (("/readyz", None), ("/api/products", None), ("/api/generate-download-url", {})):
            started = time.monotonic()
            status, told = await asyncio.to_thread(ask, url + path, body, key)
            assert (status, told["code"]) == (503, "store_unavailable")
            assert time.monotonic() - started < 1
        assert (await asyncio.to_thread(ask, f"{url}/healthz"))[0] == 200
        own_store.start()
        key, _ = await prepare(own_store)
        assert (await asyncio.to_thread(ask, f"{url}/readyz"))[0] == 200
        status, _ = await asyncio.to_thread(
            ask, f"{url}/api/generate-download-url", {"productId": "drums"}, key
        )
        assert status == 200


@pytest.mark.parametrize("end", ["silence", "death"])
async def test_a_store_that_fails_a_request_under_way(
    settings: Settings, own_store: StoreServer, end: str
) -> None:
    timeout = 0.3 if end == "silence" else 30
    settings = settings.model_copy(update={"redis_url": own_store.url, "redis_timeout": timeout})
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/api/generate-download-url"
    key, _ = await prepare(own_store)
    async with (
        Repositories.connect(own_store.url, timeout) as store,
        Service(build_context(settings, store), [sock], settings),
    ):
        assert (await asyncio.to_thread(ask, url, {"productId": "drums"}, key))[0] == 200
        async with Repositories.connect(own_store.url, 5) as other:
            await other.client.call("CLIENT", "PAUSE", 20_000, "ALL")
        waiting = asyncio.create_task(asyncio.to_thread(ask, url, {"productId": "drums"}, key))
        if end == "death":
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own_store.stop)
        async with asyncio.timeout(10):
            status, told = await waiting
        assert (status, told["code"]) == (503, "store_unavailable")


async def test_a_unix_socket(settings: Settings, store: StoreServer, tmp_path: Path) -> None:
    path = str(tmp_path / "mint.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with (
        Repositories.connect(store.url) as tokens,
        Service(build_context(settings, tokens), [sock], settings),
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200")
        writer.close()


def test_no_secret_is_left_anywhere(store: StoreServer, service_process: ServiceProcess) -> None:
    """Neither a token nor a key is in the store or in the log, after requests of every kind."""
    key, _ = asyncio.run(prepare(store))
    secrets = [key]
    wrong = "gk_" + "w" * 43
    for index in range(20):
        body: dict[str, Any] = {"productId": "drums", "metadata": {"n": index}, "maxDownloads": 1 + index}
        request = urllib.request.Request(
            f"{service_process.url}/api/generate-download-url",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
            | ({"Idempotency-Key": f"order-{index}"} if index % 2 else {}),
        )
        with urllib.request.urlopen(request) as answer:
            secrets.append(json.load(answer)["downloadToken"])
    token = secrets[-1]
    refused: list[tuple[str, Any]] = [
        (f"/api/downloads/tokens/{token}", None),
        (f"/api/products/{token}", {"name": token}),
        ("/api/generate-download-url", {"productId": token}),
        ("/api/generate-download-url", {token: 1, "version": wrong}),
        (f"/{token}?token={token}", None),
    ]
    for path, wanted in refused:
        for used in (key, wrong, ""):
            status, told = ask(service_process.url + path, wanted, used)
            assert status >= 400
            assert token not in str(told)
            assert key not in str(told)

    async def read_all() -> str:
        async with Repositories.connect(store.url) as tokens:
            keys = await tokens.client.call("KEYS", "*")
            return "\n".join([*keys, *[str(await tokens.client.call("DUMP", name)) for name in keys]])

    held = asyncio.run(read_all())
    service_process.process.terminate()
    assert service_process.process.wait(5) == 0
    assert service_process.process.stderr is not None
    log = service_process.process.stderr.read().decode()
    assert "serves" in log
    for secret in (*secrets, wrong):
        for text in (held, log):
            assert secret not in text
            assert secret[3:] not in text


def test_schemathesis_finds_nothing(
    store: StoreServer, service_process: ServiceProcess, tmp_path: Path
) -> None:
    """Every check of schemathesis, on requests made from the service's own document."""
    key, token = asyncio.run(prepare(store))
    command = shutil.which("st", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert command is not None
    tested = subprocess.run(
        [
            *(
                command,
                "run",
                f"{service_process.url}/api/openapi.json",
                "--header",
                f"Authorization: Bearer {key}",
            ),
            # a revoked token is still shown, as revoked, until it expires: DELETE does not make it unknown
            *(
                "--checks",
                "all",
                "--exclude-checks",
                "use_after_free",
                "--max-examples",
                os.environ.get("SCHEMATHESIS_EXAMPLES", "25"),
            ),
            *("--seed", os.environ.get("SCHEMATHESIS_SEED", "1"), "--generation-database", "none"),
            *("--continue-on-failure", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {
            "SCHEMATHESIS_HOOKS": "tests.mint.schemathesis_hooks",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "KNOWN_TOKEN": token,
        },
        capture_output=True,
        text=True,
        timeout=SCHEMATHESIS_SECONDS,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "12 selected" in tested.stdout

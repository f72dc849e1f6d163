"""The mint service as a process: signals, faults of the store, no secret left behind, and schemathesis."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.mint.service import serve
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import (
    ServiceProcess,
    ask,
    listen,
    note_request,
    prepare,
    read_store,
    url_of,
)
from tests.support.schemathesis import run_schemathesis
from tests.support.store_server import STORE_SECONDS, StoreServer, send_signal
from tests.support.timing import lasts

MINT = "/api/generate-download-url"
MINIMAL = {"productId": "drums"}


@pytest.mark.timing
def test_sigterm_ends_the_process(service_process: ServiceProcess) -> None:
    assert ask(f"{service_process.url}/readyz") == (200, {"success": True, "status": "ok"})
    with socket.create_connection(
        ("127.0.0.1", service_process.port)
    ) as idle:  # an idle client holds nothing up
        with lasts(most=3):
            service_process.process.send_signal(signal.SIGTERM)
            assert service_process.process.wait(60) == 0
        assert idle.recv(1) == b""


async def test_a_request_under_way_is_finished(settings: Settings, own_store: StoreServer) -> None:
    settings = settings.model_copy(update={"redis_url": own_store.url})
    sock = listen()
    url = url_of(sock)
    key, _ = await prepare(own_store.url)
    async with Repositories.connect(own_store.url, STORE_SECONDS) as store:
        asked = note_request(store, key)
        async with serve(store, [sock], settings):
            send_signal(own_store, signal.SIGSTOP)
            answer = asyncio.create_task(asyncio.to_thread(ask, url + MINT, MINIMAL, key))
            async with asyncio.timeout(30):
                await asked.wait()
            asyncio.get_running_loop().call_later(0.3, send_signal, own_store, signal.SIGCONT)
        status, body = await answer
    assert (status, body["version"]) == (200, "1.0.0")


@pytest.mark.timing
async def test_without_the_store_it_answers_503_and_recovers(
    settings: Settings, own_store: StoreServer
) -> None:
    settings = settings.model_copy(update={"redis_url": own_store.url})
    sock = listen()
    url = url_of(sock)
    async with Repositories.connect(own_store.url, STORE_SECONDS) as store, serve(store, [sock], settings):
        key, _ = await prepare(own_store.url)
        own_store.stop()
        for path, body in (("/readyz", None), (MINT, {})):
            with lasts(most=1):
                status, problem = await asyncio.to_thread(ask, url + path, body, key)
            assert (status, problem["code"]) == (503, "store_unavailable")
        assert (await asyncio.to_thread(ask, f"{url}/healthz"))[0] == 200
        own_store.start()
        key, _ = await prepare(own_store.url)
        assert (await asyncio.to_thread(ask, f"{url}/readyz"))[0] == 200
        status, _ = await asyncio.to_thread(ask, url + MINT, MINIMAL, key)
        assert status == 200


@pytest.mark.parametrize("end", ["silence", "death"])
async def test_a_store_that_fails_a_request_under_way(
    settings: Settings, own_store: StoreServer, end: str
) -> None:
    timeout = 0.3 if end == "silence" else 30
    settings = settings.model_copy(update={"redis_url": own_store.url, "redis_timeout": timeout})
    sock = listen()
    url = url_of(sock) + MINT
    key, _ = await prepare(own_store.url)
    async with Repositories.connect(own_store.url, timeout) as store, serve(store, [sock], settings):
        async with asyncio.timeout(60):  # a busy machine, too, may take longer than the time-out
            while (await asyncio.to_thread(ask, url, MINIMAL, key))[0] != 200:
                pass
        async with Repositories.connect(own_store.url, STORE_SECONDS) as other:
            await other.client.call("CLIENT", "PAUSE", 20_000, "ALL")
        waiting = asyncio.create_task(asyncio.to_thread(ask, url, MINIMAL, key))
        if end == "death":
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own_store.stop)
        async with asyncio.timeout(60):
            status, problem = await waiting
        assert (status, problem["code"]) == (503, "store_unavailable")


async def test_a_unix_socket(settings: Settings, store: StoreServer, tmp_path: Path) -> None:
    path = str(tmp_path / "mint.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with Repositories.connect(store.url, STORE_SECONDS) as tokens, serve(tokens, [sock], settings):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200")
        writer.close()


def test_no_secret_is_left_anywhere(store: StoreServer, service_process: ServiceProcess) -> None:
    """Neither a token nor a key is in the store or in the log, after requests of every kind."""
    key, _ = asyncio.run(prepare(store.url))
    secrets = [key]
    wrong = "gk_" + "w" * 43
    for index in range(20):
        body: dict[str, Any] = {"productId": "drums", "metadata": {"n": index}, "maxDownloads": 1 + index}
        request = urllib.request.Request(
            service_process.url + MINT,
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
        (MINT, {"productId": token}),
        (MINT, {token: 1, "version": wrong}),
        (f"/{token}?token={token}", None),
    ]
    for path, document in refused:
        for used in (key, wrong, ""):
            status, problem = ask(service_process.url + path, document, used)
            assert status >= 400
            assert token not in str(problem)
            assert key not in str(problem)
    held = asyncio.run(read_store(store.url))
    log = service_process.stop()
    assert "serves" in log
    for secret in (*secrets, wrong):
        for text in (held, log):
            assert secret not in text
            assert secret[3:] not in text


@pytest.mark.slow
def test_schemathesis_finds_nothing(
    store: StoreServer, service_process: ServiceProcess, tmp_path: Path
) -> None:
    """Every check of schemathesis, on requests made from the service's own document."""
    key, token = asyncio.run(prepare(store.url))
    tested = run_schemathesis(service_process.url, key, token, tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "3 selected" in tested.stdout

"""Mint service and admin API while their store fails over, and when it cannot take writes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.mint.service import serve as serve_mint
from gateway.web.service import serve as serve_web
from tests.support.control_plane import Api, Serve, make_settings, run_api
from tests.support.failover import run_failover
from tests.support.store_server import StoreServer

SERVICES: dict[str, Serve] = {"mint": serve_mint, "web": serve_web}
REQUESTS: dict[str, tuple[str, str, Any]] = {
    "mint": ("POST", "/api/generate-download-url", {"productId": "drums", "version": "1.0.0"}),
    "web": ("GET", "/api/products", None),
}


async def until_status(api: Api, request: tuple[str, str, Any], status: int) -> Any:
    async with asyncio.timeout(60):
        while True:
            found, body, _ = await api.ask(*request)
            if found == status:
                return body
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_leaves_a_demoted_server(
    service: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that only reads: an API key that was revoked on the new primary is refused."""
    caplog.set_level(logging.WARNING)
    with run_failover() as pair:
        settings = make_settings(pair.url, tmp_path).model_copy(update={"redis_timeout": 2.0})
        async with run_api(SERVICES[service], settings) as api:
            await until_status(api, REQUESTS[service], 200)
            pair.promote()
            await until_status(api, REQUESTS[service], 503)
            problem = await until_status(api, ("GET", "/readyz", None), 503)
            assert "READONLY" in problem["detail"]
            [key] = [key for key in pair.new.scan_iter() if key.startswith("dg:key:")]
            pair.new.delete(key)
            for _ in range(10):
                assert (await api.ask(*REQUESTS[service]))[0] == 503
            pair.turn()
            await until_status(api, ("GET", "/readyz", None), 200)
            while (status := (await api.ask(*REQUESTS[service]))[0]) == 503:
                """A busy machine's store may be late once more."""
            assert status == 401


@pytest.mark.parametrize("service", SERVICES)
async def test_readyz_says_why_a_full_store_is_not_ready(
    service: str, own_store: StoreServer, tmp_path: Path
) -> None:
    async with run_api(SERVICES[service], make_settings(own_store.url, tmp_path)) as api:
        assert (await api.ask("GET", "/readyz"))[0] == 200
        with redis.Redis.from_url(own_store.url) as admin:
            admin.config_set("maxmemory", 1)
            status, problem, _ = await api.ask("GET", "/readyz")
            assert (status, "OOM" in problem["detail"]) == (503, True)
            admin.config_set("maxmemory", 0)
        assert (await api.ask("GET", "/readyz"))[0] == 200

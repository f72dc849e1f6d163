"""A revoked link, and one of a refunded order, end their downloads on two gateways that share a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime.metrics import DOWNLOADS_RUNNING
from gateway.web.service import serve
from tests.support.control_plane import Api, make_settings, run_api
from tests.support.databases import Databases, url_of
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import until

BIG = 64 << 20
PLACED = "2026-01-02T03:04:05.000Z"


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[tuple[Plane, Plane]]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with run_plane(tmp_path / "one") as one:
        other = Plane(tmp_path / "other", one.redis_url)
        try:
            other.start()
            yield one, other
            other.stop()
        finally:
            other.kill()


def running(gateways: tuple[Plane, ...]) -> int:
    return sum(worker.counters.values()[DOWNLOADS_RUNNING] for plane in gateways for worker in plane.workers)


async def put_order(api: Api, product: str, status: str) -> Any:
    order = {
        "customer": {"email": "jo@example.com"},
        "placedAt": PLACED,
        "status": status,
        "lines": [{"id": "1", "productId": product}],
    }
    code, answer, _ = await api.ask("PUT", "/api/orders/script/4711", order)
    assert code in (200, 201), answer
    return answer["order"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["revoked", "refunded"])
async def test_running_downloads_end(
    gateways: tuple[Plane, Plane], databases: Databases, tmp_path: Path, end: str
) -> None:
    one, other = gateways
    published = one.publish(b"x", names=["a.bin"], sparse=BIG)
    product = published.manifest.product
    (other.root / published.file.key).hardlink_to(published.path)
    location = await databases.make()
    (tmp_path / "web").mkdir()
    settings = make_settings(one.redis_url, tmp_path / "web")
    async with run_api(serve, settings.model_copy(update={"database_url": url_of(location)})) as api:
        await api.store.products.register(published.manifest)
        order = await put_order(api, product, "paid")
        [entitlement] = order["lines"][0]["entitlementIds"]
        _, minted, _ = await api.ask("POST", f"/api/entitlements/{entitlement}/download-url", {})
        link = f"/download?token={minted['downloadToken']}"
        clients = [plane.connect(receive_buffer=16384) for plane in (*gateways, *gateways)]
        for client in clients:
            client.send(request(link))
            assert (await asyncio.to_thread(client.read_head)).status == 200
        await until(lambda: running(gateways) == 4)
        if end == "revoked":
            _, listed, _ = await api.ask("GET", f"/api/downloads/tokens?productId={product}")
            [token] = listed["tokens"]
            code, _, _ = await api.ask("DELETE", f"/api/downloads/tokens/{token['tokenId']}")
            assert code in (200, 204)
        else:
            await put_order(api, product, "refunded")
        await until(lambda: running(gateways) == 0)
        for client in clients:
            assert len(client.read_until_closed()) < BIG
            client.socket.close()
        assert {(await asyncio.to_thread(plane.get, link)).status for plane in gateways} == {403}
    await databases.remove(location)

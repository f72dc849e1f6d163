"""Whether a connection works: what came last, what was wrong with it, and whether its API takes the key."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.connections.health import Health, Result, ask_api, examine, judge
from gateway.connections.inbox import Stored
from gateway.connections.repository import Connection
from gateway.database.engine import Database
from tests.support.connections import Shops
from tests.support.platform_api import PlatformServer
from tests.support.rows import each_row

NOW = 1_790_000_000_000
HOUR = 3_600_000
SHOP = Connection("0" * 26, "woocommerce", "shop", True, 1, ("secret",))
EVENT = Stored("1" * 26, "d", "order.updated", "applied", None, NOW - HOUR)


def said(health: Health) -> dict[str, tuple[Result, str, str]]:
    return {each.check: (each.result, each.text, each.mend) for each in judge(health, NOW)}


@each_row(
    ("changes", "check", "result", "text"),
    [
        ({}, "events", Result.OK, "order.updated, 60 minutes ago: applied"),
        ({"last": None}, "events", Result.WARN, "none has come yet"),
        ({"last": replace(EVENT, received=NOW - 31 * 24 * HOUR)}, "events", Result.WARN, "31 days ago"),
        ({"last": replace(EVENT, state="failed", error="Why.")}, "events", Result.FAIL, "failed (Why)"),
        ({"last": replace(EVENT, state="ignored", error="test")}, "events", Result.OK, "ignored (test)"),
        ({"failed": 2}, "inbox", Result.WARN, "2 events could not be applied"),
        ({"unmapped": 1}, "mappings", Result.WARN, "1 item that nobody has mapped"),
        ({"connection": replace(SHOP, secrets=())}, "secrets", Result.FAIL, "no signing secret"),
        ({"connection": replace(SHOP, live=False)}, "secrets", Result.OK, "takes test events only"),
        (
            {"connection": replace(SHOP, refused=3, last_refused=NOW - 5000, last_error="it is wrong")},
            "signatures",
            Result.FAIL,
            "3 deliveries refused, the last one 5 seconds ago: it is wrong",
        ),
        (
            {
                "connection": replace(
                    SHOP, refused=1, last_refused=NOW - 9000, last_error="it is wrong", last_event=NOW - 8000
                )
            },
            "signatures",
            Result.WARN,
            "1 delivery refused, the last one 9 seconds ago: it is wrong. Good ones have come since",
        ),
    ],
)
def test_what_is_said(changes: dict[str, Any], check: str, result: Result, text: str) -> None:
    health = replace(Health(SHOP, EVENT, 0, 0, 0), **changes)
    found, words, mend = said(health)[check]
    assert (found, text in words) == (result, True), words
    assert bool(mend) == (result is Result.FAIL or (result is Result.WARN and "since" not in words))


async def test_deliveries_leave_what_is_needed_to_tell(database: Database, tmp_path: Path) -> None:
    shops = Shops(database, tmp_path)
    shop = await shops.connect("woocommerce")

    async def look() -> dict[str, Result]:
        await shops.receiver.write_counts()
        connection = await shops.connections.get(shop.id)
        assert connection is not None
        health = await examine(database, connection, asks=False)
        return {each.check: each.result for each in health.remarks}

    assert await look() == {
        "secrets": Result.OK, "events": Result.WARN, "signatures": Result.OK, "inbox": Result.OK,
    }  # fmt: skip
    answer = await shops.deliver(
        shop, {"id": 1}, {"x-wc-webhook-topic": "order.updated"}, secret="another one"
    )
    assert answer.status == 401
    assert (await look())["signatures"] is Result.FAIL
    order = {
        "id": 7, "number": "7", "status": "completed", "date_created_gmt": "2026-01-01T00:00:00",
        "date_modified_gmt": "2026-01-01T00:00:00", "billing": {"email": "jo@example.com"},
        "line_items": [{"id": 1, "product_id": 5, "variation_id": 0, "sku": "DR-1", "quantity": 1}],
    }  # fmt: skip
    received = time.time_ns() // 1_000_000
    await shops.deliver(shop, order, {"x-wc-webhook-topic": "order.updated"}, received=received)
    await shops.apply()
    found = await look()
    assert (found["events"], found["mappings"]) == (Result.OK, Result.WARN)


@pytest.mark.parametrize(
    ("answer", "result", "text"),
    [
        ([], Result.OK, "accepts it"),
        (web.json_response({}, status=401), Result.FAIL, "the API key is not valid"),
        (web.json_response({}, status=403), Result.FAIL, "may not read this"),
        (web.json_response([{"id": "x"}]), Result.OK, "accepts it"),
        (web.Response(text="<html>", content_type="text/html"), Result.FAIL, "not what it promises"),
        (web.Response(status=302, headers={"Location": "http://x/"}), Result.FAIL, "leads elsewhere"),
        (web.json_response({}, status=503, headers={"Retry-After": "60"}), Result.WARN, "answered 503"),
    ],
)
async def test_the_platform_is_asked_whether_it_takes_the_key(answer: Any, result: Result, text: str) -> None:
    server = PlatformServer({"/wp-json/wc/v3/orders": answer})
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        connection = replace(SHOP, api_key="ck_1:cs_1", shop=address)
        remark = await ask_api(connection, allow_loopback=True)
    finally:
        await runner.cleanup()
    assert (remark.result, text in remark.text) == (result, True), remark
    assert "cs_1" not in repr(remark)


async def test_who_is_not_asked() -> None:
    for connection in (SHOP, replace(SHOP, kind="polar", api_key="x" * 20)):
        assert (await ask_api(connection, allow_loopback=False)).result is Result.SKIP
    plain = replace(SHOP, api_key="ck_1:cs_1", shop="http://shop.example")
    remark = await ask_api(plain, allow_loopback=False)
    assert (remark.result, "https" in remark.text) == (Result.FAIL, True)

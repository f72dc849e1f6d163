"""/hooks over HTTP, and /api/connections: signed webhooks are taken, looked at and replayed."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.platforms.interface import MAX_BODY
from gateway.web.service import serve
from tests.support.control_plane import PUBLIC_URL, Api, run_api
from tests.support.databases import Databases, url_of
from tests.support.webhooks import PING, SECRETS, fixture, signature

EVENT = json.dumps(fixture("stripe", "refund_created")).encode()


@pytest.fixture
async def api(settings: Settings, databases: Databases) -> AsyncIterator[Api]:
    location = await databases.make()
    settings = settings.model_copy(update={"database_url": url_of(location)})
    async with run_api(serve, settings) as found:
        yield found
    await databases.remove(location)


async def connect(api: Api, kind: str = "stripe", **options: Any) -> dict[str, Any]:
    body = {"kind": kind, "name": kind, "secrets": [SECRETS[kind]], **options}
    status, answer, _ = await api.ask("POST", "/api/connections", body)
    assert status == 201, answer
    found: dict[str, Any] = answer["connection"]
    return found


async def deliver(
    api: Api, connection: dict[str, Any], body: Any = EVENT, *, signs: bytes = EVENT, **headers: str
) -> tuple[int, str]:
    now = int(time.time())
    kind = connection["kind"]
    signed = {**signature(kind, signs, SECRETS[kind], now), **headers}
    path = connection["url"].removeprefix(PUBLIC_URL)
    async with api.session.post(api.url + path, data=body, headers=signed) as response:
        return response.status, await response.text()


async def events(api: Api, connection: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    status, answer, _ = await api.ask("GET", f"/api/connections/{connection['id']}/events{query}")
    assert status == 200
    found: list[dict[str, Any]] = answer["events"]
    return found


async def test_secrets_are_never_answered(api: Api) -> None:
    made = await connect(api, apiKey="rk_live_12345678")
    assert made["url"] == f"{PUBLIC_URL}/hooks/{made['id']}"
    assert (made["kind"], made["name"], made["live"], made["secrets"], made["hasApiKey"]) == (
        *("stripe", "stripe", True, 1, True),
    )
    _, shown, _ = await api.ask("GET", f"/api/connections/{made['id']}")
    _, listed, _ = await api.ask("GET", "/api/connections")
    assert (shown["connection"], listed["connections"]) == (made, [made])
    for answer in (made, shown, listed):
        assert not any(text in json.dumps(answer) for text in (SECRETS["stripe"], "rk_live"))


async def test_a_signed_webhook_is_taken_shown_and_replayed(api: Api) -> None:
    shop = await connect(api)
    assert await deliver(api, shop) == (200, "")
    assert await deliver(api, shop) == (200, "")
    async with asyncio.timeout(60):
        while (found := await events(api, shop))[0]["state"] == "received":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    [event] = found
    assert (event["dedupeKey"], event["type"], event["state"]) == ("evt_1Refund", "refund.created", "waiting")
    assert await events(api, shop, "?state=failed&limit=1") == []
    path = f"/api/connections/{shop['id']}/events/{event['id']}/replay"
    status, answer, _ = await api.ask("POST", path)
    assert (status, answer) == (202, {"success": True})
    status, answer, _ = await api.ask("POST", path.replace(event["id"], "x" * 26))
    assert (status, answer["code"]) == (404, "event_unknown")


async def test_what_waits_is_applied_once_its_item_is_mapped(api: Api) -> None:
    shop = await connect(api, "shopify")
    order = fixture("shopify", "order_paid")
    bought = json.dumps(order | {"line_items": order["line_items"][:1]}).encode()
    topic = {"x-shopify-topic": "orders/paid"}
    assert (await deliver(api, shop, bought, signs=bought, **topic))[0] == 200

    async def becomes(state: str) -> None:
        async with asyncio.timeout(60):
            while (await events(api, shop))[0]["state"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await becomes("waiting")
    _, answer, _ = await api.ask("GET", "/api/unmapped")
    mappings = [
        {"key": item["key"], "value": item["value"], "products": [{"productId": "drums", "scope": "all"}]}
        for item in answer["unmapped"]
    ]
    assert mappings
    path = f"/api/connections/{shop['id']}/mappings"
    status, answer, _ = await api.ask("PUT", path, {"mappings": mappings})
    assert status == 200, answer.get("errors", answer)
    await becomes("applied")
    _, answer, _ = await api.ask("GET", "/api/unmapped")
    assert answer["unmapped"] == []


async def test_what_is_refused(api: Api) -> None:
    shop = await connect(api)
    assert (await deliver(api, shop, EVENT + b" "))[0] == 401
    assert (await deliver(api, {**shop, "url": f"{PUBLIC_URL}/hooks/nobody"}))[0] == 404
    assert (await deliver(api, shop, io.BytesIO(b"x" * (MAX_BODY + 1))))[0] == 413

    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield EVENT
        yield b" " * size

    assert (await deliver(api, shop, chunks(MAX_BODY)))[0] == 413
    assert (await deliver(api, shop, chunks(0)))[0] == 200
    status, _, _ = await api.ask("GET", shop["url"].removeprefix(PUBLIC_URL), key="")
    assert status == 405


async def test_gumroads_secret_is_in_the_url(api: Api) -> None:
    shop = await connect(api, "gumroad")
    for secret, status in ((SECRETS["gumroad"], 200), ("wrong-secret", 401)):
        assert (await deliver(api, {**shop, "url": f"{shop['url']}/{secret}"}, PING))[0] == status
    assert (await deliver(api, shop, PING))[0] == 401


async def test_woocommerce_greets_and_wants_exactly_200(api: Api) -> None:
    shop = await connect(api, "woocommerce")
    path = shop["url"].removeprefix(PUBLIC_URL)
    async with api.session.post(api.url + path, data={"webhook_id": "7"}) as response:
        assert response.status == 200
    assert await events(api, shop) == []


async def test_changes_and_removal(api: Api) -> None:
    shop = await connect(api)
    path = f"/api/connections/{shop['id']}"
    change = {"secrets": ["the-new-secret", SECRETS["stripe"]], "live": False, "name": "Tests"}
    status, answer, _ = await api.ask("PATCH", path, change)
    assert (status, answer["connection"]["secrets"], answer["connection"]["live"]) == (200, 2, False)
    assert (await deliver(api, shop))[0] == 200
    assert (await api.ask("DELETE", path))[0] == 204
    assert (await api.ask("GET", path))[0] == 404
    assert (await deliver(api, shop))[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "amazon"}, "kind"),
        ({"secrets": ["short"]}, "secrets[0]"),
        ({"secrets": ["x" * 20] * 5}, "secrets"),
        ({"apiKey": "with space in it"}, "apiKey"),
        ({"kind": "polar", "apiKey": "some-api-key"}, "apiKey"),
        ({"kind": "woocommerce", "apiKey": "some-api-key"}, "shopUrl"),
        ({"kind": "woocommerce", "apiKey": "some-api-key", "shopUrl": "http://10.0.0.1"}, "shopUrl"),
        ({"kind": "shopify", "shopUrl": "ftp://acme.example"}, "shopUrl"),
        ({"name": ""}, "name"),
        ({"live": "yes"}, "live"),
        ({"more": 1}, "more"),
    ],
)
async def test_a_fault_names_the_field(api: Api, body: dict[str, Any], field: str) -> None:
    status, answer, _ = await api.ask("POST", "/api/connections", {"kind": "stripe", "name": "x", **body})
    assert (status, answer["success"]) == (400, False)
    assert [fault["field"] for fault in answer["errors"]] == [field]


async def test_two_connections_of_one_name(api: Api) -> None:
    await connect(api)
    status, answer, _ = await api.ask("POST", "/api/connections", {"kind": "polar", "name": "stripe"})
    assert (status, answer["code"]) == (409, "connection_exists")


async def test_the_api_needs_a_key(api: Api) -> None:
    assert (await api.ask("GET", "/api/connections", key=""))[0] == 401

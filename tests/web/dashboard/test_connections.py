"""Connections, step by step: made, given secrets, what came and became of it, unmapped items, removed."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest

from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.registry import PLATFORMS
from gateway.web.dashboard import unmapped
from gateway.web.dashboard.connections import MOST_SHOWN, readable
from gateway.web.dashboard.platform_steps import GUIDES
from tests.support.control_plane import PUBLIC_URL, Api, read_store
from tests.support.dashboard import Answer, Visitor, check_markup
from tests.support.webhooks import SECRETS, fixture, signature

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"
KIND = "woocommerce"


async def connect(owner: Visitor, name: str = "shop", kind: str = KIND) -> str:
    """Make a connection by the pages, and give it its secret; returns its path."""
    answer = await owner.post(f"/connect/{kind}", name=name, mode="live")
    assert answer.status == 303, answer.text
    path = answer.location
    page = await owner.get(path)
    assert f"{PUBLIC_URL}/hooks/{path.rpartition('/')[2]}" in page.text
    page = await owner.send(path, secrets=SECRETS[kind])
    assert "The connection is changed." in page.notice
    assert SECRETS[kind] not in page.text
    return path


async def deliver(api: Api, path: str, document: Any, secret: str = "") -> int:
    body = json.dumps(document).encode()
    headers = signature(KIND, body, secret or SECRETS[KIND], int(time.time()))
    url = f"{api.url}/hooks/{path.rpartition('/')[2]}"
    async with api.session.post(url, data=body, headers=headers) as response:
        return response.status


async def until(visitor: Visitor, path: str, text: str) -> Answer:
    """Reload a page until it has a text."""
    for _ in range(300):
        page = await visitor.get(path)
        if text in page.text:
            return page
        await asyncio.sleep(0.1)
    raise AssertionError(f"{text!r} does not appear: {page.text}")


def order(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = fixture(KIND, "order_updated")
    return {**document, **changes}


def test_every_platform_has_its_steps() -> None:
    assert GUIDES.keys() == PLATFORMS.keys()
    for kind, client in CLIENTS.items():
        assert GUIDES[kind].api_key, kind
        assert GUIDES[kind].shop == client.needs_shop, kind


@pytest.mark.slow
async def test_each_platform_can_be_connected(owner: Visitor) -> None:
    assert "No shop is connected" in (await owner.get("/connections")).text
    chosen = await owner.get("/connect")
    for kind, platform in PLATFORMS.items():
        assert platform.title in chosen.text
        assert (await owner.get(f"/connect/{kind}")).status == 200
        page = await owner.send(f"/connect/{kind}", name=f"my {kind}", mode="test")
        assert GUIDES[kind].menu.replace("&", "&amp;") in page.text
        for event in platform.events:
            assert event in page.text
    listed = await owner.get("/connections")
    assert all(f"my {kind}" in listed.text for kind in PLATFORMS)
    assert (await owner.get("/connect/nothing")).status == 404
    assert (await owner.post("/connect/nothing", name="x", mode="live")).status == 404


@pytest.mark.slow
async def test_what_is_wrong_with_a_connection_is_said_at_its_field(owner: Visitor) -> None:
    path = await connect(owner)
    taken = await owner.post(f"/connect/{KIND}", name="shop", mode="live")
    assert (taken.status, "another connection of this name" in taken.text) == (422, True)
    assert (await owner.post(f"/connect/{KIND}", name="", mode="live")).status == 422
    other = await connect(owner, "other")
    for fields, text in (
        ({"secrets": "x"}, "A secret has 6 to 500"),
        ({"secrets": "\n".join(["secret-number"] * 9)}, "A secret has 6 to 500"),
        ({"apiKey": "has a space", "shopUrl": "https://shop.example"}, "An API key has 8"),
        ({"apiKey": "ck_12345678:cs_12345678", "shopUrl": "http://shop.example"}, "Write the shop"),
        ({"apiKey": "ck_12345678:cs_12345678"}, "Write the shop"),
        ({"name": "", "mode": "live"}, "Use 1 to 200"),
        ({"name": "other", "mode": "live"}, "another connection of this name"),
    ):
        page = await owner.post(path, **fields)
        assert (page.status, text in page.text) == (422, True), fields
    assert "Nothing was entered" in (await owner.send(path)).notice
    await owner.send(path, apiKey="ck_12345678:cs_12345678", shopUrl="https://shop.example")
    page = await owner.get(path)
    assert "ck_12345678" not in page.text
    await owner.send(path, forget="yes", shopUrl="")
    for way in (path, other):
        assert "is removed" in (await owner.send(f"{way}/remove")).notice
        assert (await owner.get(way)).status == 404
        assert (await owner.post(way, name="x", mode="live")).status == 404


@pytest.mark.slow
async def test_what_came_is_shown_mapped_and_applied_again(owner: Visitor, staff: Visitor, api: Api) -> None:
    path = await connect(owner)
    assert await deliver(api, path, order()) == 200
    assert await deliver(api, path, order(), secret="another-secret-of-them") == 401
    page = await until(owner, path, ">waits<")
    event = re.search(rf'href="/dashboard({path}/events/\w+)"', page.text)
    assert event
    shown = await owner.get(event[1])
    assert "billing" in shown.text
    replayed = await owner.send(f"{event[1]}/replay")
    assert "applied once more" in replayed.notice
    assert (await owner.get(f"{path}?state=applied")).text.count("Nothing here fits") == 1
    waiting = await staff.get("/unmapped")
    items = re.findall(
        r'name="key" value="(\w+)">\s*<input type="hidden" name="value" value="(\w+)"', waiting.text
    )
    assert len(items) == 2
    identifier = path.rpartition("/")[2]
    for key, value in items:
        done = await staff.send("/unmapped/map", connection=identifier, key=key, value=value, product="drums")
        assert "is mapped" in done.notice
    assert "Nobody waits." in (await staff.get("/unmapped")).text
    status, answer, _ = await api.ask("GET", "/api/entitlements?productId=drums")
    assert (status, [each["status"] for each in answer["entitlements"]]) == (200, ["active"] * len(items))
    await until(owner, path, ">applied<")
    assert "user.create" not in (await owner.get("/settings/changes?by=sven&action=mapp")).text
    assert "mappings.put" in (await owner.get("/settings/changes?by=sven")).text
    for key, value in items:
        gone = await owner.send(f"{path}/unmap", key=key, value=value)
        assert "The mapping is removed" in gone.notice
        assert (await owner.post(f"{path}/unmap", key=key, value=value)).status == 404
    unknown = await staff.post("/unmapped/map", connection=identifier, key=key, value="1", product="none")
    assert unknown.status == 404
    assert (
        await staff.post("/unmapped/map", connection="x" * 26, key=key, value="1", product="-")
    ).status == 404
    assert (
        await staff.post("/unmapped/map", connection=identifier, key="<", value="1", product="-")
    ).status == 400
    saved = await staff.get("/unmapped.csv")
    assert saved.text.startswith("source,key,value,title,customers\r\nshop,")


@pytest.mark.slow
async def test_with_very_many_products_the_id_of_one_is_typed(
    owner: Visitor, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await connect(owner)
    assert await deliver(api, path, order()) == 200
    chosen = await until(owner, "/unmapped", 'name="product"')
    assert '<select name="product"' in chosen.text
    assert "<datalist" not in chosen.text
    monkeypatch.setattr(unmapped, "MOST_CHOICES", 1)
    typed = await owner.get("/unmapped")
    assert '<select name="product"' not in typed.text
    assert typed.text.count('<datalist id="products">') == 1
    assert '<option value="drums">' in typed.text
    forms = re.findall(
        r'name="key" value="(\w+)">\s*<input type="hidden" name="value" value="(\w+)">\s*'
        r'<input name="product" list="products" required',
        typed.text,
    )
    assert len(forms) == 2
    identifier = path.rpartition("/")[2]
    (key, value), (other, nothing) = forms
    wrong = await owner.post("/unmapped/map", connection=identifier, key=key, value=value, product="dru")
    assert wrong.status == 404
    done = await owner.send("/unmapped/map", connection=identifier, key=key, value=value, product="drums")
    assert "is mapped" in done.notice
    await owner.send("/unmapped/map", connection=identifier, key=other, value=nothing, product="-")
    assert "Nobody waits." in (await owner.get("/unmapped")).text


async def test_what_a_platform_fills_in_is_shown_as_text(owner: Visitor, api: Api) -> None:
    path = await connect(owner, MARKUP)
    document = order(number=MARKUP)
    document["billing"] = {**document["billing"], "first_name": MARKUP}
    for line in document["line_items"]:
        line |= {"name": MARKUP, "sku": MARKUP}
    assert await deliver(api, path, document) == 200
    page = await until(owner, path, ">waits<")
    event = re.search(rf'href="/dashboard({path}/events/\w+)"', page.text)
    assert event
    await until(owner, "/unmapped", "alert(1)")
    for shown in (page, *[await owner.get(each) for each in (event[1], "/unmapped", "/connections")]):
        assert "alert(1)" in shown.text
        check_markup(shown)


@pytest.mark.slow
async def test_an_event_of_another_connection_is_not_there(owner: Visitor, api: Api) -> None:
    path, other = await connect(owner), await connect(owner, "other")
    assert await deliver(api, path, order()) == 200
    page = await until(owner, path, "/events/")
    event = re.search(rf"{path}/events/(\w+)", page.text)
    assert event
    assert (await owner.get(f"{other}/events/{event[1]}")).status == 404
    assert (await owner.post(f"{other}/events/{event[1]}/replay")).status == 404
    assert (await owner.post(f"{path}/events/{'x' * 26}/replay")).status == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":{"b":1}}', '{\n  "a": {\n    "b": 1\n  }\n}'),
        (b"id=1&x=2", "id=1&x=2"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
        (b"", ""),
    ],
)
def test_a_body_is_read_as_far_as_it_can_be(body: bytes, text: str) -> None:
    assert readable(body) == text


async def test_a_long_body_is_cut(owner: Visitor, api: Api, settings: Any) -> None:
    path = await connect(owner)
    assert await deliver(api, path, order(customer_note="n" * 200_000)) == 200
    page = await until(owner, path, "/events/")
    event = re.search(rf'href="/dashboard({path}/events/\w+)"', page.text)
    assert event
    shown = await owner.get(event[1])
    assert "Only the beginning is shown" in shown.text
    assert len(shown.text) < MOST_SHOWN + 8000
    assert SECRETS[KIND] not in await read_store(settings.redis_url)

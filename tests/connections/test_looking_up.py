"""What an API key adds: line items, refund lines, sales that were pinged, and lost webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.connections import reconciling
from gateway.connections.reconciling import Reconciler
from gateway.connections.repository import Connection
from gateway.database.engine import Database
from gateway.platforms.clients import gumroad as gumroad_client
from gateway.platforms.clients import stripe as stripe_client
from gateway.platforms.clients.api import Access, new_session
from gateway.platforms.reconciliation import begin, first_cursor, write_cursor
from tests.support.connections import Shops
from tests.support.orders import orders
from tests.support.platform_api import numbered_list, platform_api, stripe_list
from tests.support.webhooks import PING, changed, fixture


@pytest.fixture
def shops(database: Database, tmp_path: Path) -> Shops:
    return Shops(database, tmp_path)


def lead_there(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    """Let connections ask a server of the test, whatever their platform."""
    monkeypatch.setattr(
        Connection, "access", lambda self, allow_loopback: Access("Acme", base, "k") if self.api_key else None
    )


async def test_line_items_of_stripe_come_after_the_event(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"id": "li_1", "description": "Drums", "quantity": 3, "price": {"id": "p_1", "product": "q"}}]
    answers = {"/v1/checkout/sessions/cs_live_a1/line_items": stripe_list(items)}
    shop = await shops.connect("stripe", api_key="rk_1")
    async with platform_api(stripe_client.access("k", None, True, False), answers) as (api, _):
        lead_there(monkeypatch, api.access.base)
        await shops.deliver(shop, fixture("stripe", "checkout_session_completed"))
        await shops.apply()
        assert [row[:2] for row in await orders(shops.database)] == [("cs_live_a1", "paid")]
        await shops.look_up()
    assert await shops.states() == [("checkout.session.completed", "waiting", "it waits for a mapping")]


async def test_a_ping_of_gumroad_is_nothing_without_the_api(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = await shops.connect("gumroad")
    await shops.deliver(without, PING)
    await shops.apply()
    [(_, state, error)] = await shops.states()
    assert (state, error) == (
        "failed",
        "the connection has no API key, and without one this event proves nothing",
    )
    assert await orders(shops.database) == []
    shop = await shops.connect("gumroad", name="second", api_key="token")
    sale = fixture("gumroad", "sale")
    answers = {f"/v2/sales/{sale['id']}": {"success": True, "sale": sale}}
    async with platform_api(gumroad_client.access("k", None, True, False), answers) as (api, _):
        lead_there(monkeypatch, api.access.base)
        await shops.deliver(shop, PING)
        await shops.apply()
        assert await orders(shops.database) == []
        await shops.look_up()
    assert [row[0] for row in await orders(shops.database, shop.id)] == [sale["id"]]


async def test_an_api_that_is_away_is_asked_later(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await shops.connect("stripe", api_key="rk_1")
    answers = {"/v1/checkout/sessions/cs_live_a1/line_items": web_status(429, "3600")}
    async with platform_api(Access("Acme", "https://api.example", "k"), answers) as (api, server):
        lead_there(monkeypatch, api.access.base)
        await shops.deliver(shop, fixture("stripe", "checkout_session_completed"))
        await shops.apply()
        await shops.look_up()
        await shops.look_up()
        assert len(server.requests) == 1
    [(_, state, error)] = await shops.states()
    assert (state, error) == ("waiting", "Acme answered 429.")


def web_status(code: int, retry_after: str) -> Any:
    return lambda _: web.json_response({}, status=code, headers={"Retry-After": retry_after})


async def test_lost_webhooks_are_found_once_an_hour(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await shops.connect("woocommerce", api_key="ck:cs", shop="https://shop.example")
    found = [changed(fixture("woocommerce", "order_updated"), id=number) for number in range(1, 22)]
    async with (
        platform_api(Access("Acme", "https://api.example", "k"), {"/orders": numbered_list(found)}) as (
            api,
            server,
        ),
        new_session() as session,
    ):
        lead_there(monkeypatch, api.access.base)
        reconciler = Reconciler(shops.connections, shops.inbox, lambda: None)
        for _ in range(2):
            connection = await shops.connections.get(shop.id)
            assert connection
            await reconciler.look_through(connection, session)
        assert len(server.requests) == 2  # two pages, one run
    assert await shops.states() == [("order.updated", "received", None)] * 21
    connection = await shops.connections.get(shop.id)
    assert connection
    assert connection.cursor["finished"]


async def test_of_two_processes_one_looks_for_lost_webhooks(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await shops.connect("woocommerce", api_key="ck:cs", shop="https://shop.example")
    first, second = (Reconciler(shops.connections, shops.inbox, lambda: None) for _ in range(2))
    orders = [changed(fixture("woocommerce", "order_updated"), id=number) for number in range(1, 42)]
    pages = numbered_list(orders)
    others: list[Connection | None] = []

    async def look(reconciler: Reconciler, session: Any) -> None:
        connection = await shops.connections.get(shop.id)
        assert connection
        await reconciler.look_through(connection, session)

    access = Access("Acme", "https://api.example", "k")
    async with platform_api(access, {"/orders": pages}) as (api, server), new_session() as session:
        lead_there(monkeypatch, api.access.base)
        old = await shops.connections.get(shop.id)
        assert old
        take = shops.inbox.take

        async def take_and_let_the_other_look(*given: Any) -> Any:
            monkeypatch.setattr(shops.inbox, "take", take)
            await look(second, session)  # it sees a run in progress
            await second.look_through(old, session)  # it saw the connection before that began
            others.append(await shops.connections.get(shop.id))
            return await take(*given)

        monkeypatch.setattr(shops.inbox, "take", take_and_let_the_other_look)
        await look(first, session)
        assert len(server.requests) == 3
    assert len(others) == 1
    assert len(await shops.states()) == 41


async def test_a_run_that_its_process_left_is_gone_on_with(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await shops.connect("woocommerce", api_key="ck:cs", shop="https://shop.example")
    connection = await shops.connections.get(shop.id)
    assert connection
    begun = write_cursor(begin(first_cursor(connection.created), connection.created))
    assert await shops.connections.keep_cursor(shop.id, begun, None)
    assert not await shops.connections.keep_cursor(shop.id, begun, None)
    access = Access("Acme", "https://api.example", "k")
    async with platform_api(access, {"/orders": []}) as (api, server), new_session() as session:
        lead_there(monkeypatch, api.access.base)
        reconciler = Reconciler(shops.connections, shops.inbox, lambda: None)
        for seconds, requests in ((180.0, 0), (0.0, 1)):
            monkeypatch.setattr(reconciling, "TAKEN_SECONDS", seconds)
            connection = await shops.connections.get(shop.id)
            assert connection
            await reconciler.look_through(connection, session)
            assert len(server.requests) == requests

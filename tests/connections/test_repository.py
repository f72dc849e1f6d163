"""Connections in the database, on both engines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.connections import repository as module
from gateway.database.engine import Database
from gateway.database.tables import CONNECTION
from gateway.errors import Declined
from gateway.platforms.clients.api import ApiRefused
from tests.support.connections import Shops


@pytest.fixture
def shops(database: Database, tmp_path: Path) -> Shops:
    return Shops(database, tmp_path)


async def test_a_connection_is_kept_and_its_secrets_are_sealed(shops: Shops) -> None:
    made = await shops.connections.create(
        "woocommerce", "My shop", ["whsec_1", "whsec_2"], api_key="ck_1:cs_1", shop="https://shop.example"
    )
    found = await shops.connections.get(made.id)
    assert found == made
    assert await shops.connections.list_all() == [made]
    async with shops.database.reading() as sql:
        [row] = (await sql.execute(select(CONNECTION))).all()
    assert not any(secret in repr(tuple(row)) for secret in ("whsec_", "ck_1", "cs_1"))
    assert "whsec_" not in repr(made)
    assert "ck_1" not in repr(made)
    access = made.access(allow_loopback=False)
    assert access
    assert access.base == "https://shop.example/wp-json/wc/v3"


async def test_changes_and_their_refusals(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 3600.0)
    one, other = await shops.connect("stripe"), await shops.connect("shopify")
    assert await shops.connections.find(one.id) == one
    changed = await shops.connections.change(one.id, secrets=("new", "old"), live=False)
    assert await shops.connections.find(one.id) == changed
    assert (changed.secrets, changed.live, changed.name) == (("new", "old"), False, "stripe")
    for attempt in (
        shops.connect("stripe"),
        shops.connections.change(other.id, name="stripe"),
    ):
        with pytest.raises(Declined) as declined:
            await attempt
        assert declined.value.code == "connection_exists"
    await shops.connections.remove(one.id)
    assert await shops.connections.find(one.id) is None
    for attempt in (shops.connections.remove(one.id), shops.connections.change(one.id, name="x")):  # type: ignore[assignment]
        with pytest.raises(Declined) as declined:
            await attempt
        assert declined.value.code == "connection_unknown"


async def test_a_read_answers_everyone_who_waits_for_it_however_long_it_takes(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow database must not make deliveries read again and again: nothing else would run any more."""
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    made = await shops.connect("stripe")
    async with asyncio.timeout(30):
        found = await asyncio.gather(*(shops.connections.find(made.id) for _ in range(50)))
    assert found == [made] * 50


async def test_a_change_during_a_read_is_seen(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 3600.0)
    made = await shops.connect("stripe")
    reading = asyncio.create_task(shops.connections.find(made.id))
    await asyncio.sleep(0)
    await shops.connections.change(made.id, secrets=("new",))
    await reading
    found = await shops.connections.find(made.id)
    assert found is not None
    assert found.secrets == ("new",)


async def test_a_caller_that_gives_up_does_not_end_the_read_of_others(shops: Shops) -> None:
    made = await shops.connect("stripe")
    first = asyncio.create_task(shops.connections.find(made.id))
    await asyncio.sleep(0)
    second = asyncio.create_task(shops.connections.find(made.id))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == made


async def test_without_a_key_no_api_is_asked(shops: Shops) -> None:
    assert (await shops.connect("polar", api_key="x")).access(allow_loopback=False) is None
    assert (await shops.connect("stripe")).access(allow_loopback=False) is None
    with pytest.raises(ApiRefused):
        (await shops.connect("woocommerce", api_key="x")).access(allow_loopback=False)

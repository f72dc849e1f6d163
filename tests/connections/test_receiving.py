"""Deliveries, from the signature to the order: on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config.secret_keys import KEY_BYTES
from gateway.connections import inbox as inbox_module
from gateway.connections.sealing import KEY_FILE
from gateway.database.engine import Database
from gateway.errors import DatabaseError, Declined
from gateway.orders.applying import remap
from gateway.orders.mappings import MappedProduct
from gateway.platforms.interface import Answer
from tests.support.connections import Shops
from tests.support.facts import item
from tests.support.orders import entitlements, orders
from tests.support.webhooks import changed, fixture

ORDER = fixture("shopify", "order_paid")
PAID = {"x-shopify-topic": "orders/paid", "x-shopify-webhook-id": "w1"}


@pytest.fixture
def shops(database: Database, tmp_path: Path) -> Shops:
    return Shops(database, tmp_path)


async def test_a_delivery_is_in_the_inbox_before_its_answer_and_applied_afterwards(shops: Shops) -> None:
    shop = await shops.connect("shopify")
    assert await shops.deliver(shop, ORDER, PAID) == Answer(200)
    assert await shops.states() == [("orders/paid", "received", None)]
    assert await orders(shops.database) == []
    await shops.apply()
    assert await shops.states() == [("orders/paid", "waiting", "it waits for a mapping")]
    [(order_id, status, email, name)] = await orders(shops.database)
    assert (order_id, status, email) == (str(ORDER["id"]), "paid", "ann@example.com")
    assert name == "Ann Example"
    assert shops.commits == 1


async def test_what_comes_twice_is_there_once(shops: Shops) -> None:
    shop = await shops.connect("shopify")
    for _ in range(3):
        assert await shops.deliver(shop, ORDER, PAID) == Answer(200)
    assert len(await shops.states()) == 1
    await shops.apply()
    assert await shops.deliver(shop, ORDER, PAID) == Answer(200)
    await shops.apply()
    assert shops.commits == 1


async def test_what_is_refused_is_counted_and_not_stored(shops: Shops) -> None:
    shop = await shops.connect("stripe")
    event = fixture("stripe", "refund_created")
    assert await shops.deliver(shop, event, secret="wrong") == Answer(401)
    assert await shops.deliver(shop, event, now=1) == Answer(401)
    assert await shops.deliver(shop, b"x" * (1024 * 1024 + 1)) == Answer(413)
    unknown = shop.__class__(**{**vars(shop), "id": "nobody"})
    assert await shops.deliver(unknown, event) == Answer(404)
    assert await shops.states() == []
    await shops.receiver.write_counts()
    found = await shops.connections.get(shop.id)
    assert found
    assert (found.refused, found.last_event) == (3, None)
    assert found.last_refused
    assert found.last_error
    assert "bytes" in found.last_error


async def test_the_greeting_of_woocommerce_is_answered_and_forgotten(shops: Shops) -> None:
    shop = await shops.connect("woocommerce")
    ping = {"x-wc-webhook-signature": ""}
    assert await shops.deliver(shop, b"webhook_id=1", ping) in (Answer(200), Answer(401))
    assert await shops.states() == []


async def test_test_and_live_never_mix(shops: Shops) -> None:
    live = await shops.connect("shopify")
    tests = await shops.connect("shopify", name="tests", live=False)
    for shop in (live, tests):
        await shops.deliver(shop, ORDER, PAID)
        await shops.deliver(shop, changed(ORDER, id=2, test=True), {**PAID, "x-shopify-webhook-id": "w2"})
    await shops.apply()
    assert sorted(state for _, state, _ in await shops.states()) == ["ignored"] * 2 + ["waiting"] * 2
    assert [row[0] for row in await orders(shops.database, live.id)] == [str(ORDER["id"])]
    assert [row[0] for row in await orders(shops.database, tests.id)] == ["2"]


async def test_a_batch_of_fastspring_is_several_events(shops: Shops) -> None:
    shop = await shops.connect("fastspring")
    batch = {
        "events": [
            *fixture("fastspring", "return_created")["events"],
            {"id": "e2", "type": "account.created", "live": True},
            {"type": "?"},
            *fixture("fastspring", "order_completed")["events"],
        ]
    }
    assert await shops.deliver(shop, batch) == Answer(200)
    await shops.apply()
    found = await shops.states()
    assert [(kind, state) for kind, state, _ in sorted(found)] == [
        ("account.created", "ignored"),
        ("order.completed", "waiting"),
        ("return.created", "waiting"),
        ("unknown", "failed"),
    ]


async def test_a_story_from_the_sale_to_the_refund(shops: Shops) -> None:
    """Bought (one line three times), mapped late, one refunded, all refunded; a dispute opened and won."""
    shop = await shops.connect("shopify")
    numbers = iter(range(100))

    async def tell(payload: Any, topic: str) -> list[tuple[Any, ...]]:
        headers = {"x-shopify-topic": topic, "x-shopify-webhook-id": f"w{next(numbers)}"}
        assert await shops.deliver(shop, payload, headers) == Answer(200)
        await shops.apply()
        return await entitlements(shops.database)

    refund = fixture("shopify", "refund_created")
    assert await tell(refund, "refunds/create") == []  # before its order
    assert await tell(ORDER, "orders/paid") == []
    await remap(shops.database, shop.id, {item("variant:39072856"): (MappedProduct("drums"),)})
    assert [row[1::2] for row in await entitlements(shops.database)] == [("active", 2)]
    dispute = fixture("shopify", "dispute_created")
    assert [row[1] for row in await tell(dispute, "disputes/create")] == ["suspended"]
    won = changed(dispute, status="won")
    [row] = await tell(won, "disputes/update")
    assert row[1] == "active"
    rest = changed(refund, id=2, refund_line_items__0__quantity=2)
    [row] = await tell(rest, "refunds/create")
    assert row[1] == "revoked"


async def test_many_deliveries_at_once_are_committed_together(shops: Shops) -> None:
    shop = await shops.connect("stripe")
    event = fixture("stripe", "refund_created")
    payloads = [changed(event, id=f"evt_{number}") for number in range(100)]
    answers = await asyncio.gather(*(shops.deliver(shop, each) for each in payloads))
    assert set(answers) == {Answer(200)}
    assert len(await shops.states()) == 100


async def test_a_removed_connection_does_not_hurt_the_others(shops: Shops) -> None:
    gone, shop = await shops.connect("stripe", name="gone"), await shops.connect("stripe")
    event = fixture("stripe", "refund_created")
    await shops.connections.find(gone.id)  # it is kept in memory for a moment
    await shops.connections.remove(gone.id)
    results = await asyncio.gather(
        shops.deliver(gone, event), shops.deliver(shop, event), return_exceptions=True
    )
    assert results[0] == Answer(404) or isinstance(results[0], DatabaseError)
    assert results[1] == Answer(200)


async def test_what_waits_for_the_database_is_bounded(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await shops.connect("stripe")
    monkeypatch.setattr(inbox_module, "MOST_WAITING", 100)
    with pytest.raises(DatabaseError, match="too many webhooks"):
        await shops.deliver(shop, fixture("stripe", "refund_created"))


async def test_an_event_is_replayed(shops: Shops) -> None:
    shop = await shops.connect("shopify")
    await shops.deliver(shop, ORDER, PAID)
    await shops.apply()
    [stored] = await shops.inbox.list_page(shop.id, 10, None)
    assert (stored.dedupe_key, stored.type, stored.state) == ("w1", "orders/paid", "waiting")
    await remap(shops.database, shop.id, {item("variant:39072856"): (MappedProduct("drums"),)})
    await shops.inbox.replay(shop.id, stored.id)
    await shops.apply()
    assert await shops.inbox.list_page(shop.id, 10, None, "received") == []
    for connection, event in (("other", stored.id), (shop.id, "other")):
        with pytest.raises(Declined):
            await shops.inbox.replay(connection, event)


async def test_a_connection_whose_secrets_are_lost_holds_no_other_up(shops: Shops, tmp_path: Path) -> None:
    lost = await shops.connect("shopify", name="lost")
    await shops.deliver(lost, ORDER, PAID)
    (tmp_path / KEY_FILE).write_bytes(bytes(KEY_BYTES))
    after = Shops(shops.database, tmp_path)  # the process after a restart
    shop = await after.connect("shopify")
    await after.deliver(shop, ORDER, PAID)
    await after.apply()
    (_, first, why), (_, second, _) = await after.states()
    assert (first, second) == ("received", "waiting")
    assert why
    assert "stored with another key" in why

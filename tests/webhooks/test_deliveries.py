"""The log of deliveries: pages, replay, and how long it is kept."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from gateway.database.types import now
from gateway.database.webhook_tables import WEBHOOK_EVENT
from gateway.errors import Declined
from gateway.webhooks.deliveries import DAY
from tests.support.outbox import Outbox
from tests.support.receiver import Receiver


async def test_pages_and_states(outbox: Outbox, receiver: Receiver) -> None:
    endpoint, other = await outbox.add(receiver.url()), await outbox.add()
    for _ in range(3):
        await outbox.announce()
    await outbox.deliver(loopback=True)
    await outbox.announce()
    [newest, second] = await outbox.log.list_page(endpoint.id, 2, None)
    rest = await outbox.log.list_page(endpoint.id, 9, second.id)
    assert [each.state for each in (newest, second, *rest)] == ["waiting", *["delivered"] * 3]
    assert len(await outbox.log.list_page(endpoint.id, 9, None, "delivered")) == 3
    assert await outbox.log.list_page(endpoint.id, 9, None, "failed") == []
    assert len(await outbox.log.list_page(other.id, 9, None)) == 4


async def test_what_cannot_be_replayed(outbox: Outbox) -> None:
    endpoint, other = await outbox.add(), await outbox.add()
    await outbox.announce()
    [delivery] = await outbox.deliveries(endpoint)
    for webhook, which, code in (
        ("0" * 26, delivery.id, "webhook_unknown"),
        (endpoint.id, "0" * 26, "delivery_unknown"),
        (other.id, delivery.id, "delivery_unknown"),
    ):
        with pytest.raises(Declined) as refused:
            await outbox.log.replay(webhook, which)
        assert refused.value.code == code
    await outbox.endpoints.change(endpoint.id, {"enabled": False})
    with pytest.raises(Declined, match="enable it first") as refused:
        await outbox.log.replay(endpoint.id, delivery.id)
    assert refused.value.code == "webhook_disabled"
    assert await outbox.states(endpoint) == [("failed", 0)]


async def test_old_messages_are_removed_unless_they_wait(outbox: Outbox, receiver: Receiver) -> None:
    endpoint, away = await outbox.add(receiver.url()), await outbox.add("https://shop.example/")
    await outbox.announce()
    await outbox.endpoints.remove(away.id)
    await outbox.deliver()
    await outbox.announce()
    async with outbox.database.writing() as sql:
        await sql.execute(update(WEBHOOK_EVENT).values(created=now() - 2 * DAY - 1))
    assert not await outbox.log.remove_old(3)
    assert await outbox.states(endpoint) == [("delivered", 1), ("waiting", 0)]
    assert not await outbox.log.remove_old(2)
    assert await outbox.states(endpoint) == [("waiting", 0)]

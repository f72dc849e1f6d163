"""What gets into the outbox: once, in the transaction of what happened, for those who asked."""

from __future__ import annotations

import pytest

from gateway.database.types import now
from gateway.webhooks.outbox.announcements import EventType
from gateway.webhooks.outbox.writing import SKEW, announce, erase_announcements
from tests.support.outbox import Outbox, announcement

PAID, CREATED = EventType.ORDER_PAID, EventType.TOKEN_CREATED


async def test_nothing_is_written_where_nobody_asks(outbox: Outbox) -> None:
    assert await outbox.announce() == 0
    endpoint = await outbox.add("https://shop.example/", CREATED)
    assert await outbox.announce(announcement(PAID)) == 0
    await outbox.endpoints.change(endpoint.id, {"types": [PAID], "enabled": False})
    assert await outbox.announce(announcement(PAID)) == 0
    assert await outbox.events() == []


async def test_each_endpoint_gets_the_types_that_it_asked_for(outbox: Outbox) -> None:
    every = await outbox.add()
    some = await outbox.add("https://shop.example/", PAID)
    assert await outbox.announce(announcement(PAID), announcement(CREATED)) == 3
    assert [each.type for each in await outbox.deliveries(every)] == [PAID, CREATED]
    assert [each.type for each in await outbox.deliveries(some)] == [PAID]


async def test_what_is_rolled_back_is_not_told(outbox: Outbox) -> None:
    endpoint = await outbox.add()

    async def fail() -> None:
        async with outbox.database.writing() as sql:
            assert await announce(sql, [announcement()]) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await outbox.deliveries(endpoint) == []


async def test_of_several_with_one_key_the_first_is_kept(outbox: Outbox) -> None:
    endpoint = await outbox.add()
    same = [announcement(PAID, key="1"), announcement(PAID, key="1")]
    assert await outbox.announce(*same, announcement(CREATED, key="1"), announcement(), announcement()) == 4
    assert await outbox.announce(*same) == 0
    assert len(await outbox.deliveries(endpoint)) == 4


async def test_what_happened_before_an_endpoint_was_made_is_not_told(outbox: Outbox) -> None:
    endpoint = await outbox.add()
    moments = (endpoint.created - SKEW - 1, endpoint.created - SKEW, now())
    assert await outbox.announce(*(announcement(happened=each) for each in moments)) == 2


async def test_many_at_once(outbox: Outbox) -> None:
    endpoint = await outbox.add()
    assert await outbox.announce(*(announcement(key=str(number)) for number in range(1234))) == 1234
    assert await outbox.log.count_waiting(endpoint.id) == await outbox.log.count_waiting() == 1234


async def test_what_mentions_a_customer_is_erased(outbox: Outbox) -> None:
    endpoint = await outbox.add()
    for customer in ("a", "m:b", "c", None):
        await outbox.announce(announcement(PAID, customer=customer))
    async with outbox.database.writing() as sql:
        await erase_announcements(sql, ["a", "m:b"])
    assert [each.data["customerId"] for each in await outbox.deliveries(endpoint)] == ["c", None]

"""Delivering: retries, several processes, slow receivers, disabling, and what is written of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import standardwebhooks
from sqlalchemy import select, update

from gateway.database.errors import DatabaseError
from gateway.database.types import now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.runtime.background import running
from gateway.webhooks import delivering
from gateway.webhooks.delivering import LEASE_SECONDS, SLOTS, Deliverer
from gateway.webhooks.outcomes import DISABLE_AFTER, DISABLE_FAILURES, PAUSES
from gateway.webhooks.sending import Sender
from tests.support.outbox import Outbox, announcement
from tests.support.receiver import Receiver
from tests.support.waiting import until


async def test_a_message_comes_once_with_signature_and_is_logged(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce()
    await outbox.deliver()
    await outbox.deliver()
    [request] = receiver.received
    [secret] = endpoint.signing(now())
    document = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    assert document["type"] == "product.uploaded"
    [delivery] = await outbox.deliveries(endpoint)
    assert request.headers["webhook-id"] == delivery.message
    assert (delivery.state, delivery.attempts, delivery.due) == ("delivered", 1, None)
    assert [(each.status, each.error) for each in delivery.tries] == [(200, None)]
    assert (await outbox.endpoints.get(endpoint.id)).last_success is not None
    assert outbox.counted() == {"delivered": 1}


async def test_a_message_is_repeated_with_the_same_id_until_it_is_taken(
    outbox: Outbox, receiver: Receiver
) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce()
    for answer in ("500", "close", "302\nLocation: /other"):
        receiver.answers["/hook"] = answer
        before = now()
        await outbox.deliver()
        [delivery] = await outbox.deliveries(endpoint)
        assert delivery.due is not None
        assert delivery.due >= before + 1000 * PAUSES[delivery.attempts - 1]
        await outbox.make_due()
    del receiver.answers["/hook"]
    await outbox.deliver()
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    assert await outbox.states(endpoint) == [("delivered", 4)]
    [delivery] = await outbox.deliveries(endpoint)
    assert [each.status for each in delivery.tries] == [500, None, 302, 200]
    assert outbox.counted() == {"repeated": 3, "delivered": 1}
    found = await outbox.endpoints.get(endpoint.id)
    assert (found.failures, found.failing_since) == (0, None)


async def test_it_has_failed_after_the_last_attempt_and_may_be_replayed(
    outbox: Outbox, receiver: Receiver
) -> None:
    endpoint = await outbox.add(receiver.url())
    receiver.answers["/hook"] = "500"
    await outbox.announce()
    for _ in range(len(PAUSES) + 3):
        await outbox.deliver()
        await outbox.make_due()
    assert await outbox.states(endpoint) == [("failed", len(PAUSES) + 1)]
    assert len(receiver.received) == len(PAUSES) + 1
    assert outbox.counted() == {"repeated": len(PAUSES), "failed": 1}
    assert (await outbox.endpoints.get(endpoint.id)).disabled is None, "three days are too early"
    del receiver.answers["/hook"]
    [delivery] = await outbox.deliveries(endpoint)
    await outbox.log.replay(endpoint.id, delivery.id)
    await outbox.deliver()
    assert await outbox.states(endpoint) == [("delivered", 1)]
    assert receiver.received[-1].headers["webhook-id"] == delivery.message


async def test_gone_disables_at_once(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    receiver.answers["/hook"] = "410"
    for _ in range(3 * SLOTS):
        await outbox.announce()
    await outbox.deliver()
    found = await outbox.endpoints.get(endpoint.id)
    assert "410" in (found.disabled_reason or "")
    assert {state for state, _ in await outbox.states(endpoint)} == {"failed"}
    assert len(receiver.received) <= SLOTS
    await outbox.announce()
    await outbox.make_due()
    await outbox.deliver()
    assert len(receiver.received) <= SLOTS
    del receiver.answers["/hook"]
    enabled = await outbox.endpoints.change(endpoint.id, {"enabled": True})
    assert (enabled.disabled, enabled.failures) == (None, 0)
    await outbox.announce()
    await outbox.deliver()
    assert (await outbox.states(endpoint))[-1] == ("delivered", 1)


async def test_failures_of_days_disable(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    receiver.answers["/hook"] = "500"
    long_ago = now() - 1000 * DISABLE_AFTER
    for failures, disables in ((DISABLE_FAILURES - 2, False), (DISABLE_FAILURES - 1, True)):
        async with outbox.database.writing() as sql:
            await sql.execute(update(WEBHOOK).values(failures=failures, failing_since=long_ago))
        await outbox.announce()
        await outbox.deliver()
        found = await outbox.endpoints.get(endpoint.id)
        assert (found.disabled is not None) is disables
    assert "five days" in (found.disabled_reason or "")
    assert {state for state, _ in await outbox.states(endpoint)} == {"failed"}


async def test_a_success_in_between_begins_anew(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    async with outbox.database.writing() as sql:
        long_ago = now() - 1000 * DISABLE_AFTER
        await sql.execute(update(WEBHOOK).values(failures=99, failing_since=long_ago))
    await outbox.announce()
    await outbox.deliver()
    receiver.answers["/hook"] = "500"
    await outbox.announce()
    await outbox.deliver()
    found = await outbox.endpoints.get(endpoint.id)
    assert (found.failures, found.disabled) == (1, None)


@pytest.mark.parametrize("answer", ["429\nRetry-After: 600", "503\nRetry-After: 600", "429"])
async def test_an_endpoint_that_asks_for_less_gets_nothing_for_a_while(
    outbox: Outbox, receiver: Receiver, answer: str
) -> None:
    endpoint = await outbox.add(receiver.url())
    receiver.answers["/hook"] = answer
    await outbox.announce()
    await outbox.deliver()
    for _ in range(3):
        await outbox.announce()
    await outbox.deliver()
    assert len(receiver.received) == 1
    found = await outbox.endpoints.get(endpoint.id)
    assert found.paused_until is not None
    [first, *_] = await outbox.deliveries(endpoint)
    assert first.due is not None
    if "600" in answer:
        assert found.paused_until > now() + 500_000
        assert first.due > now() + 500_000
    del receiver.answers["/hook"]
    await outbox.make_due()
    await outbox.deliver()
    assert len(receiver.received) == 5


async def test_a_slow_receiver_holds_up_only_its_own_messages(outbox: Outbox, receiver: Receiver) -> None:
    slow = await outbox.add(receiver.url("/slow"))
    quick = await outbox.add(receiver.url("/quick"))
    receiver.answers["/slow"] = "slow"
    for _ in range(5 * SLOTS):
        await outbox.announce()
    working = asyncio.create_task(outbox.deliver())
    await until(lambda: len(receiver.at("/quick")) == 5 * SLOTS, 30)
    await until(lambda: len(receiver.at("/slow")) == SLOTS, 30)
    assert len(receiver.at("/slow")) == SLOTS
    receiver.let_go.set()
    await working
    for endpoint in (slow, quick):
        assert await outbox.states(endpoint) == [("delivered", 1)] * (5 * SLOTS)
    assert len(receiver.at("/slow")) == 5 * SLOTS


@pytest.mark.slow
async def test_several_processes_send_each_message_once(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce(*(announcement() for _ in range(60)))
    await asyncio.gather(*(outbox.deliver() for _ in range(4)))
    assert await outbox.states(endpoint) == [("delivered", 1)] * 60
    assert len({each.headers["webhook-id"] for each in receiver.received}) == len(receiver.received) == 60


async def test_what_a_process_that_died_had_claimed_is_sent_by_another(
    outbox: Outbox, receiver: Receiver
) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce()
    dead = Deliverer(outbox.database, outbox.endpoints, Sender(allow_loopback=True), outbox.counters)
    [claimed] = await dead._write_and_claim([endpoint])
    await outbox.deliver()
    assert receiver.received == []
    [delivery] = await outbox.deliveries(endpoint)
    assert delivery.due is not None
    assert delivery.due > now() + 1000 * (LEASE_SECONDS - 30)
    await outbox.make_due()
    await outbox.deliver()
    assert await outbox.states(endpoint) == [("delivered", 2)]
    async with dead._sender:  # it was only frozen: what it writes then is too late
        await dead._send(claimed)
    await dead._write_and_claim([])
    assert await outbox.states(endpoint) == [("delivered", 2)]


async def test_results_are_kept_while_the_database_is_away(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce()
    deliverer = Deliverer(outbox.database, outbox.endpoints, Sender(allow_loopback=True), outbox.counters)
    async with deliverer._sender:
        assert await deliverer.turn()
        await asyncio.wait(list(deliverer._running))
        right = delivering._write

        async def fail(*_: Any) -> set[str]:
            raise DatabaseError("unreachable", "the database is away")

        monkeypatch.setattr(delivering, "_write", fail)
        with pytest.raises(DatabaseError):
            await deliverer.turn()
        monkeypatch.setattr(delivering, "_write", right)
        await deliverer.drain()
    assert await outbox.states(endpoint) == [("delivered", 1)]
    assert len(receiver.received) == 1


async def test_a_stop_writes_what_was_sent_and_leaves_the_rest(outbox: Outbox, receiver: Receiver) -> None:
    quick, slow = await outbox.add(receiver.url("/quick")), await outbox.add(receiver.url("/slow"))
    receiver.answers["/slow"] = "slow"
    await outbox.announce()
    deliverer = Deliverer(outbox.database, outbox.endpoints, Sender(allow_loopback=True), outbox.counters)
    async with running(deliverer.run()):
        await until(lambda: len(receiver.received) == 2, 30)
        await until(lambda: bool(outbox.counted()), 30)
    assert await outbox.states(quick) == [("delivered", 1)]
    assert await outbox.states(slow) == [("waiting", 1)]
    receiver.let_go.set()
    await outbox.make_due()
    await outbox.deliver()
    assert await outbox.states(slow) == [("delivered", 2)]


async def test_an_endpoint_that_was_removed_gets_nothing(outbox: Outbox, receiver: Receiver) -> None:
    endpoint = await outbox.add(receiver.url())
    await outbox.announce()
    await outbox.endpoints.remove(endpoint.id)
    async with outbox.database.writing() as sql:  # told in a transaction that was under way
        row = {"id": "0" * 26, "webhook_id": endpoint.id, "state": "waiting", "due": 1, "tries": []}
        event = (await sql.execute(select(WEBHOOK_EVENT.c.id))).scalar_one()
        await sql.execute(OUTBOX_WEBHOOK.insert().values(**row, event_id=event))
    await outbox.deliver()
    assert receiver.received == []
    assert await outbox.log.count_waiting() == 0

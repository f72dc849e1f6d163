"""Which transfers may send in a turn of the event loop, and in which order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.dataplane.delivery import send_scheduler as module
from gateway.dataplane.delivery.send_scheduler import (
    LONG_BYTES,
    MANY_BYTES,
    MOST_BYTES,
    SEND_BYTES,
    SHARE_BYTES,
    SHORT_BYTES,
    SendScheduler,
)
from gateway.dataplane.exchange import ClientGone
from gateway.runtime.deferred import step
from tests.support.waiting import until

MIB = 1 << 20


@pytest.fixture
async def scheduler() -> SendScheduler:
    return SendScheduler(asyncio.get_running_loop())


def fill(scheduler: SendScheduler) -> int:
    """Send 1 MiB after the other as long as a turn allows; returns how much that was."""
    sent = 0
    while scheduler.may_send:
        scheduler.count_sent(MIB)
        sent += MIB
    return sent


async def test_a_turn_is_long_without_requests(scheduler: SendScheduler) -> None:
    assert fill(scheduler) == LONG_BYTES
    assert not scheduler.may_send


async def test_a_turn_is_short_after_a_request(scheduler: SendScheduler) -> None:
    scheduler.request_arrived()
    assert scheduler.may_send
    assert fill(scheduler) == SHORT_BYTES
    assert not scheduler.may_send


async def test_a_request_shortens_the_turn_under_way(scheduler: SendScheduler) -> None:
    scheduler.count_sent(4 * MIB)
    scheduler.request_arrived()
    assert fill(scheduler) == SHORT_BYTES


async def test_a_large_transfers_own_request_shortens_no_turn(scheduler: SendScheduler) -> None:
    scheduler.request_arrived()
    scheduler.sender_begins()
    fill(scheduler)
    await scheduler.wait_for_turn().as_future()
    assert fill(scheduler) == LONG_BYTES


async def test_other_requests_shorten_turns_although_a_transfer_has_begun(
    scheduler: SendScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORT_TURN_SECONDS", 60.0)
    scheduler.request_arrived()
    scheduler.request_arrived()
    scheduler.sender_begins()
    fill(scheduler)
    await scheduler.wait_for_turn().as_future()
    assert fill(scheduler) == SHORT_BYTES


async def test_the_only_transfer_may_send_more_at_once(scheduler: SendScheduler) -> None:
    scheduler.sender_begins()
    assert scheduler.quota == MOST_BYTES
    scheduler.sender_begins()
    assert scheduler.quota == MANY_BYTES
    scheduler.sender_ends()
    assert scheduler.quota == MOST_BYTES
    scheduler.request_arrived()
    assert scheduler.quota == SHARE_BYTES


async def test_many_small_system_calls_are_counted_too(scheduler: SendScheduler) -> None:
    scheduler.request_arrived()
    calls = 0
    while scheduler.may_send:
        scheduler.count_sent(1000)
        calls += 1
    assert calls <= SHORT_BYTES // SEND_BYTES


async def test_the_queue_is_served_in_order_over_as_many_turns_as_it_needs(
    scheduler: SendScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORT_TURN_SECONDS", 60.0)
    scheduler.request_arrived()
    fill(scheduler)
    served: list[int] = []
    turn, turns_of = 0, Counter[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    async def begin(number: int) -> None:
        assert not scheduler.may_send, "no transfer overtakes those in the queue"
        await scheduler.wait_for_turn()
        served.append(number)
        turns_of[turn] += 1
        scheduler.count_sent(MIB)
        if number == 0:
            await begin(100)

    count()
    for number in range(6):
        step(begin(number))
    await until(lambda: len(served) == 7)
    assert served == [0, 1, 2, 3, 4, 5, 100]
    assert max(turns_of.values()) == SHORT_BYTES // MIB


async def test_a_transfer_that_has_ended_takes_no_turn(scheduler: SendScheduler) -> None:
    scheduler.request_arrived()
    fill(scheduler)
    gone, there = scheduler.wait_for_turn(), scheduler.wait_for_turn()
    gone.set_exception(ClientGone())
    await there.as_future()
    assert scheduler.may_send


class Recorded:
    """Notes when it is sent."""

    def __init__(self, sent: list[str], name: str) -> None:
        self.sent = sent
        self.name = name

    def send(self) -> None:
        self.sent.append(self.name)


async def test_what_is_sent_at_the_end_of_a_turn_leaves_together_and_in_order(
    scheduler: SendScheduler,
) -> None:
    sent: list[str] = []
    for name in "abc":
        scheduler.send_at_turn_end(Recorded(sent, name))
    assert sent == []
    asyncio.get_running_loop().call_soon(sent.append, "next turn's work")
    await asyncio.sleep(0)
    assert sent == ["a", "b", "c", "next turn's work"]
    scheduler.send_at_turn_end(Recorded(sent, "d"))
    await asyncio.sleep(0)
    assert sent[-1] == "d"

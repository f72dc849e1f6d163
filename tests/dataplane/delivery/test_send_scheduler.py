"""Who may send in a turn of the event loop, and in which order."""

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
async def turns() -> SendScheduler:
    return SendScheduler(asyncio.get_running_loop())


def fill(turns: SendScheduler) -> int:
    """Send in pieces of 1 MiB as long as a turn allows; how much that was."""
    sent = 0
    while turns.open:
        turns.sent(MIB)
        sent += MIB
    return sent


async def test_a_turn_is_long_without_requests(turns: SendScheduler) -> None:
    assert fill(turns) == LONG_BYTES
    assert not turns.open


async def test_a_turn_is_short_after_a_request(turns: SendScheduler) -> None:
    turns.hasten()
    assert turns.open
    assert fill(turns) == SHORT_BYTES
    assert not turns.open


async def test_a_request_shortens_the_turn_under_way(turns: SendScheduler) -> None:
    turns.sent(4 * MIB)
    turns.hasten()
    assert fill(turns) == SHORT_BYTES


async def test_a_large_transfers_own_request_shortens_no_turn(turns: SendScheduler) -> None:
    turns.hasten()
    turns.begin()
    fill(turns)
    await turns.stand().as_future()
    assert fill(turns) == LONG_BYTES


async def test_other_requests_do_although_a_transfer_has_begun(
    turns: SendScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HASTE_SECONDS", 60.0)
    turns.hasten()
    turns.hasten()
    turns.begin()
    fill(turns)
    await turns.stand().as_future()
    assert fill(turns) == SHORT_BYTES


async def test_who_is_alone_may_send_more_at_once(turns: SendScheduler) -> None:
    turns.begin()
    assert turns.most == MOST_BYTES
    turns.begin()
    assert turns.most == MANY_BYTES
    turns.end()
    assert turns.most == MOST_BYTES
    turns.hasten()
    assert turns.most == SHARE_BYTES


async def test_many_small_ones_are_counted_too(turns: SendScheduler) -> None:
    turns.hasten()
    calls = 0
    while turns.open:
        turns.sent(1000)
        calls += 1
    assert calls <= SHORT_BYTES // SEND_BYTES


async def test_the_line_is_served_in_order_over_as_many_turns_as_it_needs(
    turns: SendScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HASTE_SECONDS", 60.0)
    turns.hasten()
    fill(turns)
    served: list[int] = []
    turn, turns_of = 0, Counter[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    async def begin(number: int) -> None:
        assert not turns.open, "nobody overtakes those who stand in line"
        await turns.stand()
        served.append(number)
        turns_of[turn] += 1
        turns.sent(MIB)
        if number == 0:
            await begin(100)

    count()
    for number in range(6):
        step(begin(number))
    await until(lambda: len(served) == 7)
    assert served == [0, 1, 2, 3, 4, 5, 100]
    assert max(turns_of.values()) == SHORT_BYTES // MIB


async def test_who_went_away_takes_nobodys_turn(turns: SendScheduler) -> None:
    turns.hasten()
    fill(turns)
    gone, there = turns.stand(), turns.stand()
    gone.set_exception(ClientGone())
    await there.as_future()
    assert turns.open

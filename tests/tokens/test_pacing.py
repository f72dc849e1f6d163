"""Bytes are handed out at their rate, in equal shares, and never in a burst. The clock is the tests' own."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.runtime.deferred import step
from gateway.tokens import pacing
from gateway.tokens.pacing import PIECE_SECONDS, Pacer


class Clock:
    """An event loop as far as a pacer needs one."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), function))

    def run_until(self, moment: float) -> None:
        while self._timers and self._timers[0][0] <= moment:
            self.now, _, function = heapq.heappop(self._timers)
            function()
        self.now = moment

    @property
    def waits(self) -> int:
        return len(self._timers)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing.asyncio, "get_running_loop", lambda: made)  # type: ignore[attr-defined]
    return made


async def take(pacer: Pacer, wanted: int, received: list[int]) -> None:
    """A delivery whose client takes everything at once."""
    while True:
        received[0] += await pacer.ask(wanted)


def begin(pacer: Pacer, count: int, wanted: int = 1 << 20) -> list[list[int]]:
    received: list[list[int]] = [[0] for _ in range(count)]
    for each in received:
        work: Any = take(pacer, wanted, each)
        step(work)
    return received


@pytest.mark.parametrize("rate", [1, 7, 1000, 30_000, 1_000_000, 10**9])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_the_rate_is_kept_and_shared(clock: Clock, rate: int, count: int) -> None:
    received = begin(Pacer(rate), count)
    for moment in (2, 5, 10, 30):
        clock.run_until(moment)
        total = sum(each for [each] in received)
        assert total <= rate * (moment + 2 * PIECE_SECONDS) + 1
        assert total >= 0.95 * rate * (moment - 1)
    most, fewest = max(received)[0], min(received)[0]
    if rate >= 1000:
        assert most - fewest <= max(2 * 16384, 0.05 * most)


def test_what_was_not_used_is_not_kept(clock: Clock) -> None:
    pacer = Pacer(1000)
    received = [0]
    work: Any = once(pacer, 10, received)
    step(work)
    clock.run_until(100)
    assert received == [10]
    [later] = begin(pacer, 1)
    assert later[0] <= 200
    clock.run_until(101)
    assert later[0] <= 1400


async def once(pacer: Pacer, wanted: int, received: list[int]) -> None:
    received[0] += await pacer.ask(wanted)


def test_what_was_not_sent_goes_to_others(clock: Clock) -> None:
    pacer = Pacer(100_000)
    ticket = pacer.ask(20_000)
    clock.run_until(0)
    assert ticket.value == 20_000
    other = pacer.ask(5000)
    assert not other.done
    pacer.give_back(6000)
    assert other.value == 5000


def test_a_delivery_that_ended_gets_nothing(clock: Clock) -> None:
    pacer = Pacer(100_000)
    first, gone, last = pacer.ask(9000), pacer.ask(9000), pacer.ask(9000)
    gone.set_exception(OSError())
    clock.run_until(0.5)
    assert (first.value, last.value) == (9000, 9000)


def test_nothing_happens_while_nobody_waits(clock: Clock) -> None:
    pacer = Pacer(1000)
    pacer.ask(1)
    clock.run_until(50)
    assert clock.waits == 0

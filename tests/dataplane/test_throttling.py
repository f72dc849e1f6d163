"""How long a throttled connection is not read. What clients see of it is in test_attempt_guard.py."""

from __future__ import annotations

import asyncio

import pytest

from gateway.dataplane.throttling import (
    MAX_SECONDS,
    MIN_SECONDS,
    REFUSALS_A_SECOND,
    Throttle,
    throttle_seconds,
)


class FakeConnection:
    """A connection that was lost when it was to be throttled."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.released = asyncio.Event()

    def read_again(self) -> None:
        self.released.set()


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (1, MIN_SECONDS),
        (62, MIN_SECONDS),
        (125, 0.5),
        (1000, 4.0),
        (2500, MAX_SECONDS),
        (10_000, MAX_SECONDS),
    ],
)
def test_many_connections_wait_longer(count: int, seconds: float) -> None:
    assert throttle_seconds(count) == seconds


def test_all_together_get_few_refusals() -> None:
    assert max(count / throttle_seconds(count) for count in range(1, 2500)) == pytest.approx(
        REFUSALS_A_SECOND
    )


async def test_those_that_are_released_count_no_longer() -> None:
    throttle = Throttle(asyncio.get_running_loop())
    for _ in range(3):
        connections = [FakeConnection() for _ in range(5)]
        for each in connections:
            throttle.hold(each)
        assert throttle._count == 5
        await asyncio.gather(*(each.released.wait() for each in connections))
        assert throttle._count == 0

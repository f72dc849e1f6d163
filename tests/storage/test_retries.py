"""When a request to a storage is tried again, and when it is given up."""

from __future__ import annotations

import pytest

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_RETRIES, UPSTREAM_THROTTLES, Counters
from gateway.storage.retries import (
    FIRST_BACKOFF,
    FIRST_PATIENCE,
    FIRST_TRIES,
    LAST_BACKOFF,
    PROGRESS_BYTES,
    TRIES,
    RetryBudget,
    TransientError,
    backoff,
)
from tests.support.rows import each_row


@each_row(
    ("tries", "chance", "after", "seconds"),
    [
        (0, 1.0, 0.0, 0.0),
        (0, 1.0, 3.0, 3.0),
        (1, 0.0, 0.0, FIRST_BACKOFF / 2),
        (1, 1.0, 0.0, FIRST_BACKOFF),
        (2, 1.0, 0.0, FIRST_BACKOFF * 2),
        (3, 0.5, 0.0, FIRST_BACKOFF * 3),
        (3, 1.0, 60.0, 60.0),
        (50, 1.0, 0.0, LAST_BACKOFF),
        (50, 0.0, 0.0, LAST_BACKOFF / 2),
        (50, 1.0, 5.0, LAST_BACKOFF),
    ],
)
def test_how_long_to_wait(tries: int, chance: float, after: float, seconds: float) -> None:
    assert backoff(tries, chance, after) == pytest.approx(seconds)


def test_half_a_minute_for_a_download_that_has_begun() -> None:
    assert 15 < sum(backoff(tries, 0.5) for tries in range(1, TRIES)) < 60
    assert sum(backoff(tries, 1.0) for tries in range(1, FIRST_TRIES)) < 1


class Waits:
    """Counts, and notes how long was waited instead of waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        self.counters = Counters()
        monkeypatch.setattr("gateway.storage.retries.asyncio.sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def budget(self) -> RetryBudget:
        return RetryBudget("the object 'a'", self.counters.add)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


@pytest.mark.parametrize(("begun", "most"), [(False, FIRST_TRIES), (True, TRIES)])
async def test_tries_in_a_row_without_a_byte_are_counted(waits: Waits, begun: bool, most: int) -> None:
    budget = waits.budget()
    budget.begun = begun
    for _ in range(3):
        for _ in range(most - 1):
            await budget.spend(TransientError("no", throttled=True))
        await budget.spend(TransientError("no"), 1)
    for _ in range(most - 1):
        await budget.spend(TransientError("no"))
    with pytest.raises(StorageError, match=f"^the object 'a' cannot be read after {most} tries: no$"):
        await budget.spend(TransientError("no"))
    values = waits.counters.values()
    assert values[UPSTREAM_RETRIES] == len(waits.seconds) == 3 * most + most - 1
    assert values[UPSTREAM_THROTTLES] == 3 * (most - 1)


async def test_after_progress_it_goes_on_at_once(waits: Waits) -> None:
    budget = waits.budget()
    budget.begun = True
    for brought in (PROGRESS_BYTES, PROGRESS_BYTES - 1, 1):
        await budget.spend(TransientError("no"), brought)
    await budget.spend(TransientError("no", after=7.0), PROGRESS_BYTES)
    assert waits.seconds[0] == 0
    assert all(0 < seconds <= FIRST_BACKOFF for seconds in waits.seconds[1:3])
    assert waits.seconds[3] == 7


@pytest.mark.parametrize(
    "fault", [TransientError("no", waited=True), TransientError("no", after=FIRST_PATIENCE + 1)]
)
async def test_before_the_first_byte_nobody_waits_long(waits: Waits, fault: TransientError) -> None:
    with pytest.raises(StorageError, match="cannot be read: no"):
        await waits.budget().spend(fault)
    begun = waits.budget()
    begun.begun = True
    await begun.spend(fault)
    assert len(waits.seconds) == 1

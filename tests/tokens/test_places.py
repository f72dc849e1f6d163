"""Places of a token's transfers over two workers: who gives one up for another, and who does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import redis

from gateway.errors import TOO_MANY_CONNECTIONS, Refused
from gateway.runtime.deferred import stepped
from gateway.store.key_names import running_key
from gateway.store.scripts import SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens import takeovers
from gateway.tokens.leases import Leases, Times
from gateway.tokens.places import Place, Places
from gateway.tokens.takeovers import PLACES, Demand, Question, Takeovers
from tests.support.deliveries import IdleDelivery
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.waiting import until

TOKEN, OTHER = "0123456789abcdef" * 2, "f" * 32


@dataclass
class Worker:
    """One worker's part."""

    topology: Topology
    takeovers: Takeovers
    places: Places

    async def begin(self, identifier: str = TOKEN, most: int = 1) -> IdleDelivery:
        """A transfer that takes one of `most` places, and gives it back when it is broken off."""
        delivery = IdleDelivery()
        place: Place = await stepped(self.places.take(identifier, delivery, most)).as_future()
        delivery._on_break_off = lambda: self.places.leave(place)
        return delivery


async def start_worker(store: StoreServer, times: Times | None) -> Worker:
    topology = Topology.connect([store.url], timeout=STORE_SECONDS, queue=100, scripts=SCRIPTS)
    topology.start()
    await until(lambda: topology.is_ready)
    asked = Takeovers(topology, Leases(topology, times), [store.url])
    asked.start()
    return Worker(topology, asked, Places(topology, asked, times))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may keep workers and store from running for seconds; a test says what is late."""
    monkeypatch.setattr(takeovers, "ANSWER_SECONDS", 30.0)
    monkeypatch.setattr(takeovers, "STALLED_SECONDS", 600.0)
    monkeypatch.setattr(takeovers, "FRUITLESS_SECONDS", 600.0)


@pytest.fixture
async def workers(store: StoreServer) -> AsyncIterator[list[Worker]]:
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        made = [await start_worker(store, None) for _ in range(2)]
        await until(lambda: client.pubsub_numsub(takeovers.EVERY_WORKER)[0][1] == 2)
        yield made
        for worker in made:
            await worker.takeovers.stop()
            await worker.topology.stop()


def test_a_question_about_places_is_read_back() -> None:
    question = Question(TOKEN, PLACES, Demand.STALLED, ())
    assert Question.decode([word for word in question.encode().split(" ") if word]) == question


@pytest.mark.parametrize("owner", [0, 1], ids=["own", "other"])
async def test_a_transfer_that_goes_on_is_never_ended_for_another(workers: list[Worker], owner: int) -> None:
    running = await workers[owner].begin()
    with pytest.raises(Refused) as refused:
        await workers[0].begin()
    assert refused.value.refusal is TOO_MANY_CONNECTIONS
    assert not running.broken
    await workers[0].begin(OTHER)


@pytest.mark.parametrize("owner", [0, 1], ids=["own", "other"])
@pytest.mark.parametrize("why", ["lost", "stalled"])
async def test_a_place_is_taken_over(
    workers: list[Worker], owner: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a transfer whose client has gone, or has taken nothing for a while, in whatever worker."""
    asking, owning = workers[0], workers[owner]
    ended = await owning.begin(most=2)
    if why == "lost":
        ended.lost = True
        alive = await owning.begin(most=2)
    else:
        owning.places.of_token(TOKEN)[0].idle_seconds(0.0)  # it was seen to be as far long ago
        monkeypatch.setattr(takeovers, "STALLED_SECONDS", 0.0)
        alive = None
    most = 2 if why == "lost" else 1
    fresh = await asking.begin(most=most)
    assert ended.broken
    assert not fresh.broken
    assert alive is None or not alive.broken
    key = running_key(TOKEN)
    assert await asking.topology.pipeline(key).call(b"ZCARD", key).as_future() == most


async def test_after_a_question_in_vain_nobody_is_asked_for_a_while(workers: list[Worker]) -> None:
    running = await workers[1].begin()
    for _ in range(3):
        with pytest.raises(Refused):
            await workers[0].begin()
    running.lost = True
    with pytest.raises(Refused):
        await workers[0].begin()  # within FRUITLESS_SECONDS
    assert not running.broken
    running.break_off()
    await until(lambda: not workers[1].places.of_token(TOKEN))
    await workers[0].begin()


async def test_the_places_of_a_worker_that_renews_none_are_free_again(store: StoreServer) -> None:
    worker = await start_worker(store, Times(0, 1000, 0.2))
    await worker.begin()
    fresh = await start_worker(store, None)

    async def is_free() -> bool:
        try:
            await fresh.begin()
        except Refused:
            return False
        return True

    while not await is_free():  # the time-out of the tests ends it
        pass
    for each in (worker, fresh):
        await each.takeovers.stop()
        await each.topology.stop()

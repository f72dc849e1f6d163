"""The way of batches out of a worker: while the store is there, is full, is away, and is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from gateway.runtime.metrics import EVENTS_DROPPED, EVENTS_WAITING, Counters
from gateway.store.key_names import events_key
from gateway.store.scripts import ADD_EVENTS
from gateway.store.topology import Topology
from gateway.usage import event_queue
from gateway.usage.event_files import EventFile
from gateway.usage.event_queue import EventQueue
from tests.support.store_server import STORE_SECONDS, StoreServer
from tests.support.usage import batch, batches_in, event
from tests.support.waiting import until

Make = Callable[..., EventQueue]


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
async def make(own_store: StoreServer, tmp_path: Path, counters: Counters) -> AsyncIterator[Make]:
    """Makes queues, which are started."""
    topology = Topology.connect([own_store.url], timeout=STORE_SECONDS, queue=100, scripts=(ADD_EVENTS,))
    topology.start()
    made: list[EventQueue] = []

    def make(most: int = 2**20, file_most: int = 2**20, slot: int = 0) -> EventQueue:
        queue = EventQueue(topology, counters, tmp_path, slot, most=most, file_most=file_most)
        queue.start()
        made.append(queue)
        return queue

    yield make
    for queue in made:
        await queue.stop()
    await topology.stop()


def stored(server: StoreServer) -> list[bytes]:
    with redis.Redis.from_url(server.url) as client:
        try:
            return batches_in(client)
        except redis.ConnectionError:
            return []


async def test_batches_arrive_in_their_order(make: Make, own_store: StoreServer, counters: Counters) -> None:
    queue = make()
    batches = [batch([event(number)]) for number in range(20)]
    for each in batches:
        queue.put(1, each)
    await until(lambda: stored(own_store) == batches)
    await until(lambda: counters.values()[EVENTS_WAITING] == 0)
    with redis.Redis.from_url(own_store.url) as client:
        assert int(client.get(f"{events_key(0)}:bytes") or 0) == sum(map(len, batches))


async def test_what_the_store_has_no_room_for_waits(
    make: Make, own_store: StoreServer, counters: Counters
) -> None:
    """A batch that alone is too long is taken where the stream is empty: it would wait for ever."""
    one = batch([event()])
    queue = make(most=2 * len(one))
    for _ in range(5):
        queue.put(1, one)
    await until(lambda: len(stored(own_store)) == 2)
    await until(lambda: counters.values()[EVENTS_WAITING] == 3)
    with redis.Redis.from_url(own_store.url) as client:
        client.delete(events_key(0), f"{events_key(0)}:bytes")
    await until(lambda: len(stored(own_store)) == 2)
    assert counters.values()[EVENTS_DROPPED] == 0


async def test_what_memory_has_no_room_for_waits_in_a_file(
    make: Make,
    own_store: StoreServer,
    counters: Counters,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_queue, "MEMORY_BYTES", 1000)
    own_store.stop()
    queue = make()
    batches = [batch([event(number)]) for number in range(20)]
    for each in batches:
        queue.put(1, each)
    await until(lambda: any((tmp_path / "events").glob("*.events")))
    own_store.start()
    await until(lambda: sorted(set(stored(own_store))) == sorted(batches))
    await until(lambda: counters.values()[EVENTS_WAITING] == 0)
    assert counters.values()[EVENTS_DROPPED] == 0
    await queue.stop()
    assert not list((tmp_path / "events").iterdir())


async def test_what_nobody_has_room_for_is_dropped_counted_and_logged(
    make: Make,
    own_store: StoreServer,
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(event_queue, "MEMORY_BYTES", 1000)
    own_store.stop()
    queue = make(file_most=0)
    batches = [batch([event(number)]) for number in range(20)]
    for each in batches:
        queue.put(1, each)
    await until(lambda: counters.values()[EVENTS_DROPPED] > 0)
    await until(lambda: "were dropped" in caplog.text)
    own_store.start()
    await until(lambda: counters.values()[EVENTS_WAITING] == 0)
    found = set(stored(own_store))
    assert found == set(batches[-len(found) :])
    assert len(found) + counters.values()[EVENTS_DROPPED] == 20


@pytest.mark.slow
async def test_a_store_that_lost_its_last_second_gets_it_again(make: Make, own_store: StoreServer) -> None:
    queue = make()
    queue.put(1, batch([event()]))
    await until(lambda: len(stored(own_store)) == 1)
    own_store.stop()  # it keeps nothing
    own_store.start()
    await until(lambda: len(stored(own_store)) == 1)


async def test_what_is_left_at_the_end_is_sent_by_the_next_worker(
    make: Make, own_store: StoreServer, tmp_path: Path
) -> None:
    own_store.stop()
    queue = make()
    queue.put(1, batch([event()]))
    await queue.stop()
    assert len(list((tmp_path / "events").iterdir())) == 1
    own_store.start()
    make()
    await until(lambda: stored(own_store) == [batch([event()])])
    await until(lambda: not list((tmp_path / "events").iterdir()))


async def test_a_folder_that_cannot_be_written_to_costs_the_events_and_nothing_else(
    make: Make,
    own_store: StoreServer,
    counters: Counters,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_queue, "MEMORY_BYTES", 10)
    (tmp_path / "events").write_text("no folder")
    own_store.stop()
    queue = make()
    for number in range(5):
        queue.put(1, batch([event(number)]))
    await until(lambda: counters.values()[EVENTS_DROPPED] == 5)
    (tmp_path / "events").unlink()
    own_store.start()
    queue.put(1, batch([event(9)]))
    await until(lambda: stored(own_store) == [batch([event(9)])])


async def test_a_file_is_not_taken_twice(tmp_path: Path) -> None:
    """Two workers of one folder have files of their own."""
    one, other = EventFile(tmp_path, "a", 100), EventFile(tmp_path, "b", 100)
    await asyncio.gather(asyncio.to_thread(one.append, [b"1"]), asyncio.to_thread(other.append, [b"2"]))
    assert (one.read(0, 9)[0], other.read(0, 9)[0]) == ([b"1"], [b"2"])
    one.close()
    other.close()

"""Limits while workers and the store are killed and frozen: nothing is lost, nothing is given away.

CHAOS_SECONDS says how long it lasts (two minutes unless set), CHAOS_SEED repeats a run's choices.

The bounds, each for one link. A transfer is *hit* when a fault fell into its time, or shortly before or
after. What it had received since the last checkpoint that was possible before the fault is called *late*:
bytes that left the machine without the store's knowledge.

- received ≤ charged + late bytes of its transfers whose worker was killed;
- charged ≤ received + what transfers hit by a kill or by a fault of the store did not receive of what they
  had asked for + what the customer's kernel held unread when a transfer ended early;
- received ≤ allowance + late bytes of transfers that were hit;
- in the end, a resume gets the rest of the file wherever the allowance has room for it.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import PIECE, RECEIVE_BUFFER, Attempt, Customer, Fault, Faults, Link
from tests.support.plane import Plane
from tests.support.store_server import StoreServer
from tests.support.waiting import wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SIZE = 16 << 20
CUSTOMERS = 12
AFTER, EVERY, LASTS = 0.3, 0.5, 3.0
JITTER = 0.5
"""How late a checkpoint may be on a busy machine."""
GRACE = 2.0
"""How long before and after its time a transfer may be hit: it is claimed, settled or refunded then."""
UNREAD = 2 * RECEIVE_BUFFER + PIECE
STORE = ("--appendonly", "yes", "--appendfsync", "no")  # nothing that was answered is lost by SIGKILL


@pytest.fixture
def store() -> Iterator[StoreServer]:
    folder = Path(tempfile.mkdtemp(prefix="dg-store-"))
    server = StoreServer(folder, STORE)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def plane(store: StoreServer, tmp_path: Path) -> Iterator[Plane]:
    options = {"workers": 2, "lease_times": (AFTER, EVERY, LASTS), "restarts": True}
    plane = Plane(tmp_path, store.url, options)
    try:
        plane.start()
        yield plane
        plane.stop()
    finally:
        plane.kill()


def hits(attempt: Attempt, fault: Fault) -> bool:
    return fault.begin <= attempt.end + GRACE and fault.end >= attempt.begin - GRACE


def late(attempt: Attempt, fault: Fault, faults: list[Fault]) -> int:
    """Bytes that the store may not know to have been sent when the fault happened."""
    checkpoint = fault.begin - EVERY - JITTER
    for other in reversed(faults):  # while these lasted there was no checkpoint, and for a moment afterwards
        if other.begin < fault.begin and checkpoint < other.end + EVERY + JITTER:
            checkpoint = min(checkpoint, other.begin - EVERY - JITTER)
    return attempt.received_since(checkpoint)


def worst(attempt: Attempt, faults: list[Fault], *kinds: str) -> int:
    """The late bytes of a transfer by the worst of these faults."""
    hit = [fault for fault in faults if fault.kind in kinds and hits(attempt, fault)]
    return max((late(attempt, fault, faults) for fault in hit), default=0)


def check_link(link: Link, charged: int, faults: list[Fault]) -> tuple[int, int]:
    """Check the bounds of one link. Returns bytes received without a charge, and charged without receipt."""
    attempts = link.attempts
    uncharged = sum(worst(attempt, faults, "kill worker") for attempt in attempts)
    beyond = sum(
        worst(attempt, faults, "kill worker", "freeze worker", "freeze store", "kill store")
        for attempt in attempts
    )
    lost = sum(
        attempt.asked - attempt.received
        for attempt in attempts
        if any(hits(attempt, fault) for fault in faults if fault.kind != "freeze worker")
    )
    unread = sum(UNREAD for attempt in attempts if attempt.status and attempt.received < attempt.asked)
    story = "\n".join(
        f"{attempt.status} {attempt.start}+{attempt.asked}: {attempt.received} "
        f"{attempt.begin:.2f} to {attempt.end:.2f}{' broken off' if attempt.by_customer else ''}"
        for attempt in attempts
    )
    assert link.received <= charged + uncharged, story
    assert charged <= link.received + lost + unread, story
    assert link.received <= link.allowance + beyond, story
    return max(0, link.received - charged), max(0, charged - link.received)


def finish(customer: Customer, plane: Plane, link: Link) -> bool:
    """Get the rest of the file; whether its allowance had room for it."""
    for start, stop in link.missing():
        attempt = customer.fetch(link, start, stop, rate=1 << 30)
        if attempt.status == 403:
            assert plane.charged(link.url) + (stop - start) > link.allowance, (
                "it has room, and yet it is refused"
            )
            return False
        assert (attempt.status, attempt.received) == (206, stop - start)
    return True


@pytest.mark.slow
def test_limits_hold_while_workers_and_store_are_killed_and_frozen(plane: Plane, store: StoreServer) -> None:
    chance = random.Random(SEED)
    content = chance.randbytes(SIZE)
    published = plane.publish(content)
    plane.expected = ["the store"]
    stop = threading.Event()
    faults = Faults(plane, store, chance, stop)
    failures: list[BaseException] = []
    links: list[list[Link]] = []

    def new_links(count: int) -> Iterator[Link]:
        for number in range(count):
            maximum = 1 + number % 2
            yield Link(plane.link(published, maximum), maximum, SIZE)

    def buy(customer: Customer, own: Iterator[Link], used: list[Link]) -> None:
        try:
            for link in own:
                if stop.is_set():
                    return
                used.append(link)
                customer.get_whole(link)
        except BaseException as error:
            failures.append(error)

    def guard() -> None:
        try:
            faults.run()
        except BaseException as error:
            failures.append(error)

    customers = [Customer(plane.address, content, random.Random(chance.random())) for _ in range(CUSTOMERS)]
    threads = [threading.Thread(target=guard)]
    for customer in customers:
        customer.stop = stop
        used: list[Link] = []
        links.append(used)
        own = list(new_links(int(SECONDS)))  # now, while the store is well
        threads.append(threading.Thread(target=buy, args=(customer, iter(own), used)))
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not failures:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == [], SEED
    check_end(plane, customers[0], [link for used in links for link in used], faults.done)


def check_end(plane: Plane, customer: Customer, links: list[Link], faults: list[Fault]) -> None:
    """Check every link, and finish its file."""
    customer.stop = threading.Event()

    def is_ready() -> bool:
        return plane.get("/readyz").status == 200

    wait_until(is_ready, "the workers are ready")
    time.sleep(LASTS + 2 * EVERY)  # leases of workers that were killed run out
    finished = sum(finish(customer, plane, link) for link in links)
    time.sleep(2 * EVERY)
    sums = [check_link(link, plane.charged(link.url), faults) for link in links]
    attempts = [attempt for link in links for attempt in link.attempts]
    kinds = Counter(fault.kind for fault in faults)
    statuses = Counter(attempt.status for attempt in attempts)
    print(
        f"\nseed {SEED}: {SECONDS:g} s, {len(links)} links, {len(attempts)} requests {dict(statuses)}, "
        f"{sum(link.received for link in links) >> 20} MiB received; faults {dict(kinds)}; "
        f"{finished} files finished; received and not charged {sum(each[0] for each in sums) >> 10} KiB "
        f"(most of one link {max(each[0] for each in sums) >> 10}), charged and not received "
        f"{sum(each[1] for each in sums) >> 10} KiB (most of one link {max(each[1] for each in sums) >> 10})"
    )
    assert finished

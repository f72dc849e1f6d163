"""Limits and usage while everything is killed and frozen: nothing is lost, nothing is given away.

CHAOS_SECONDS says how long it lasts (a minute unless set), CHAOS_SEED repeats a run's choices.

The bounds, each for one link. What a transfer has received since the last checkpoint that was possible before
a fault is called *late*: bytes that left the machine without the store's knowledge.

- received ≤ charged + late bytes of transfers whose worker was killed;
- charged ≤ received + what transfers whose worker was killed, or whose store did not answer, have not
  received of what they asked for + what the customer's kernel held unread when another transfer ended early;
- received ≤ allowance + late bytes of transfers whose worker was killed, or so long away from the store that
  their leases ran out;
- in the end, a resume gets the rest of the file wherever the allowance has room for it;
- usage in the database ≤ received + what the customer's kernel held unread when a transfer ended early;
- usage in the database ≥ what was received by transfers that had ended so long before any worker was killed
  that their events had left it (a file below `data` or a stream has them then), less what counts as dropped.
  Whatever happens to the web process and the database may only delay it.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.database.usage_tables import DOWNLOAD, TOKEN_SERIES
from gateway.dataplane.delivery.client_socket import GAP_BYTES
from gateway.runtime.metrics import EVENTS_DROPPED, EVENTS_WAITING
from gateway.secrets import token_id
from gateway.store.key_names import EVENT_STREAMS, events_key
from tests.support.chaos import (
    BEHIND,
    PIECE,
    RECEIVE_BUFFER,
    Attempt,
    Books,
    Customer,
    Fault,
    Faults,
    Link,
)
from tests.support.plane import Plane
from tests.support.postgres import PostgresServer
from tests.support.store_server import DURABLE, StoreServer
from tests.support.waiting import wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SIZE = 16 << 20
CUSTOMERS = 12
AFTER, EVERY, LASTS = 0.3, 0.5, 3.0
JITTER = 0.5
"""How late a checkpoint may be on a busy machine."""
GRACE = 2.0
"""How long after a fault of the store, and after a transfer, a claim or a refund may still be under way."""
UNREAD = 2 * RECEIVE_BUFFER + PIECE
"""What a client's socket may hold that it has not read. Where we break the connection off, GAP_BYTES count as
sent, too: see `ClientSocket.break_connection`."""
KERNEL_HOLDS = UNREAD + int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])
"""What a customer may still receive of a worker that is dead."""
LEAVES = 3.0
"""How long an event may be in a worker's memory only, while the store is well: 0.2 s, and time on a busy
machine."""


@pytest.fixture
def store() -> Iterator[StoreServer]:
    folder = Path(tempfile.mkdtemp(prefix="dg-store-"))
    server = StoreServer(folder, DURABLE)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def plane(store: StoreServer, tmp_path: Path) -> Iterator[Plane]:
    options = {
        "workers": 2,
        "lease_times": (AFTER, EVERY, LASTS),
        "restarts": True,
        # as outside of tests: store and workers are frozen here
        "redis_timeout": 1.0,
        "patience": 1.0,
    }
    plane = Plane(tmp_path, store.url, options)
    try:
        plane.start()
        yield plane
        plane.stop()
    finally:
        plane.kill()


@pytest.fixture
def books(plane: Plane, own_postgres: PostgresServer) -> Iterator[Books]:
    books = Books(plane, own_postgres, asyncio.run(own_postgres.create("chaos")))
    books.start_web()
    yield books
    books.close()


def is_unknown_since(fault: Fault, faults: list[Fault]) -> float:
    """Since when the store may not know what the workers of a fault have sent, and what they have settled."""
    checkpoint = fault.begin - EVERY - JITTER
    for other in reversed(faults):  # while these lasted there was no checkpoint, and for a moment afterwards
        hinders = other.slot is None or (other.slot == fault.slot and other.kind == "freeze worker")
        if hinders and other.begin < fault.begin and checkpoint < other.end + EVERY + JITTER:
            checkpoint = min(checkpoint, other.begin - EVERY - JITTER)
    return checkpoint


def was_killed(attempt: Attempt, fault: Fault, faults: list[Fault]) -> bool:
    """Whether its worker may have died before the transfer was settled.

    Nobody knows which worker it had. It had another one if it went on for longer than the kernel sends what a
    dead worker has given it.
    """
    if fault.kind != "kill worker" or attempt.begin > fault.end:
        return False
    is_open = attempt.end > is_unknown_since(fault, faults)
    return is_open and (
        attempt.received < attempt.asked or attempt.received_since(fault.begin) <= KERNEL_HOLDS
    )


def was_cut_off(attempt: Attempt, fault: Fault, faults: list[Fault]) -> bool:
    """Whether its lease may have run out while it was sent."""
    if fault.slot == BEHIND:
        return False
    is_long = fault.kind != "kill worker" and fault.end - fault.begin > LASTS - EVERY - 2 * JITTER
    return is_long and attempt.begin <= fault.end and attempt.end > is_unknown_since(fault, faults)


def was_unanswered(attempt: Attempt, fault: Fault) -> bool:
    """Whether the store may not have answered its claim or its refund."""
    is_near = attempt.begin - GRACE <= fault.end and attempt.end + GRACE >= fault.begin
    return fault.slot is None and is_near


def late(attempt: Attempt, fault: Fault, faults: list[Fault]) -> int:
    """Bytes that the store may not know to have been sent when the fault happened."""
    return attempt.received_since(is_unknown_since(fault, faults))


def unread(attempt: Attempt) -> int:
    """Bytes that may count as sent, and that the customer has not read, of a transfer that ended early."""
    if not attempt.status or attempt.received == attempt.asked:
        return 0
    return UNREAD if attempt.by_customer else UNREAD + GAP_BYTES


def describe(link: Link, faults: list[Fault]) -> str:
    """What was done with a link, and to the machine meanwhile: for a failure's message."""
    attempts = [
        f"{attempt.status} {attempt.start}+{attempt.asked}: {attempt.received} "
        f"{attempt.begin:.2f} to {attempt.end:.2f}{' broken off' if attempt.by_customer else ''}"
        for attempt in link.attempts
    ]
    first, last = link.attempts[0].begin - GRACE, link.attempts[-1].end + GRACE
    near = [
        f"{fault.kind} {'' if fault.slot is None else fault.slot} {fault.begin:.2f} to {fault.end:.2f}"
        for fault in faults
        if fault.begin <= last and fault.end >= first
    ]
    return "\n".join((f"seed {SEED}, {link.url}", *attempts, *near))


def check_link(link: Link, charged: int, faults: list[Fault]) -> tuple[int, int]:
    """Check the bounds of one link. Returns bytes received without a charge, and charged without receipt."""
    attempts = link.attempts
    uncharged = beyond = lost = held = 0
    for attempt in attempts:
        killed = [late(attempt, fault, faults) for fault in faults if was_killed(attempt, fault, faults)]
        cut_off = [late(attempt, fault, faults) for fault in faults if was_cut_off(attempt, fault, faults)]
        uncharged += max(killed, default=0)
        beyond += max(killed + cut_off, default=0)
        if killed or any(was_unanswered(attempt, fault) for fault in faults):
            lost += attempt.asked - attempt.received
        else:
            held += unread(attempt)
    assert link.received <= charged + uncharged, describe(link, faults)
    assert charged <= link.received + lost + held, describe(link, faults)
    assert link.received <= link.allowance + beyond, describe(link, faults)
    return max(0, link.received - charged), max(0, charged - link.received)


def may_be_uncounted(attempt: Attempt, faults: list[Fault]) -> bool:
    """Whether its event may have been in the memory of a worker that was killed."""
    for fault in faults:
        if fault.kind != "kill worker" or attempt.begin > fault.end:
            continue
        since = fault.begin - LEAVES
        for other in reversed(faults):  # while the store was away, and a moment later, no event left
            if other.slot is None and other.begin < fault.begin and since < other.end + LEAVES:
                since = min(since, other.begin - LEAVES)
            if other.kind == "freeze worker" and other.begin < fault.begin and since < other.end + LEAVES:
                since = min(since, other.begin - LEAVES)
        if attempt.end >= since:
            return True
    return False


def check_usage(links: list[Link], plane: Plane, books: Books, faults: list[Fault]) -> str:
    """Wait until all usage is in the database, and hold it to what was received. Returns the figures."""

    def is_applied() -> bool:
        books.start_web()
        lengths = [plane.store.xlen(events_key(number)) for number in range(EVENT_STREAMS)]
        waiting = sum(worker.counters.values()[EVENTS_WAITING] for worker in plane.workers)
        return not any(lengths) and waiting == 0

    books.postgres.stop()  # one more crash; and the server ends with the thread that has started it
    books.postgres.start()
    try:
        wait_until(is_applied, "usage is applied", 120)
    except AssertionError:
        lengths = [plane.store.xlen(events_key(number)) for number in range(EVENT_STREAMS)]
        waiting = [worker.counters.values()[EVENTS_WAITING] for worker in plane.workers]
        log = books.log.read_text()[-3000:]
        pytest.fail(f"seed {SEED}: streams {lengths}, in workers {waiting}; the web process: {log}")
    applied = asyncio.run(_applied(books))
    dropped = sum(worker.counters.values()[EVENTS_DROPPED] for worker in plane.workers)
    least = most = 0
    for link in links:
        received = [each for each in link.attempts if each.received]
        sure = sum(each.received for each in received if not may_be_uncounted(each, faults))
        found = applied.get(token_id(link.url.partition("token=")[2]), 0)
        assert found <= link.received + sum(map(unread, link.attempts)), describe(link, faults)
        if not dropped:
            assert found >= sure, describe(link, faults)
        least, most = least + sure, most + found
    total = sum(link.received for link in links)
    return (
        f"usage {most >> 20} MiB of {total >> 20} MiB received, {least >> 20} MiB of which must be counted; "
        f"{dropped} events dropped"
    )


async def _applied(books: Books) -> dict[str, int]:
    """Bytes in the database by token."""
    connection = await asyncpg.connect(books.postgres.url("chaos"))
    try:
        rows = await connection.fetch(
            f"SELECT t.token_id, sum(d.bytes)::bigint AS bytes FROM {TOKEN_SERIES.name} t "
            f"JOIN {DOWNLOAD.name} d ON d.series_id = t.series_id GROUP BY t.token_id"
        )
    finally:
        await connection.close()
    return {row["token_id"]: row["bytes"] for row in rows}


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
@pytest.mark.alone  # a worker that other programs keep from running loses its leases, as a frozen one
def test_limits_and_usage_hold_while_everything_is_killed_and_frozen(
    plane: Plane, store: StoreServer, books: Books
) -> None:
    chance = random.Random(SEED)
    content = chance.randbytes(SIZE)
    published = plane.publish(content)
    plane.expected = ["the store"]
    stop = threading.Event()
    faults = Faults(plane, store, chance, stop, books)
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
    check_end(plane, customers[0], [link for used in links for link in used], faults.done, books)


def check_end(plane: Plane, customer: Customer, links: list[Link], faults: list[Fault], books: Books) -> None:
    """Check every link, and finish its file."""
    customer.stop = threading.Event()

    def is_ready() -> bool:
        return plane.get("/readyz").status == 200

    wait_until(is_ready, "the workers are ready")
    time.sleep(LASTS + 2 * EVERY)  # leases of workers that were killed run out
    finished = sum(finish(customer, plane, link) for link in links)
    time.sleep(2 * EVERY)
    sums = [check_link(link, plane.charged(link.url), faults) for link in links]
    usage = check_usage(links, plane, books, faults)
    attempts = [attempt for link in links for attempt in link.attempts]
    kinds = Counter(fault.kind for fault in faults)
    statuses = Counter(attempt.status for attempt in attempts)
    print(
        f"\nseed {SEED}: {SECONDS:g} s, {len(links)} links, {len(attempts)} requests {dict(statuses)}, "
        f"{sum(link.received for link in links) >> 20} MiB received; faults {dict(kinds)}; "
        f"{finished} files finished; received and not charged {sum(each[0] for each in sums) >> 10} KiB "
        f"(most of one link {max(each[0] for each in sums) >> 10}), charged and not received "
        f"{sum(each[1] for each in sums) >> 10} KiB (most of one link "
        f"{max(each[1] for each in sums) >> 10}); {usage}"
    )
    assert finished

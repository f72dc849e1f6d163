"""Faults of a worker's store, with a real server that is stopped, paused or out of memory."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.downloads import IN_FLIGHT, begin
from tests.support.http_client import Response, request
from tests.support.plane import Plane
from tests.support.store_server import AWAY, DURABLE, StoreServer, send_signal
from tests.support.timing import lasts
from tests.support.waiting import wait_until

LARGE = 40_000_000


@pytest.mark.slow
@pytest.mark.timing
def test_a_stopped_store_refuses_requests_at_once(
    own_store: StoreServer, make_plane: Callable[..., Plane]
) -> None:
    """503 at once, running downloads continue, recovery within 2 s of its return without a restart."""
    plane = make_plane()
    plane.expected += AWAY
    content = os.urandom(LARGE)
    published = plane.publish(content)
    target = plane.link(published)
    assert plane.get(target, "Range: bytes=0-0").status == 206
    client, first = begin(plane, target)
    own_store.stop()
    wait_until(lambda: plane.get("/readyz").status == 503, "it noticed")
    with plane.connect() as other:
        for _ in range(20):
            with lasts(most=0.1):
                answer = other.get(target)
            assert (answer.status, answer.code) == (503, "store_unavailable")
            assert 0 < int(answer["Retry-After"]) < 10
        assert other.get("/healthz").status == 200
        assert other.get("/auth", f"X-Original-URI: {target}").status == 404
    assert first + client.read_bytes(LARGE - len(first)) == content
    client.socket.close()
    own_store.start()  # empty
    plane.store.set(f"dg:manifest:{{{published.manifest.digest}}}", published.manifest.text)
    target = plane.link(published, maximum=1)
    wait_until(lambda: plane.get(target, "Range: bytes=0-9").status == 206, "it recovered", 2)
    assert plane.get("/readyz").status == 200
    assert plane.charged(target) == 10


def served(plane: Plane, target: str, status: int = 200) -> Response:
    """The first answer with this status. Others may come before it while a store is slow."""

    def got() -> Response | None:
        answer = plane.get(target)
        return answer if answer.status == status else None

    return wait_until(got, f"{status} was answered")  # type: ignore[return-value]


@pytest.mark.timing
def test_a_paused_store_refuses_requests_in_time(
    own_store: StoreServer, make_plane: Callable[..., Plane]
) -> None:
    """A store that hangs: 503 within the time-out, then at once; back as soon as it answers."""
    plane = make_plane(redis_timeout=0.4)
    target = plane.link(plane.publish(b"x" * 1000), maximum=2)
    served(plane, target)
    send_signal(own_store, signal.SIGSTOP)
    with lasts(0.3, 0.7):
        answer = plane.get(target)
    assert (answer.status, answer.code) == (503, "store_unavailable")
    wait_until(lambda: plane.get("/readyz").status == 503, "it noticed")
    for _ in range(10):
        with lasts(most=0.1):
            assert plane.get(target).status == 503
    send_signal(own_store, signal.SIGCONT)
    wait_until(lambda: plane.get(target, method="HEAD").status == 200, "it recovered", 1)
    served(plane, target)
    wait_until(lambda: plane.charged(target) == 2000, "late claims were returned")


def test_store_paused_for_long(own_store: StoreServer, make_plane: Callable[..., Plane]) -> None:
    """The connection is set aside in the end, and still read: a claim carried out too late is returned."""
    plane = make_plane(redis_timeout=0.1)
    plane.expected += AWAY
    target = plane.link(plane.publish(b"x" * 1000), maximum=2)
    served(plane, target)
    send_signal(own_store, signal.SIGSTOP)
    assert plane.get(target).status == 503
    time.sleep(1)  # several times the time-out
    send_signal(own_store, signal.SIGCONT)
    wait_until(lambda: plane.get(target, method="HEAD").status == 200, "it recovered")
    served(plane, target)
    assert served(plane, target, 403).code == "limit_reached"
    wait_until(lambda: plane.charged(target) == 2000, "late claims were returned")


def test_a_late_claim_is_given_back(own_store: StoreServer, make_plane: Callable[..., Plane]) -> None:
    """Redis carried a claim out after the request had been refused: the customer does not pay for it."""
    plane = make_plane(redis_timeout=0.3)
    target = plane.link(plane.publish(b"x" * 1000), maximum=2)
    served(plane, target)
    clients = [plane.connect() for _ in range(8)]
    pause = threading.Thread(target=lambda: send_signal(own_store, signal.SIGSTOP))
    for client in clients:
        client.send(request(target))
    pause.start()
    pause.join()
    statuses = [client.read().status for client in clients]
    send_signal(own_store, signal.SIGCONT)
    for client in clients:
        client.socket.close()
    wait_until(lambda: plane.get("/readyz").status == 200, "it recovered")
    wait_until(lambda: plane.charged(target) == 1000 * (1 + statuses.count(200)), "late claims were returned")


@pytest.mark.slow
def test_replies_are_never_mispaired(own_store: StoreServer, make_plane: Callable[..., Plane]) -> None:
    """Clients with tokens and files of their own, some leaving early, while the store stops and starts."""
    plane = make_plane(redis_timeout=0.1)
    plane.expected += AWAY
    contents = [f"file {number} ".encode() * 500 for number in range(16)]
    links = [plane.link(plane.publish(content), maximum=1_000_000) for content in contents]
    stop = threading.Event()
    good = [number % 4 == 3 for number in range(16)]  # nobody asks how it ends for those who leave

    def download(number: int) -> None:
        while not stop.is_set():
            with plane.connect() as client:
                if number % 4 == 3:
                    client.send(request(links[number]))
                    client.reset()
                    continue
                for _ in range(5):
                    answer = client.get(links[number])
                    assert answer.status in (200, 503)
                    if answer.status == 200:
                        assert answer.body == contents[number]
                        good[number] = True

    with ThreadPoolExecutor(16) as pool:
        running = [pool.submit(download, number) for number in range(16)]
        for pause in (0.05, 0.15, 0.05, 0.8, 0.15):
            time.sleep(0.15)
            send_signal(own_store, signal.SIGSTOP)
            time.sleep(pause)
            send_signal(own_store, signal.SIGCONT)
        try:
            wait_until(lambda: all(good) or any(task.done() for task in running), "all were served", 30)
        finally:
            stop.set()
        for task in running:
            task.result()


@pytest.mark.parametrize("forget", ["SCRIPT FLUSH", "restart"])
def test_scripts_are_loaded_again(
    own_store: StoreServer, make_plane: Callable[..., Plane], forget: str
) -> None:
    plane = make_plane()
    plane.expected += AWAY
    published = plane.publish(b"x" * 1000)
    assert plane.get(plane.link(published, maximum=1)).status == 200
    if forget == "restart":
        own_store.stop()
        own_store.start()
        plane.store.set(f"dg:manifest:{{{published.manifest.digest}}}", published.manifest.text)
        wait_until(lambda: plane.get("/readyz").status == 200, "it is connected again")
    else:
        plane.store.script_flush()
    target = plane.link(published, maximum=1)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: plane.get(target).status, range(8)))
    assert sorted(statuses) == [200] + [403] * 7
    assert plane.charged(target) == 1000


def test_a_full_store(own_store: StoreServer, make_plane: Callable[..., Plane]) -> None:
    """Out of memory: what must be written is refused as the store's fault, what need not be is served."""
    plane = make_plane()
    plane.expected.append("the store cannot serve: OOM")
    published = plane.publish(b"x" * 1000)
    limited, unlimited = plane.link(published, maximum=5), plane.link(published)
    large = plane.link(plane.publish(bytes(LARGE)), maximum=1)
    client, first = begin(plane, large)
    plane.store.config_set("maxmemory", 1)
    answer = plane.get(limited)
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert plane.get(unlimited).status == 200
    ready = plane.get("/readyz")
    assert (ready.status, b"OOM" in ready.body) == (503, True)
    client.reset()  # its refund is refused now, and must not be lost
    time.sleep(0.3)
    assert plane.charged(large) == LARGE
    plane.store.config_set("maxmemory", 0)
    wait_until(lambda: len(first) <= plane.charged(large) < IN_FLIGHT, "the rest was returned")
    assert plane.get(limited).status == 200
    assert plane.charged(limited) == 1000
    assert plane.get("/readyz").status == 200
    assert plane.workers[0].errors.read_text().count("OOM") == 1


def test_a_server_that_becomes_a_replica_is_not_used(
    own_store: StoreServer, make_plane: Callable[..., Plane]
) -> None:
    """Not for look-ups either: a link revoked on the new primary would go on working."""
    plane = make_plane()
    plane.expected.append("the store cannot serve: READONLY")
    published = plane.publish(b"x" * 1000)
    limited, unlimited = plane.link(published, maximum=5), plane.link(published)
    assert plane.get(unlimited).status == 200
    plane.store.replicaof("127.0.0.1", 1)
    wait_until(lambda: plane.get(unlimited).status == 503, "the look-ups noticed it")
    answer = plane.get(limited)
    assert (answer.status, answer.code) == (503, "store_unavailable")
    answer = plane.get("/readyz")
    assert (answer.status, b"READONLY" in answer.body) == (503, True)
    plane.store.replicaof("NO", "ONE")
    wait_until(lambda: plane.get(limited).status == 200, "it recovered")
    wait_until(lambda: plane.get("/readyz").status == 200, "it is ready")
    wait_until(lambda: "the store is back" in plane.workers[0].errors.read_text(), "it was logged")
    assert plane.workers[0].errors.read_text().count("READONLY") == 1


@pytest.mark.timing
def test_the_queue_is_bounded(own_store: StoreServer, make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(redis_queue=3, redis_timeout=20.0)  # the machine may be busy
    target = plane.link(plane.publish(b"x"))
    assert plane.get(target).status == 200
    send_signal(own_store, signal.SIGSTOP)
    clients = {}
    with lasts(most=0.5):
        for client in [plane.connect() for _ in range(10)]:
            client.send(request(target))
            clients[client.socket] = client
        wait_until(lambda: len(answered(clients)) == 7, "those for whom there is no room were refused")
    for one in answered(clients):
        assert clients.pop(one).read().status == 503
        one.close()
    send_signal(own_store, signal.SIGCONT)
    for client in clients.values():
        assert client.read().status == 200
        client.socket.close()


def answered(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    return select.select(list(sockets), [], [], 0)[0]


def test_a_refund_waits_for_the_store(tmp_path: Path) -> None:
    """A client leaves while the store is down; the store comes back with its data, and gets the refund."""
    store = StoreServer(tmp_path / "store", DURABLE)
    store.folder.mkdir()
    store.start()
    plane = Plane(tmp_path, store.url)
    try:
        plane.start()
        plane.expected += AWAY
        target = plane.link(plane.publish(bytes(LARGE)), maximum=1)
        client, first = begin(plane, target)
        assert plane.charged(target) == LARGE
        store.stop()
        wait_until(lambda: plane.get("/readyz").status == 503, "it noticed")
        client.reset()
        wait_until(lambda: any(entry.get("whole") is False for entry in plane.entries()), "it ended")
        store.start()
        wait_until(lambda: len(first) <= plane.charged(target) < IN_FLIGHT, "the rest was returned")
        plane.stop()
    finally:
        plane.kill()
        store.stop()


@pytest.mark.slow
def test_refunds_are_settled_at_the_end(make_plane: Callable[..., Plane]) -> None:
    """What a drain breaks off in the end is returned before the worker goes."""
    plane = make_plane(drain_timeout=0.3)
    target = plane.link(plane.publish(bytes(LARGE)), maximum=1)
    client, first = begin(plane, target)
    [worker] = plane.workers
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    assert len(first) <= plane.charged(target) < IN_FLIGHT
    client.socket.close()

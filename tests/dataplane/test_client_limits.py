"""How many transfers of one client address run at once, over two workers behind a front proxy."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from gateway.runtime.metrics import DOWNLOADS_RUNNING
from tests.support.http_client import Client, request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

BIG = 64 << 20
"""More than the kernel takes for a client that reads nothing."""
MOST = 3


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    options: dict[str, Any] = {
        "workers": 2,
        "restarts": True,
        "max_address_connections": MOST,
        "trusted_proxies": "127.0.0.1, 10.0.0.0/8",
        "exempt_clients": "198.51.100.0/24, 2001:db8:99::/48",
    }
    with run_plane(tmp_path_factory.mktemp("clients"), **options) as running:
        yield running


def begin(plane: Plane, link: str, client: str = "", *fields: str) -> tuple[Client, int]:
    """Begin a download that the client does not go on reading. Returns the client, and the status."""
    connection = plane.connect(receive_buffer=16384)
    said = [f"X-Forwarded-For: {client}"] if client else []
    connection.send(request(link, *said, *fields))
    return connection, connection.read_head().status


def are_running(plane: Plane) -> int:
    return sum(worker.counters.values()[DOWNLOADS_RUNNING] for worker in plane.workers)


@contextmanager
def running(plane: Plane, link: str, *clients: str) -> Iterator[list[Client]]:
    """A download for each of these clients."""
    begun = [begin(plane, link, client) for client in clients]
    assert {status for _, status in begun} == {200}
    try:
        yield [connection for connection, _ in begun]
    finally:
        for connection, _ in begun:
            with suppress(OSError):  # the test may have closed it
                connection.reset()
        wait_until(lambda: are_running(plane) == 0, "all have ended")


@pytest.fixture(scope="module")
def link(plane: Plane) -> str:
    return plane.link(plane.publish(b"x", names=["a.bin"], sparse=BIG))


@pytest.mark.parametrize(
    ("clients", "one_more", "status"),
    [
        (("203.0.113.1",) * MOST, "203.0.113.1", 429),
        (("203.0.113.1",) * MOST, "203.0.113.2", 200),
        (("203.0.113.1",) * MOST, "::ffff:203.0.113.1", 429),
        (("203.0.113.1",) * MOST, "203.0.113.1, 10.1.2.3", 429),
        (("2001:db8::1", "2001:db8::2", "2001:db8::f:0:0:3"), "2001:db8::4", 429),
        (("2001:db8::1", "2001:db8::2", "2001:db8::3"), "2001:db8:0:1::1", 200),
        (("198.51.100.1",) * MOST, "198.51.100.1", 200),  # exempt
        (("2001:db8:99::1",) * MOST, "2001:db8:99::1", 200),
        (("",) * MOST, "", 200),  # the proxy names nobody
        (("10.9.9.9",) * MOST, "10.9.9.9", 200),  # the proxies themselves
    ],
)
def test_one_more_of_the_same_address_is_refused(
    plane: Plane, link: str, clients: tuple[str, ...], one_more: str, status: int
) -> None:
    with running(plane, link, *clients):
        connection, got = begin(plane, link, one_more)
        connection.reset()
        assert got == status


def test_the_refusal_and_what_is_never_refused(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    small = plane.link(plane.publish(b"x" * 50), 3)
    limited = plane.link(published, 1)
    client = "X-Forwarded-For: 203.0.113.5"
    with running(plane, plane.link(published), *["203.0.113.5"] * MOST) as others:
        answer = plane.get(limited, client)
        assert (answer.status, answer.code) == (429, "too_many_connections")
        assert 1 <= int(answer["Retry-After"]) <= 60
        wait_until(lambda: plane.charged(limited) == 0, "what was reserved was returned")
        for _ in range(2):
            assert plane.get(small, client).status == 200
        assert plane.get(limited, client, method="HEAD").status == 200
        assert plane.get(limited, client, "Range: bytes=0-99").status == 206  # sent in one piece
        others[0].reset()
        wait_until(lambda: are_running(plane) == MOST - 1, "it has ended")
        connection, status = begin(plane, limited, "203.0.113.5")
        assert status == 200
        connection.reset()


def test_the_limit_holds_whatever_token_is_used(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    with running(plane, plane.link(published), *["203.0.113.6"] * MOST):
        for maximum in (None, 5):
            assert plane.get(plane.link(published, maximum), "X-Forwarded-For: 203.0.113.6").status == 429


def test_a_token_refused_for_its_own_limit_leaves_nothing_counted(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    token = plane.token(published, caps="connections=1")
    with running(plane, f"/download?token={token}", "203.0.113.7"):
        for _ in range(2 * MOST):
            assert plane.get(f"/download?token={token}", "X-Forwarded-For: 203.0.113.7").status == 429
        with_other, status = begin(plane, plane.link(published), "203.0.113.7")
        assert status == 200
        with_other.reset()


def test_the_transfers_of_a_dead_worker_do_not_stay(plane: Plane, link: str) -> None:
    client = "203.0.113.8"
    begun = [begin(plane, link, client)[0] for _ in range(MOST)]
    refused, status = begin(plane, link, client)
    assert status == 429
    for slot in range(2):
        os.kill(plane.workers[slot].process.pid, signal.SIGSTOP)
        plane.restart(slot)
    for each in (refused, *begun):
        each.socket.close()
    with running(plane, link, *[client] * MOST):
        assert plane.get(link, f"X-Forwarded-For: {client}").status == 429


def test_without_a_proxy_the_peer_counts(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(max_address_connections=1)
    link = plane.link(plane.publish(b"x", names=["a.bin"], sparse=BIG))
    connection, status = begin(plane, link, "203.0.113.1")
    other, refused = begin(plane, link, "203.0.113.2")
    assert (status, refused) == (200, 429)
    connection.reset()
    other.reset()


def test_a_span_that_has_begun_is_counted_and_not_refused(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(max_address_connections=1)
    link = plane.link(plane.publish(bytes(BIG // 8)))
    span = "Range: bytes=0-262143"
    assert plane.get(link, "Range: bytes=0-9999").status == 206  # its location is kept from now on
    connections = []
    while are_running(plane) < 2:
        connection = plane.connect(receive_buffer=4096)
        connections.append(connection)
        for _ in range(60):
            connection.send(request(link, span))
        assert connection.read_head().status == 206
        assert len(connections) < 30
    assert plane.get(link).status == 429
    for connection in connections:
        connection.reset()
    wait_until(lambda: plane.get(link).status == 200, "all have ended")

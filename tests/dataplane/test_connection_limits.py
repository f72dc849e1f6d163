"""How long a connection may wait for its client, and how many there may be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.dataplane.delivery.client_socket import GAP_BYTES
from gateway.runtime.metrics import CONNECTIONS
from gateway.secrets import token_id
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.timing import lasts, punctually
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that waits for requests for less than a second."""
    limits = {"header_timeout": 0.4, "keepalive_timeout": 0.8}
    with run_plane(tmp_path_factory.mktemp("hasty"), **limits) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that waits for a client that takes nothing for a second, and has at most four of them."""
    limits = {"stall_timeout": 1.2, "max_connections": 4}
    with run_plane(tmp_path_factory.mktemp("strict"), **limits) as running:
        yield running


@pytest.mark.timing
def test_a_head_that_never_ends_is_cut_off_in_time(hasty: Plane) -> None:
    with hasty.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\n")
        with lasts(0.2, 1):
            client.assert_closed()


@pytest.mark.timing
def test_a_head_that_trickles_is_cut_off_in_time(hasty: Plane) -> None:
    """A byte now and then does not extend the time for a whole head."""
    with hasty.connect() as client, lasts(most=1.2), contextlib.suppress(OSError):
        for byte in request("/healthz", "A: " + "b" * 1000):
            client.send(bytes((byte,)))
            time.sleep(0.05)


@pytest.mark.timing
def test_a_connection_without_a_request_is_closed(hasty: Plane) -> None:
    with hasty.connect() as client, lasts(0.2, 1):
        client.assert_closed()


@pytest.mark.timing
@pytest.mark.parametrize("target", ["/healthz", "/download", "download"])
def test_an_idle_connection_is_closed_in_time(hasty: Plane, target: str) -> None:
    link = hasty.link(hasty.publish(b"x")) if target == "download" else target

    def wait_for_the_end() -> None:
        with hasty.connect() as client:
            client.get(link)
            time.sleep(0.5)  # more than for a head, less than for the next request
            client.get(link)
            with lasts(0.6, 1.5):
                client.assert_closed()

    punctually(wait_for_the_end)


@pytest.mark.slow
@pytest.mark.timing
def test_a_client_that_never_reads_is_cut_off_in_time(strict: Plane) -> None:
    link = strict.link(strict.publish(bytes(40_000_000)), maximum=1)
    identifier = token_id(link.partition("=")[2])

    def own_entries() -> list[dict[str, Any]]:
        return [entry for entry in strict.entries() if entry.get("token") == identifier]

    with strict.no_leak(), strict.connect(receive_buffer=8192) as client:
        client.send(request(link))
        with lasts(1):
            wait_until(lambda: own_entries() != [], "it was cut")
        got = client.read_until_closed()
        assert len(got) < 30_000_000
    [entry] = own_entries()
    assert entry["whole"] is False
    wait_until(lambda: strict.charged(link) == entry["sent"], "the rest was returned")
    assert entry["sent"] <= len(got) + GAP_BYTES


@pytest.mark.slow
def test_a_slow_reader_is_not_cut(strict: Plane) -> None:
    """It takes 4 s in all, several times the limit, but takes something at least every half second."""
    data = os.urandom(30_000_000)
    link = strict.link(strict.publish(data))

    def read_slowly() -> None:
        with strict.connect(receive_buffer=65536) as client:
            client.send(request(link))
            length = int(client.read_head()["Content-Length"])
            pieces = []
            while length:
                piece = client.read_bytes(min(length, 2_000_000))
                pieces.append(piece)
                length -= len(piece)
                time.sleep(0.25)
            assert b"".join(pieces) == data
            assert client.get("/healthz").status == 200

    punctually(read_slowly)


@pytest.mark.timing
def test_a_client_that_reads_a_byte_a_second_delays_no_other(strict: Plane) -> None:
    link = strict.link(strict.publish(bytes(40_000_000)))
    with strict.no_leak(), strict.connect(receive_buffer=4096) as client:
        client.send(request(link))
        for _ in range(3):
            with contextlib.suppress(ConnectionError):  # it was too slow, and was cut off
                client.socket.recv(1)
            with lasts(most=0.3):
                assert strict.get("/healthz").status == 200
            time.sleep(0.3)


def test_connections_beyond_the_limit_are_refused(strict: Plane) -> None:
    values = strict.workers[0].counters.values
    wait_until(lambda: not values()[CONNECTIONS], "those of other tests have ended")
    kept = [strict.connect() for _ in range(4)]
    try:
        for client in kept:
            assert client.get("/healthz").status == 200
        with strict.connect() as refused:
            answer = refused.read()
            assert (answer.status, answer.code, answer.keeps) == (503, "overloaded", False)
            assert int(answer["Retry-After"]) > 0
            refused.end()
            refused.assert_closed()
        assert kept[0].get("/healthz").status == 200
    finally:
        for client in kept:
            client.socket.close()

    def served() -> bool:
        return strict.get("/healthz").status == 200

    wait_until(served, "there was room again")

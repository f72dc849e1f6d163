"""Clients that vanish get their bytes back, and those that stay get their answers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.store_server import StoreServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_leak")


@pytest.mark.parametrize("prefix", [b"", request("/healthz")], ids=["alone", "pipelined"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_that_vanishes_in_a_transfer_gets_its_bytes_back(
    plane: Plane, prefix: bytes, leave: str
) -> None:
    link = plane.link(plane.publish(bytes(50_000_000)), maximum=1)
    with plane.no_leak():
        client = plane.connect()
        client.send(prefix + request(link))
        if prefix:
            client.read()
        client.read_head()
        client.read_bytes(100_000)
        if leave == "reset":
            client.reset()
        else:
            client.socket.close()
    wait_until(lambda: 100_000 <= plane.charged(link) < 20_000_000, "the rest was returned")


def test_a_client_that_vanishes_before_the_answer(
    own_store: StoreServer, make_plane: Callable[..., Plane]
) -> None:
    """Clients leave while their claim is under way; those who stay get and pay for their own answers."""
    plane = make_plane()
    store = own_store.process
    assert store is not None
    contents = [os.urandom(100_000) for _ in range(8)]
    links = [plane.link(plane.publish(content), maximum=2) for content in contents]
    for link in links:
        assert plane.get(link).status == 200
    with plane.no_leak():
        store.send_signal(signal.SIGSTOP)
        clients = [plane.connect() for _ in links]
        for client, link in zip(clients, links, strict=True):
            client.send(request(link))
        time.sleep(0.1)
        for client in clients[::2]:
            client.reset()
        time.sleep(0.1)
        store.send_signal(signal.SIGCONT)
        for client, content in list(zip(clients, contents, strict=True))[1::2]:
            assert client.read().body == content
            client.socket.close()
    wait_until(
        lambda: [plane.charged(link) for link in links] == [100_000, 200_000] * 4, "the rest was returned"
    )


def test_a_reset_does_not_overtake_the_answer(plane: Plane) -> None:
    """Bytes that we never read must not turn our closing into a reset, which would lose the refusal."""
    for _ in range(20):
        with plane.connect() as client:
            client.send(b"\x16\x03\x01")
            client.send(b"x" * 100_000)
            time.sleep(0.01)
            assert client.read().status == 400

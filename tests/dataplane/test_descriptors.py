"""A worker that may open few files refuses connections, and never lacks one for what it has begun."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.descriptors import check_descriptors
from gateway.config.settings import Settings
from gateway.runtime.descriptors import (
    FOR_FILES,
    FOR_OBJECTS,
    RESERVED,
    needed_limit,
    share_descriptors,
)
from gateway.runtime.metrics import CONNECTIONS_REFUSED, FAULTS, STORAGE_ERRORS
from tests.support.http_client import CLIENT_SECONDS, Client
from tests.support.plane import Plane
from tests.support.waiting import wait_until

LIMIT = 220
SHARES = share_descriptors(LIMIT, 10_000, 1024, FOR_FILES)
SIZE = 4 << 20


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (resource.RLIM_INFINITY, (10_000, 1024)),
        (1 << 20, (10_000, 1024)),
        (4096, (1000, 1000)),
        (RESERVED + 8, (2, 2)),
        (10, (1, 1)),
    ],
)
def test_shares(limit: int, expected: tuple[int, int]) -> None:
    assert share_descriptors(limit, 10_000, 1024, FOR_FILES) == expected


@pytest.mark.parametrize("each", [FOR_FILES, FOR_OBJECTS])
@pytest.mark.parametrize("files", [1, 1024, 100_000])
def test_the_needed_limit_is_the_least(each: int, files: int) -> None:
    needed = needed_limit(5000, files, each)
    assert share_descriptors(needed, 5000, files, each) == (5000, files)
    assert share_descriptors(needed - 4, 5000, files, each) != (5000, files)


def test_check_warns_of_a_limit_that_is_too_low() -> None:
    settings = Settings(max_connections=1000, open_files=100)
    found = check_descriptors(settings, 1024)
    assert found.level is Level.WARN
    assert str(needed_limit(1000, 100, FOR_FILES)) in found.remedy
    assert check_descriptors(settings, needed_limit(1000, 100, FOR_FILES)).level is Level.OK


@pytest.mark.slow
def test_downloads_go_on_while_connections_are_refused(make_plane: Callable[..., Plane]) -> None:
    """Each connection that was accepted is sent a file of its own, large enough for all its descriptors."""
    plane = make_plane(descriptors=LIMIT)
    published = [plane.publish(b"", sparse=SIZE) for _ in range(SHARES.connections + 5)]
    links = [plane.link(each) for each in published]
    count = plane.workers[0].counters.values
    with ExitStack() as stack:
        clients = [stack.enter_context(plane.connect(1 << 16)) for _ in range(SHARES.connections)]
        for client, link in zip(clients, links, strict=False):
            client.send(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for client in clients:
            assert client.read_head().status == 200
        flood = []
        for _ in range(2 * LIMIT):
            with suppress(ConnectionResetError):  # refused before `connect` has returned
                flood.append(stack.enter_context(socket.create_connection(plane.address, CLIENT_SECONDS)))
        wait_until(lambda: count()[CONNECTIONS_REFUSED] >= 2 * LIMIT, "all others are refused")
        heads = {read_start(each) for each in flood}
        assert heads <= {b"HTTP/1.1 503", b""}
        assert b"HTTP/1.1 503" in heads
        for client in clients:
            assert not client.read_bytes(SIZE).strip(b"\0")
    wait_until(lambda: answers(plane, links[-1]), "new connections are served again")
    assert count()[STORAGE_ERRORS] == count()[FAULTS] == 0


def read_start(client: socket.socket) -> bytes:
    try:
        return client.recv(12)
    except ConnectionError:
        return b""


def answers(plane: Plane, link: str) -> bool:
    with plane.connect() as client:
        return is_sent(client, link)


def is_sent(client: Client, link: str) -> bool:
    try:
        return client.get(link).status == 200
    except (AssertionError, ConnectionError):
        return False

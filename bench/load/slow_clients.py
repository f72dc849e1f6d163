"""Thousands of clients on slow lines, in one loop: first idle, then each at a fixed pace."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.load.downloads import MOST_BYTES, Download

CONNECT_AT_ONCE = 256
PATIENCE_SECONDS = 20

GROUPS = 100
"""The clients receive in so many groups, one after the other within a second, so that none is a burst."""


@dataclass(frozen=True)
class Pace:
    """How slow the clients are. rate: bytes a second for each client, received at once, once a second."""

    clients: int
    rate: int
    receive_buffer: int = 32 << 10
    segment: int = 1448
    """Loopback's own segments of 64 KiB are larger than what such a client receives in a second."""


def run_slow_clients(
    address: tuple[str, int],
    first: bytes,
    request: bytes,
    pace: Pace,
    report: Callable[[str], None],
    wait: Callable[[], str],
    running: Callable[[], bool],
) -> dict[str, float]:
    """Each client sends `first` and is idle; after `wait` all send `request`, and receive it slowly.

    Calls report("idle"), then wait(), then report("active") once all clients have bytes; goes on until
    running() is false. Returns bytes received, seconds, clients whose connection broke, and the clients' pace
    (1 is as planned).
    """
    clients = list(_connect(address, first, pace))
    try:
        report("idle")
        wait()
        for client in clients:
            client.send(request)
        return _receive_slowly(clients, pace, report, running)
    finally:
        for client in clients:
            client.close()


def _connect(address: tuple[str, int], first: bytes, pace: Pace) -> Iterator[Download]:
    """Connections that have each received one small response, and are idle."""
    for start in range(0, pace.clients, CONNECT_AT_ONCE):
        batch = []
        for _ in range(min(CONNECT_AT_ONCE, pace.clients - start)):
            client = Download(address, receive_buffer=pace.receive_buffer, segment=pace.segment)
            client.send(first)
            batch.append(client)
        for client in batch:
            while client.left:
                _wait_readable(client.socket)
                with contextlib.suppress(BlockingIOError):
                    client.receive(MOST_BYTES)
            yield client


def _wait_readable(readable: socket.socket) -> None:
    """Return when there is something to read. Raises TimeoutError after PATIENCE_SECONDS."""
    with selectors.DefaultSelector() as selector:
        selector.register(readable, selectors.EVENT_READ)
        if not selector.select(PATIENCE_SECONDS):
            raise TimeoutError(f"no response in {PATIENCE_SECONDS} s")


def _receive_slowly(
    clients: list[Download], pace: Pace, report: Callable[[str], None], running: Callable[[], bool]
) -> dict[str, float]:
    groups = [clients[number::GROUPS] for number in range(GROUPS)]
    began = time.monotonic()
    received, seconds, turn, broken = 0, 0.0, 0, 0
    measured_from = 0.0
    while running():
        for client in groups[turn % GROUPS]:
            left = pace.rate
            try:
                while left > 0 and client.left:
                    left -= client.receive(left)
                received += pace.rate - left
            except BlockingIOError:
                received += pace.rate - left
            except OSError:
                broken += 1
                client.left = 0
        turn += 1
        if turn == 2 * GROUPS:
            report("active")
            received, measured_from = 0, time.monotonic()
        due = began + turn / GROUPS
        time.sleep(max(0.0, due - time.monotonic()))
    if measured_from:
        seconds = time.monotonic() - measured_from
    planned = pace.rate * pace.clients * seconds
    return {
        "bytes": received,
        "seconds": seconds,
        "broken": broken,
        "pace": received / planned if planned else 0.0,
    }

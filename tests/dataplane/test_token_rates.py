"""Rates over two workers that share a store, in each way of sending. The clients read as fast as they can."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import make_certificate
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", params=["plain", "tls"])
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("rates")
    options: dict[str, Any] = {}
    if request.param == "tls":
        certificate, key = make_certificate(folder)
        options = {"tls_cert": certificate, "tls_key": key}
    with run_plane(folder, workers=2, stall_timeout=1, **options) as running:
        if request.param == "tls":
            running.client_context = ssl.create_default_context(cafile=str(certificate))
        yield running


class Readers:
    """Clients that download the same link at once, until they are stopped."""

    def __init__(self, plane: Plane, link: str, count: int, *fields: str) -> None:
        self.received = [0] * count
        self.is_over = threading.Event()
        self._plane = plane
        self._threads = [
            threading.Thread(target=self._read, args=(number, request(link, *fields)))
            for number in range(count)
        ]
        for each in self._threads:
            each.start()

    def _read(self, number: int, asked: bytes) -> None:
        with self._plane.connect() as client:
            client.send(asked)
            length = int(client.read_head()["Content-Length"])
            self.received[number] += len(client.buffer)
            client.socket.settimeout(0.2)
            while not self.is_over.is_set() and self.received[number] < length:
                try:
                    data = client.socket.recv(1 << 16)
                except TimeoutError:
                    continue
                assert data, "the connection was broken"
                self.received[number] += len(data)

    def stop(self) -> None:
        self.is_over.set()
        for each in self._threads:
            each.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caps", "count", "rate"),
    [
        ("rate=1000000", 20, 1_000_000),
        ("connection_rate=200000", 5, 1_000_000),
        ("rate=400000 connection_rate=300000", 1, 300_000),
    ],
)
def test_connections_share_a_rate(plane: Plane, caps: str, count: int, rate: int) -> None:
    """At no time is there more than the rate allows, however busy the machine is; in the end little less."""
    published = plane.publish(b"x", names=["a.bin"], sparse=256 << 20)
    started = time.monotonic()
    readers = Readers(plane, f"/download?token={plane.token(published, caps=caps)}", count)
    wait_until(lambda: all(readers.received), "all have begun")

    def is_used() -> bool:
        begun, since = sum(readers.received), time.monotonic()
        for _ in range(3):
            time.sleep(0.5)
            most = sum(readers.received) - rate * (time.monotonic() - started)
            assert most <= 0.5 * rate
        return (sum(readers.received) - begun) / (time.monotonic() - since) / rate >= 0.5

    try:
        is_used()  # what may come at once at the beginning is not counted
        wait_until(is_used, "at least half of the rate is used")
    finally:
        readers.stop()


@pytest.mark.parametrize("size", [3000, 16384, 100_000])
def test_small_files_are_paced_too(plane: Plane, size: int) -> None:
    """One connection asks for a small file again and again."""
    published = plane.publish(bytes(size))
    link = f"/download?token={plane.token(published, caps=f'rate={4 * size}')}"
    started = time.monotonic()
    with plane.connect() as client:
        for _ in range(6):
            assert client.get(link).body == bytes(size)
    least = time.monotonic() - started
    assert least >= 0.9


@pytest.mark.parametrize(
    "fields", [(), ("Range: bytes=0-9,100-199,5000-5999",), ("Range: bytes=0-999,2000-40000",)]
)
def test_what_is_sent_is_right(plane: Plane, fields: tuple[str, ...]) -> None:
    content = bytes(range(256)) * 400
    published = plane.publish(content)
    free = plane.get(plane.link(published), *fields)
    answer = plane.get(f"/download?token={plane.token(published, caps='rate=60000')}", *fields)
    assert answer.status == free.status
    boundary = (free.get("Content-Type") or "").partition("boundary=")[2]
    other = (answer.get("Content-Type") or "").partition("boundary=")[2]
    assert answer.body == free.body.replace(boundary.encode() or b"\0\0", other.encode())


def test_a_slow_download_is_not_taken_for_a_stalled_one(plane: Plane) -> None:
    """`stall_timeout` is one second here, and a piece of so slow a rate is a few bytes."""
    published = plane.publish(bytes(100))
    link = f"/download?token={plane.token(published, caps='rate=30')}"
    assert plane.get(link).body == bytes(100)

"""No time-out ends a download that goes on, however long it takes, and SIGTERM does not within drain_timeout.

The paced downloads last PACED seconds, several times every time-out; GATEWAY_TEST_PACED=60 makes them long.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from gateway.dataplane.timeouts import LINGER_SECONDS, PAUSE_BYTES, PAUSE_SECONDS, Limits, Timeout, Watch
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.programs import need
from tests.support.rows import each_row
from tests.support.timing import lasts
from tests.support.waiting import wait_until

PACED = float(os.environ.get("GATEWAY_TEST_PACED", "8"))
SIZE = 32_000_000
"""More than all buffers between the two ends hold, so that the worker is still sending when it is cut."""

SHORT = {
    "header_timeout": 2.0,
    "keepalive_timeout": 2.0,
    "stall_timeout": 2.0,
    "redis_timeout": 2.0,
}


def read_paced(plane: Plane, target: str, seconds: float) -> bytes:
    """Read a whole answer evenly over a time."""
    with plane.connect(receive_buffer=262_144) as client:
        client.send(request(target))
        length = int(client.read_head()["Content-Length"])
        pieces, began, got = [], time.monotonic(), 0
        while got < length:
            pieces.append(client.read_bytes(min(262_144, length - got)))
            got += len(pieces[-1])
            time.sleep(max(0.0, began + seconds * got / length - time.monotonic()))
        return b"".join(pieces)


def read_with_curl(plane: Plane, target: str, seconds: float) -> bytes:
    host, port = plane.address
    return subprocess.run(
        [need("curl"), "-sSf", "--limit-rate", str(int(SIZE / seconds)), f"http://{host}:{port}{target}"],
        check=True,
        capture_output=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.timing
def test_a_paced_download_outlasts_every_timeout_and_a_drain(make_plane: Callable[..., Plane]) -> None:
    """Three downloads: raw, with curl, and pipelined behind another request. SIGTERM comes half-way."""
    need("curl")
    plane = make_plane(**SHORT, drain_timeout=PACED + 5)
    content = os.urandom(SIZE)
    target = plane.link(plane.publish(content), maximum=10)
    plane.get(target, "Range: bytes=0-0")
    got: dict[str, bytes] = {}

    def pipelined() -> None:
        with plane.connect(receive_buffer=262_144) as client:
            client.send(request("/healthz") + request(target))
            client.read()
            length = int(client.read_head()["Content-Length"])
            pieces = []
            while length:
                pieces.append(client.read_bytes(min(1_000_000, length)))
                length -= len(pieces[-1])
                time.sleep(PACED / (SIZE / 1_000_000))
            got["pipelined"] = b"".join(pieces)

    readers = [
        threading.Thread(target=lambda: got.update(raw=read_paced(plane, target, PACED))),
        threading.Thread(target=lambda: got.update(curl=read_with_curl(plane, target, PACED))),
        threading.Thread(target=pipelined),
    ]
    [worker] = plane.workers

    def refused() -> bool:
        try:
            socket.create_connection(plane.address, 1).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was waiting to be accepted
            return False
        return False

    with lasts(PACED * 0.75):
        for reader in readers:
            reader.start()
        time.sleep(PACED / 2)
        worker.process.send_signal(signal.SIGTERM)
        wait_until(refused, "new connections were refused")
        assert worker.process.poll() is None
        for reader in readers:
            reader.join()
    assert {name: data == content for name, data in got.items()} == {
        "raw": True,
        "curl": True,
        "pipelined": True,
    }
    assert worker.process.wait(60) == 0
    assert plane.charged(target) == 3 * SIZE + 1


@pytest.mark.timing
def test_a_drain_ends_at_drain_timeout(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(drain_timeout=0.5)
    target = plane.link(plane.publish(bytes(SIZE)))
    with plane.connect(receive_buffer=8192) as client:
        client.send(request(target))
        client.read_head()
        [worker] = plane.workers
        worker.process.send_signal(signal.SIGTERM)
        with lasts(0.4, 3):
            assert worker.process.wait(60) == 0
        assert len(client.read_until_closed()) < SIZE


@pytest.mark.parametrize("state", ["new", "idle", "half a head"])
def test_a_drain_does_not_wait_for_the_idle(make_plane: Callable[..., Plane], state: str) -> None:
    plane = make_plane(**({} if state == "idle" else {"header_timeout": 0.8}))
    with plane.connect() as client:
        if state == "idle":
            client.get("/healthz")
        elif state == "half a head":
            client.send(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(0.05)
        [worker] = plane.workers
        worker.process.send_signal(signal.SIGTERM)
        client.assert_closed()
    assert worker.process.wait(60) == 0


def test_answers_say_close_while_draining(make_plane: Callable[..., Plane]) -> None:
    """A request that came with the signal is answered, and its connection ends."""
    plane = make_plane()
    target = plane.link(plane.publish(bytes(SIZE)))
    with plane.connect(receive_buffer=65536) as client:
        client.send(request(target) + request("/healthz"))
        length = int(client.read_head()["Content-Length"])
        [worker] = plane.workers
        worker.process.send_signal(signal.SIGTERM)
        assert client.read_bytes(length) == bytes(SIZE)
        client.read_until_closed()
    assert worker.process.wait(60) == 0


# --- the rules, without a server ----------------------------------------------------------------------------

LIMITS = Limits(
    header_timeout=1,
    keepalive_timeout=2,
    stall_timeout=3,
    max_connections=1,
    max_line=1,
    max_field=1,
    max_headers=1,
    max_head=1,
)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (Timeout.NONE, float("inf")),
        (Timeout.HEADER, 1),
        (Timeout.KEEPALIVE, 2),
        (Timeout.STALL, 3),
        (Timeout.LINGER, LINGER_SECONDS),
    ],
)
def test_how_long_each_time_out_is(timeout: Timeout, seconds: float) -> None:
    assert LIMITS.seconds(timeout) == seconds


# Each step: the time-out that runs, its mark, the time, and whether the connection is overdue then.
NONE, HEADER, KEEPALIVE, STALL = Timeout.NONE, Timeout.HEADER, Timeout.KEEPALIVE, Timeout.STALL


@each_row(
    "steps",
    [
        pytest.param(
            [(HEADER, 0, 0.9, False), (HEADER, 0, 1.0, True)], id="a new connection that sends nothing"
        ),
        pytest.param(
            [(KEEPALIVE, 1, 0.9, False), (KEEPALIVE, 1, 2.8, False), (KEEPALIVE, 1, 2.9, True)], id="idle"
        ),
        pytest.param(
            [(KEEPALIVE, 1, 1, False), (KEEPALIVE, 2, 2.9, False), (KEEPALIVE, 2, 4, False)], id="answers"
        ),
        pytest.param(
            [(KEEPALIVE, 1, 1, False), (HEADER, 1, 2, False), (HEADER, 1, 3, True)], id="a head that stops"
        ),
        pytest.param(
            [(NONE, 0, 1, False), (NONE, 0, 1e9, False)], id="waiting for the store has no limit here"
        ),
        pytest.param([(STALL, 0, 1, False), (STALL, 0, 3.9, False), (STALL, 0, 4, True)], id="takes nothing"),
        pytest.param(
            [(STALL, 1, 1, False), (STALL, 2, 3, False), (STALL, 3, 5, False), (STALL, 4, 7, False)],
            id="slow",
        ),
        pytest.param(
            [
                (STALL, 10 * PAUSE_BYTES, 1, False),
                (STALL, 10 * PAUSE_BYTES, 13.9, False),
                (STALL, 10 * PAUSE_BYTES, 14, True),
            ],
            id="a pause that bytes have paid for",
        ),
        pytest.param(
            [(STALL, 10**9, 1, False), (STALL, 10**9, 63.9, False), (STALL, 10**9, 64, True)],
            id="the longest pause",
        ),
        pytest.param(
            [(STALL, -500, 1, False), (STALL, -400, 2, False), (STALL, -400, 5.1, True)],
            id="what the kernel still holds becomes less",
        ),
    ],
)
def test_since_when_a_connection_waits(steps: list[tuple[Timeout, float, float, bool]]) -> None:
    watch = Watch(Timeout.HEADER, 0, now=0)
    for timeout, mark, now, overdue in steps:
        assert watch.is_overdue(timeout, mark, now, LIMITS) is overdue, (timeout, mark, now)
    assert PAUSE_SECONDS == 60

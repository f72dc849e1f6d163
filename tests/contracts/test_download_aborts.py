"""Downloads that break off are charged for what left this machine, and the rest is returned.

What left are the bytes that the kernel had taken, less those that it had not sent yet. So `charged` is never
less than what the client received, and more than that by what was under way: bytes on the wire, and bytes in
the client's kernel that the client never read. On this machine that is at most the two socket buffers,
IN_FLIGHT bytes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import IN_FLIGHT, sent_of, sum_sent
from tests.support.http_client import Client, request
from tests.support.plane import Plane
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND


@pytest.mark.slow
@pytest.mark.parametrize(
    "leave", [Client.reset, lambda client: client.socket.close()], ids=["reset", "close"]
)
def test_aborts_are_returned(pair: Plane, leave: Callable[[Client], None]) -> None:
    size = 60_000_000
    link = pair.link(pair.publish(bytes(size)), maximum=100)
    received = 0
    for number in range(6):
        client = pair.connect(receive_buffer=65536 if number % 2 else 0)
        client.send(request(link))
        client.read_head()
        client.read_bytes(number * 500_000)
        received += number * 500_000
        leave(client)
    wait_until(lambda: pair.charged(link) < received + 6 * IN_FLIGHT, "the rest was returned")
    wait_until(lambda: len(sent_of(pair, link)) == 6, "all have ended")
    assert received <= pair.charged(link) <= received + 6 * IN_FLIGHT
    assert sum_sent(pair, link) == pair.charged(link)


@pytest.mark.slow
def test_an_abort_leaves_room_for_the_rest(pair: Plane) -> None:
    """Broken off and resumed under an allowance of one download."""
    content = os.urandom(40_000_000)
    link = pair.link(pair.publish(content), maximum=1)
    client = pair.connect(receive_buffer=65536)
    client.send(request(link))
    client.read_head()
    first = client.read_bytes(5_000_000)
    client.reset()
    wait_until(lambda: len(sent_of(pair, link)) == 1, "it has ended")
    wait_until(lambda: pair.charged(link) < 20_000_000, "the rest was returned")
    rest = pair.get(link, "Range: bytes=5000000-")
    assert first + rest.body == content


def test_what_the_kernel_still_holds_is_not_charged(pair: Plane) -> None:
    """The kernel took the whole of a small file at once, and the client broke off at its beginning."""
    size = 3_000_000
    link = pair.link(pair.publish(os.urandom(size)), maximum=1)
    client = pair.connect(receive_buffer=65536)
    client.send(request(link))
    client.read_head()
    client.read_bytes(10_000)
    assert not sent_of(pair, link)  # it has not ended, although the kernel has taken its last byte
    client.reset()
    wait_until(lambda: len(sent_of(pair, link)) == 1, "it has ended")
    assert sum_sent(pair, link) == pair.charged(link) < size - 500_000
    assert pair.get(link, "Range: bytes=10000-").status == 206


@pytest.mark.parametrize("size", [3_000_000, 40_000_000])
def test_a_client_that_ends_its_side_and_then_resets(pair: Plane, size: int) -> None:
    """As a program that is killed: the event loop reads the end, and never learns of the reset after it."""
    link = pair.link(pair.publish(bytes(size)), maximum=1)
    client = pair.connect(receive_buffer=65536)
    client.send(request(link))
    client.read_head()
    client.read_bytes(10_000)
    client.socket.shutdown(socket.SHUT_WR)
    time.sleep(0.2)  # until the end has been read
    client.reset()
    wait_until(lambda: len(sent_of(pair, link)) == 1, "it has ended")
    assert sum_sent(pair, link) == pair.charged(link) < size


@pytest.mark.any_backend
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_framing_that_was_not_sent_returns_nothing(pair: Plane, leave: str) -> None:
    """Of parts of a few bytes, most is framing. A client that breaks off pays for the parts it received."""
    size, part = 3_000_000, 40
    published = pair.publish(os.urandom(size))
    link = pair.link(published, maximum=1)
    ranges = ",".join(f"{n * 10_000}-{n * 10_000 + part - 1}" for n in range(255))
    received = 0
    for _ in range(10):
        client = pair.connect(receive_buffer=2048)
        client.send(request(link, f"Range: bytes={ranges}") * 4)
        for _ in range(2):
            answer = client.read()
            received += answer.body.count(b"Content-Range") * part
        if leave == "reset":
            client.reset()
        client.socket.close()
    assert received == 10 * 2 * 255 * part
    wait_until(lambda: len(sent_of(pair, link)) >= 20, "each answer was logged")
    assert received <= pair.charged(link)

"""Transfers of one token that compete for its limit: the newest request wins, and no byte too much leaves."""

from __future__ import annotations

import os

import pytest

from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import sent_of, sum_sent
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND
SIZE = 1_000_000


@pytest.mark.slow
def test_a_manager_that_asks_for_more_than_is_left_gets_what_it_lacks(pair: Plane) -> None:
    """It has three quarters, asks for the whole file, and closes when it has read the size of the file."""
    content = os.urandom(32 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)
    assert pair.get(link, f"Range: bytes=0-{24 * SIZE - 1}").status == 206
    client = pair.connect(receive_buffer=65536)
    client.send(request(link))
    assert client.read_head().status == 200
    rest = pair.get(link, f"Range: bytes={24 * SIZE}-")
    assert (rest.status, rest.body) == (206, content[24 * SIZE :])
    client.reset()
    wait_until(lambda: len(sent_of(pair, link)) == 3, "all have ended")
    assert sum_sent(pair, link) == pair.charged(link) <= 48 * SIZE


def test_a_half_open_connection_gives_way_to_a_resume(pair: Plane) -> None:
    """The customer moved from Wi-Fi to mobile: their old connection is dead, and nobody has told us."""
    content = os.urandom(20_000_000)
    link = pair.link(pair.publish(content), maximum=1)
    with pair.connect(receive_buffer=65536) as dead:
        dead.send(request(link))
        dead.read_head()
        first = dead.read_bytes(3_000_000)
        rest = pair.get(link, "Range: bytes=3000000-")
        assert first + rest.body == content
        assert pair.charged(link) <= 30_000_000


@pytest.mark.slow
def test_a_dead_connection_that_gave_way_ends(pair: Plane) -> None:
    link = pair.link(pair.publish(bytes(20_000_000)), maximum=1)
    with pair.connect(receive_buffer=65536) as dead:
        dead.send(request(link))
        dead.read_head()
        assert pair.get(link, "Range: bytes=0-").status == 206
        wait_until(lambda: len(sent_of(pair, link)) == 2, "both have ended", 20)
        assert sum_sent(pair, link) == pair.charged(link) <= 30_000_000


def test_parallel_parts_divide_what_the_first_has_reserved(pair: Plane) -> None:
    """As axel does: its first connection asks for the whole, and reads only the first part of it."""
    content = os.urandom(8 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)
    with pair.connect(receive_buffer=65536) as first:
        first.send(request(link, "Range: bytes=0-"))
        first.read_head()
        beginning = first.read_bytes(1000)

        def get_part(number: int) -> int:
            start = (number + 1) * SIZE
            answer = pair.get(link, f"Range: bytes={start}-{start + SIZE - 1}")
            assert answer.status == 206, answer.body
            assert answer.body == content[start : start + SIZE]
            return 0

        for number in reversed(range(7)):
            get_part(number)
        got = beginning + first.read_until_closed()
    assert got[:SIZE] == content[:SIZE]
    wait_until(lambda: len(sent_of(pair, link)) == 8, "all have ended")
    assert sum_sent(pair, link) == pair.charged(link) <= 12 * SIZE


@pytest.mark.slow
def test_a_whole_file_waits_for_one_that_runs(pair: Plane) -> None:
    content = os.urandom(20_000_000)
    link = pair.link(pair.publish(content), maximum=1)
    with pair.connect(receive_buffer=65536) as running:
        running.send(request(link))
        running.read_head()
        got = running.read_bytes(1_000_000)
        for _ in range(4):
            refused = pair.get(link)
            assert (refused.status, refused.code) == (403, "limit_reached")
        page = pair.get(link, "Accept: text/html")
        assert b"being downloaded already" in page.body
        assert got + running.read_bytes(19_000_000) == content


@pytest.mark.slow
def test_a_whole_file_ends_one_that_has_stalled(pair: Plane) -> None:
    content = os.urandom(20_000_000)
    link = pair.link(pair.publish(content), maximum=1)
    with pair.connect(receive_buffer=65536) as stalled:
        stalled.send(request(link))
        stalled.read_head()
        wait_until(lambda: pair.get(link).status == 200, "the stalled one gave way", 20)

"""Requests whose texts are as long and as hostile as they may be: what they cost a worker and others."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.testbed.usage import resident_bytes
from tests.support.http_client import Client, request
from tests.support.plane import Plane
from tests.support.timing import lasts
from tests.support.waiting import wait_until

KEYS = 3000
MOST_BYTES = 48 << 20
FAT = 14_000
GOOD_SECONDS = 0.5


@pytest.fixture
def trusting(make_plane: Callable[..., Plane]) -> Plane:
    """It believes X-Forwarded-For, which is one more text of the client's, and reads every request."""
    return make_plane(trusted_proxies=("127.0.0.0/8",), max_head=1 << 17, max_attempts=0)


def fat(number: int, size: int) -> bytes:
    """A request with texts that nobody sent before, none of which is like another."""
    text = f"{number}-" + "x" * size
    return request(
        f"/download/{text}",
        f"User-Agent: {text}",
        f"Accept: text/html;q=0.{number % 10}, {text}/a",
        f"X-Forwarded-For: 2001:db8::{number % 9999}, {text}, 2001:db8::{number % 9999}",
        f"Range: bytes=0-{number}{'9' * size}",
        f"Authorization: Bearer {text}",
        f'If-None-Match: "{text}"',
    )


@pytest.mark.alone
@pytest.mark.parametrize("size", [100, 250, FAT])
def test_thousands_of_texts_leave_no_memory_behind(trusting: Plane, size: int) -> None:
    """250: about the longest that are kept. Each text is another key of every cache of texts."""
    process = trusting.workers[0].process.pid
    with trusting.connect() as client:
        for number in range(100):
            ask(client, fat(number, size))
        before = resident_bytes(process)
        for number in range(100, 100 + KEYS):
            ask(client, fat(number, size))
    wait_until(lambda: len(trusting.log.read_bytes().splitlines()) >= 100 + KEYS, "everything is logged")
    grown = resident_bytes(process) - before
    print(f"{KEYS} requests of {size} characters a text: {grown >> 10} KiB more")
    assert grown < MOST_BYTES


def ask(client: Client, data: bytes) -> None:
    client.send(data)
    assert client.read().status in (401, 403)


@pytest.mark.timing
@pytest.mark.parametrize("unit", ["%", "%25", "%41", "%C3%A9"])
def test_a_good_request_beside_300_encoded_ones(trusting: Plane, unit: str) -> None:
    """All texts of the log are hostile, and of the path. The good one comes in the middle of them."""
    text = (unit * FAT)[:FAT]
    link = trusting.link(trusting.publish(b"content"))
    hostile = request(f"/download/{text}", f"User-Agent: {text}", f"Range: {text}", f"Accept: {text}")
    with ThreadPoolExecutor(6) as pool, trusting.connect() as good:
        for _ in range(50):  # one after the other, so that the good request meets them
            assert good.get(link).status == 200

        def send_fifty() -> None:
            with trusting.connect() as client:
                for _ in range(50):
                    ask(client, hostile)

        sending = [pool.submit(send_fifty) for _ in range(6)]
        slowest = 0.0
        with lasts(most=60):
            while not all(each.done() for each in sending):
                begin = time.monotonic()
                with lasts(most=GOOD_SECONDS):
                    assert good.get(link).status == 200
                slowest = max(slowest, time.monotonic() - begin)
        for each in sending:
            each.result()
    print(f"beside 300 of {unit}: {1000 * slowest:.1f} ms at most")

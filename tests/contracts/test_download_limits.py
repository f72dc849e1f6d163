"""The limit of a token, counted in bytes: it is exact across workers, whatever clients do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.dataplane.delivery.batched_span import MAX_SPAN_BYTES
from gateway.runtime.metrics import CONNECTIONS_ACCEPTED
from gateway.secrets import token_id
from gateway.store.key_names import token_key
from gateway.tokens.reservations import LEAST_REST
from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import sent_of, sum_sent
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND
SIZE = 1_000_000


def race(count: int, act: Callable[[int], int]) -> list[int]:
    """Run `act` in as many threads at once; what each returned."""
    barrier = threading.Barrier(count)

    def run(number: int) -> int:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["small", "large"])
def test_64_clients_race(pair: Plane, size: int) -> None:
    """Of 64 clients on two workers with an allowance of 3, three get the file, and no byte more leaves."""
    content = os.urandom(size)
    link = pair.link(pair.publish(content), maximum=3)

    def download(_: int) -> int:
        with pair.connect() as client:
            answer = client.get(link)
            if answer.status == 200:
                assert answer.body == content
                return size
            assert (answer.status, answer.code) == (403, "limit_reached")
            return 0

    received = race(64, download)
    assert sorted(received) == [0] * 61 + [size] * 3
    assert pair.charged(link) == 3 * size
    assert all(worker.counters.values()[CONNECTIONS_ACCEPTED] for worker in pair.workers)


@pytest.mark.slow
def test_64_clients_race_for_segments(pair: Plane) -> None:
    """The same in pieces of every size: the sum never passes the allowance, and uses it up but for a rest.

    When it is nearly used up, requests take bytes from each other, whose bodies then end early.
    """
    content = os.urandom(SIZE)
    link = pair.link(pair.publish(content), maximum=3)

    def download(number: int) -> int:
        got = 0
        for turn in range(4):
            length = 1 + (number * 7919 + turn * 104_729) % 100_000
            start = (number * 15_013 + turn * 31) % (SIZE - length)
            with pair.connect() as client:
                client.send(request(link, f"Range: bytes={start}-{start + length - 1}", "Connection: close"))
                head = client.read_head()
                body = client.read_until_closed()
            if head.status == 206:
                assert len(body) <= length
                assert body == content[start : start + len(body)]
                got += len(body)
            else:
                assert b"limit_reached" in body
        return got

    total = sum(race(64, download))
    allowance = 3 * SIZE + SIZE // 2
    wait_until(lambda: sum_sent(pair, link) == pair.charged(link), "all have ended")
    assert allowance - 200_000 < total <= pair.charged(link) <= allowance


def test_segments_and_resumes_add_up(pair: Plane) -> None:
    """A download manager's eight segments, each cut once and resumed: one download, to the byte."""
    content = os.urandom(8 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)

    def download(number: int) -> int:
        start = number * SIZE
        for length in (SIZE // 3, SIZE - SIZE // 3):
            with pair.connect() as client:
                answer = client.get(link, f"Range: bytes={start}-{start + length - 1}")
                assert answer.body == content[start : start + length]
            start += length
        return SIZE

    race(8, download)
    assert pair.charged(link) == 8 * SIZE
    assert pair.get(link).code == "limit_reached"
    assert pair.get(link, f"Range: bytes=0-{4 * SIZE}").code == "limit_reached"
    assert pair.get(link, f"Range: bytes=0-{4 * SIZE - 1}").status == 206
    assert pair.get(link, "Range: bytes=0-0").code == "limit_reached"


@pytest.mark.parametrize(
    ("got", "fields", "status", "start"),
    [
        (6, (), 200, 0),
        (5, (), 200, 0),
        (7, ("Range: bytes=0-",), 206, 0),
        (6, (f"Range: bytes={SIZE}-",), 206, SIZE),
        (6, (f"Range: bytes={SIZE}-{7 * SIZE}",), 206, SIZE),
    ],
    ids=["aria2c", "just too much", "nearly all was received", "lftp", "a range with an end"],
)
def test_a_request_for_more_than_is_left_ends_where_the_allowance_does(
    pair: Plane, got: int, fields: tuple[str, ...], status: int, start: int
) -> None:
    """aria2c asks for the whole file to resume, lftp for all that follows a gap; both read what they lack."""
    content = os.urandom(8 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)
    assert pair.get(link, f"Range: bytes=0-{got * SIZE - 1}").status == 206
    wait_until(lambda: entries_of(pair, link) == 1, "the first has ended")
    with pair.connect() as client:
        client.send(request(link, *fields, "Connection: close"))
        head = client.read_head()
        body = client.read_until_closed()
    assert head.status == status
    left = 12 * SIZE - got * SIZE
    assert int(head["Content-Length"]) > left
    assert body == content[start : start + left]
    wait_until(lambda: entries_of(pair, link) == 2, "both have ended")
    assert sum_sent(pair, link) == pair.charged(link) == got * SIZE + len(body)
    for again in (fields, (), ("Range: bytes=0-",), ("Range: bytes=1-",)):
        assert pair.get(link, *again).code == "limit_reached"


def test_a_resume_gets_the_tolerance_and_a_further_download_does_not(pair: Plane) -> None:
    """The client of a download that was sent as a whole has lost a part of it."""
    content = os.urandom(8 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)
    assert pair.get(link).status == 200
    further = ((), ("Range: bytes=0-",), (f"Range: bytes=0-{4 * SIZE}",), (f"Range: bytes={SIZE - 1}-",))
    for fields in further:
        assert pair.get(link, *fields).code == "limit_reached"
    with pair.connect() as client:
        client.send(request(link, f"Range: bytes={2 * SIZE}-", "Connection: close"))
        assert client.read_head().status == 206
        assert client.read_until_closed() == content[2 * SIZE : 6 * SIZE]
    wait_until(lambda: pair.charged(link) == sum_sent(pair, link) == 12 * SIZE, "both have ended")
    for fields in (*further, (f"Range: bytes={2 * SIZE}-",), ("Range: bytes=0-0",)):
        assert pair.get(link, *fields).code == "limit_reached"


def test_a_rest_that_leaves_in_one_piece_is_never_sent_in_part(pair: Plane) -> None:
    assert LEAST_REST >= MAX_SPAN_BYTES
    link = pair.link(pair.publish(bytes(8 * SIZE)), maximum=1)
    assert pair.get(link).status == 200
    assert pair.get(link, f"Range: bytes={4 * SIZE + 200_000}-").status == 206
    for length in (200_001, MAX_SPAN_BYTES, SIZE):
        assert pair.get(link, f"Range: bytes={SIZE}-{SIZE + length - 1}").code == "limit_reached"
    assert pair.get(link, f"Range: bytes={SIZE}-{SIZE + 200_000 - 1}").status == 206
    assert pair.charged(link) == 12 * SIZE


def test_clients_that_race_for_what_is_left(pair: Plane) -> None:
    content = os.urandom(4 * SIZE)
    link = pair.link(pair.publish(content), maximum=1)
    assert pair.get(link, f"Range: bytes=0-{3 * SIZE - 1}").status == 206

    def download(number: int) -> int:
        with pair.connect() as client:
            client.send(request(link, *(("Range: bytes=0-",) * (number % 2)), "Connection: close"))
            head = client.read_head()
            body = client.read_until_closed()
        if head.status not in (200, 206):
            assert b"limit_reached" in body
            return 0
        assert content.startswith(body)
        return len(body)

    received = sum(race(32, download))
    wait_until(lambda: entries_of(pair, link) == 33, "all have ended")
    assert received <= sum_sent(pair, link) - 3 * SIZE == pair.charged(link) - 3 * SIZE <= 3 * SIZE


def entries_of(plane: Plane, link: str) -> int:
    return len(sent_of(plane, link))


def test_what_costs_nothing(pair: Plane) -> None:
    published = pair.publish(b"a" * 1000, b"b" * 1000, names=["a", "b"])
    token = pair.token(published, maximum=1)
    etag = published.etag
    with pair.connect() as client:
        for _ in range(5):
            assert client.get(f"/download?token={token}").status == 200  # the index
            assert client.get(f"/download/a?token={token}", method="HEAD").status == 200
            assert client.get(f"/download/a?token={token}", f"If-None-Match: {etag}").status == 304
            assert client.get(f"/download/a?token={token}", 'If-Match: "x"').status == 412
            assert client.get(f"/download/a?token={token}", "Range: bytes=1000-").status == 416
            assert client.get(f"/download/c?token={token}").status == 404
            assert client.get(f"/download/a?token={token}", method="POST").status == 405
        assert pair.charged(token, 0) == pair.charged(token, 1) == 0
        # each file has an allowance of its own
        assert client.get(f"/download/a?token={token}").status == 200
        assert client.get(f"/download/a?token={token}").code == "limit_reached"
        assert (pair.charged(token, 0), pair.charged(token, 1)) == (1000, 0)
        assert client.get(f"/download/b?token={token}").status == 200


def test_first_bytes_are_not_free(pair: Plane) -> None:
    """The trick that evades counters of first bytes."""
    link = pair.link(pair.publish(b"x" * 1000), maximum=1)
    with pair.connect() as client:
        assert client.get(link, "Range: bytes=1-").status == 206
        assert client.get(link, "Range: bytes=1-").code == "limit_reached"
        assert client.get(link, "Range: bytes=0-500").status == 206
        assert client.get(link, "Range: bytes=0-0").code == "limit_reached"
    assert pair.charged(link) == 1500


@pytest.mark.slow
def test_several_ranges_charge_the_parts(pair: Plane) -> None:
    """zsync asks for 20 ranges at once, zchunk for 255. Framing is not charged."""
    size = 3_000_000
    published = pair.publish(os.urandom(size))
    with pair.connect() as client:
        for count, length in ((2, 100), (20, 2048), (20, 30_000), (255, 1000)):
            link = pair.link(published, maximum=1)
            step = size // count
            ranges = ",".join(f"{n * step}-{n * step + length - 1}" for n in range(count))
            answer = client.get(link, f"Range: bytes={ranges}")
            assert answer.status == 206
            assert pair.charged(link) == count * length
            wait_until(lambda: sum_sent(pair, link) == count * length, "it was logged")  # noqa: B023


def test_a_file_that_fails_costs_nothing(pair: Plane) -> None:
    pair.expected.append("is missing")
    published = pair.publish(b"x" * 1000)
    link = pair.link(published, maximum=1)
    pair.remove(published)
    assert pair.get(link).status == 502
    wait_until(lambda: pair.charged(link) == 0, "it was returned")


def test_unlimited_tokens_are_not_charged(pair: Plane) -> None:
    link = pair.link(pair.publish(b"x" * 1000))
    assert pair.get(link).status == 200
    assert pair.charged(link) == 0


@pytest.mark.any_backend
def test_raising_the_limit_counts_at_once(pair: Plane) -> None:
    published = pair.publish(b"x" * 1000)
    token = pair.token(published, maximum=1)
    assert pair.get(f"/download?token={token}").status == 200
    assert pair.get(f"/download?token={token}").code == "limit_reached"
    pair.store.hset(token_key(token_id(token)), "max", 2)
    assert pair.get(f"/download?token={token}").status == 200


def test_an_unknown_name_is_not_found_whatever_is_left(pair: Plane) -> None:
    link = pair.link(pair.publish(b"x" * 1000), maximum=1)
    assert pair.get(link, "Range: bytes=0-0").status == 206
    unknown = link.replace("/download", "/download/other")
    for fields in ((), ("Accept: application/json",), ("Range: bytes=0-9",)):
        assert pair.get(unknown, *fields).code == "file_not_found"
    assert pair.charged(link) == 1
    assert pair.get(link).status == 200  # after the probe of one byte
    assert pair.get(link).code == "limit_reached"
    assert pair.get(unknown).code == "file_not_found"

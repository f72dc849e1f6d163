"""Whole downloads of objects: real workers, and a storage that fails as a test asks.

The objects are small and the clients few by default; GATEWAY_TEST_OBJECT_MIB=1024 and
GATEWAY_TEST_SLOW_CLIENTS=500 make them large and many.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from bench.testbed.usage import resident_bytes
from gateway.runtime.metrics import BYTES_COPIED, BYTES_SPLICED, UPSTREAM_IDLE
from tests.support.bucket_faults import Fault
from tests.support.bucket_objects import Pattern
from tests.support.certificates import make_certificate
from tests.support.downloads import IN_FLIGHT, publish, read_all, sent_of, table
from tests.support.faulty_bucket import Upstream
from tests.support.http_client import Client, request
from tests.support.memory import kernel_bytes
from tests.support.plane import Plane, run_plane
from tests.support.publications import Published
from tests.support.waiting import wait_until

OBJECT_BYTES = int(os.environ.get("GATEWAY_TEST_OBJECT_MIB", "64")) * 1024 * 1024
SLOW_CLIENTS = int(os.environ.get("GATEWAY_TEST_SLOW_CLIENTS", "40"))
SLOW_BYTES = 64 * 1024
"""What a slow client takes in a second."""
SLOW_HOLDS = 64
"""KiB, of the worker's and of the kernel's memory."""
SETTLING = 25
"""Slow seconds, at most, until clients have taken what they had ahead: 1 MiB (TOO_MUCH_UNREAD), and some."""
BROKEN = ["412", "changed", "404", "missing", "cannot be read"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Plane]:
    """A worker whose files are objects."""
    tables = {
        "s3": table(upstream),
        "impatient": table(upstream, read_timeout=1),
        "handed": table(upstream, delivery="redirect", redirect_ttl=60),
    }
    with run_plane(
        tmp_path_factory.mktemp("objects"), storage=tables, trusted_proxies="127.0.0.1"
    ) as running:
        running.expected += BROKEN
        yield running


# --- a storage that fails -----------------------------------------------------------------------------------


def test_twenty_resets_and_five_throttles(objects: Plane, upstream: Upstream) -> None:
    content = Pattern(OBJECT_BYTES)
    link = objects.link(publish(objects, upstream.put("large", content)), maximum=1)
    throttle = Fault(status=503, code="SlowDown")
    faults = [Fault(reset_after=len(content) // 25 + 7919 * number) for number in range(20)]
    for number in range(5):
        faults.insert(5 * number + 2, throttle)
    upstream.faults.extend(faults)
    before = len(upstream.requests)
    with objects.connect() as client:
        read_all(client, link, content)
        assert not upstream.faults
        assert len(upstream.requests) - before == 26
        asked = list(islice(upstream.requests, before, None))
        assert {each.fields["if-match"] for each in asked} == {upstream.objects["large"].etag}
        assert client.get(link).code == "limit_reached"
    assert objects.charged(link) == len(content)


@pytest.mark.slow
def test_resets_over_tls_on_both_sides(tmp_path: Path) -> None:
    """Copied, where nothing can be spliced."""
    certificate, key = make_certificate(tmp_path)
    content = Pattern(8_000_000)
    with Upstream(certificate=(certificate, key)) as secure:
        options = {"storage": {"s3": table(secure)}, "tls_cert": certificate, "tls_key": key}
        with run_plane(tmp_path, **options) as plane:
            plane.client_context = ssl.create_default_context(cafile=str(certificate))
            secure.faults.extend(Fault(short_after=400_000 * number) for number in range(1, 6))
            link = plane.link(publish(plane, secure.put("large", content)), maximum=1)
            with plane.connect() as client:
                read_all(client, link, content)
            assert plane.charged(link) == len(content)
            counters = plane.workers[0].counters
            wait_until(lambda: counters.values()[BYTES_COPIED] == len(content), "all was counted")
            assert counters.values()[BYTES_SPLICED] == 0


def test_a_storage_may_hang_up_while_the_client_pauses(objects: Plane, upstream: Upstream) -> None:
    """The client takes nothing for longer than `read_timeout`; the download goes on all the same."""
    content = Pattern(30_000_000)
    upstream.put("paused", content)
    link = objects.link(publish(objects, upstream.entry("paused", "impatient")))
    with objects.connect(receive_buffer=65536) as client:
        client.send(request(link))
        assert client.read_head().status == 200
        assert client.read_bytes(1_000_000) == content[:1_000_000]
        time.sleep(1.5)
        upstream.cut()
        assert client.read_bytes(29_000_000) == content[1_000_000:]


def test_an_object_replaced_within_a_download(objects: Plane, upstream: Upstream) -> None:
    """The connection breaks, and the bytes that arrived are of the published object."""
    content = Pattern(20_000_000)
    link = objects.link(publish(objects, upstream.put("replaced", content)), maximum=2)

    def replace() -> None:
        upstream.put("replaced", Pattern(20_000_000, seed=1), etag='"other"')

    upstream.faults.extend([Fault(reset_after=10_000_000), Fault(then=replace)])
    with objects.connect() as client:
        client.send(request(link))
        assert client.read_head().status == 200
        got = client.read_until_closed()
        assert got == content[: len(got)]
        assert len(got) <= 10_000_000
    wait_until(lambda: len(sent_of(objects, link)) == 1, "it has ended")
    wait_until(lambda: len(got) <= objects.charged(link) <= 10_000_000, "the rest was returned")
    answer = objects.get(link)
    assert (answer.status, answer.code) == (502, "storage_failed")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "fields", [(), ("Range: bytes=0-5",), ("Range: bytes=99999999-",), ("If-None-Match: *",)]
)
def test_an_object_that_is_gone(
    objects: Plane, upstream: Upstream, method: str, fields: tuple[str, ...]
) -> None:
    """Also where the answer would contain no byte of it."""
    link = objects.link(publish(objects, upstream.put(f"gone-{method}-{fields}", b"x" * 100)), maximum=1)
    upstream.objects.clear()
    answer = objects.get(link, *fields, method=method)
    assert answer.status == 502
    wait_until(lambda: objects.charged(link) == 0, "it was returned")


@pytest.mark.parametrize("fault", [Fault(short_after=10_000), Fault(reset_after=0), Fault(stall_after=5)])
def test_faults_that_a_retry_repairs(objects: Plane, upstream: Upstream, fault: Fault) -> None:
    content = Pattern(300_000)
    upstream.put("repaired", content)
    link = objects.link(publish(objects, upstream.entry("repaired", "impatient")))
    for asked in ("", "Range: bytes=10-20", "Range: bytes=5-200000"):
        upstream.faults.append(fault)
        answer = objects.get(link, *filter(None, [asked]))
        start, stop = {"": (0, 300_000), "Range: bytes=10-20": (10, 21)}.get(asked, (5, 200_001))
        assert answer.body == content[start:stop]
        upstream.faults.clear()


def test_auth_leaves_the_object_to_the_gateway(objects: Plane, upstream: Upstream) -> None:
    """The proxy gets no file to send, nothing is charged yet, and the bucket is not asked yet."""
    published = publish(objects, upstream.put("left", b"x" * 100))
    link = objects.link(published, maximum=1)
    asked = len(upstream.requests)
    answer = objects.get(link.replace("/download", "/auth"))
    assert answer.status == 200
    assert answer["X-Gateway-Token-Id"]
    sent_fields = {name for name, _ in answer.lines}
    assert sent_fields.isdisjoint({"X-Gateway-File", "X-Gateway-Storage", "X-Gateway-Key", "ETag"})
    assert (objects.charged(link), len(upstream.requests)) == (0, asked)
    assert objects.get(link).body == b"x" * 100
    assert objects.charged(link) == 100


def test_a_worker_that_stops_closes_its_connections(tmp_path: Path, upstream: Upstream) -> None:
    with run_plane(tmp_path, storage={"s3": table(upstream)}) as running:
        link = running.link(publish(running, upstream.put("kept", b"x" * 100)))
        assert running.get(link).status == 200
        [worker] = running.workers
        wait_until(lambda: worker.counters.values()[UPSTREAM_IDLE] == 1, "the connection is kept")
        worker.process.terminate()
        worker.process.wait(60)
        assert worker.counters.values()[UPSTREAM_IDLE] == 0


# --- what is charged ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_what_an_aborted_download_did_not_get_is_refunded(
    objects: Plane, upstream: Upstream, leave: str
) -> None:
    size = 60_000_000
    link = objects.link(publish(objects, upstream.put("aborted", Pattern(size))), maximum=100)
    received = 0
    for number in range(4):
        client = objects.connect(receive_buffer=65536 if number % 2 else 0)
        client.send(request(link))
        client.read_head()
        client.read_bytes(number * 500_000)
        received += number * 500_000
        if leave == "reset":
            client.reset()
        else:
            client.socket.close()
    wait_until(lambda: len(sent_of(objects, link)) == 4, "all have ended")
    wait_until(lambda: objects.charged(link) == sum(sent_of(objects, link)), "the rest was returned")
    assert received <= objects.charged(link) <= received + 4 * IN_FLIGHT


def test_segments_and_resumes_add_up(objects: Plane, upstream: Upstream) -> None:
    content = Pattern(3_000_000)
    link = objects.link(publish(objects, upstream.put("segments", content)), maximum=1)
    for start in range(0, 3_000_000, 500_000):
        answer = objects.get(link, f"Range: bytes={start}-{start + 499_999}")
        assert answer.body == content[start : start + 500_000]
    assert objects.charged(link) == 3_000_000
    assert objects.get(link).code == "limit_reached"


# --- hand-off -----------------------------------------------------------------------------------------------


def handed(plane: Plane, upstream: Upstream, key: str, content: bytes) -> Published:
    upstream.put(key, content)
    return publish(plane, upstream.entry(key, "handed"))


def follow(location: str, **fields: str) -> tuple[int, bytes]:
    with urlopen(Request(location, headers=fields), timeout=60) as answer:
        return answer.status, answer.read()


def test_a_redirect(objects: Plane, upstream: Upstream) -> None:
    content = os.urandom(100_000)
    published = handed(objects, upstream, "folder/some file.zip", content)
    link = objects.link(published, maximum=1)
    answer = objects.get(link)
    assert answer.status == 302
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Content-Length"] == "0"
    query = parse_qs(urlsplit(answer["Location"]).query)
    assert query["X-Amz-Expires"] == ["60"]
    assert query["response-content-disposition"][0].startswith("attachment")
    assert query["response-content-type"] == ["application/octet-stream"]
    assert follow(answer["Location"]) == (200, content)
    assert objects.charged(link) == 100_000  # granted, and never returned
    assert objects.get(link).code == "limit_reached"
    wait_until(lambda: any(entry["status"] == 302 for entry in objects.entries()), "it was logged")
    for text in (objects.log.read_text(), *(worker.errors.read_text() for worker in objects.workers)):
        assert "X-Amz-" not in text


def test_a_redirect_is_metered_by_what_is_granted(objects: Plane, upstream: Upstream) -> None:
    content = os.urandom(100_000)
    published = handed(objects, upstream, "granted", content)
    theirs, ours = published.file.etag, published.etag
    link = objects.link(published, maximum=2)
    with objects.connect() as client:
        for fields, status, cost in (
            (("Range: bytes=0-99",), 302, 100),
            (("Range: bytes=-50",), 302, 50),
            (("Range: lines=1-2",), 302, 100_000),
            (("Range: bytes=10-19", f"If-Range: {theirs}"), 302, 10),  # of an answer there
            (("Range: bytes=10-19", f"If-Range: {ours}"), 206, 10),  # of an answer here
            (("Range: bytes=0-9,20-29",), 206, 20),
            (("Range: bytes=0-9", f"If-Match: {ours}"), 206, 10),
            (("Range: bytes=100000-",), 416, 0),
            ((f"If-None-Match: {ours}",), 304, 0),
            (('If-Match: "x"',), 412, 0),
        ):
            before = objects.charged(link)
            answer = client.get(link, *fields)
            assert (answer.status, objects.charged(link) - before) == (status, cost), fields
            if status == 302 and "-50" not in fields[0]:  # the upstream of tests knows no suffix
                names = dict(field.split(": ") for field in fields)
                _, body = follow(answer["Location"], **names)
                assert len(body) == cost
        assert client.get(link, method="HEAD").status == 200


def test_a_changed_object_is_not_handed_out(objects: Plane, upstream: Upstream) -> None:
    published = handed(objects, upstream, "changed", b"x" * 100)
    link = objects.link(published, maximum=1)
    upstream.put("changed", b"y" * 100, etag='"other"')
    assert objects.get(link).code == "storage_failed"
    wait_until(lambda: objects.charged(link) == 0, "it was returned")


# --- many clients -------------------------------------------------------------------------------------------


def held(plane: Plane) -> tuple[float, float]:
    """KiB of the only worker's memory, and of the kernel's for it."""
    [worker] = plane.workers
    pid = worker.process.pid
    return resident_bytes(pid) / 1024, kernel_bytes(pid) / 1024


def take_slowly(clients: list[Client], seconds: int) -> int:
    """Read what each may take, four times a second; the bytes of all."""
    got = 0
    began = time.monotonic()
    for turn in range(1, 4 * seconds + 1):
        for client in clients:
            got += len(client.read_bytes(SLOW_BYTES // 4))
        time.sleep(max(0.0, began + turn / 4 - time.monotonic()))
    return got


def each_of(plane: Plane, before: tuple[float, float]) -> float:
    """KiB that each slow client costs; also printed."""
    own, kernel = ((now - then) / SLOW_CLIENTS for now, then in zip(held(plane), before, strict=True))
    print(f"{SLOW_CLIENTS} slow clients: {own:.1f} KiB of the worker each, {kernel:.1f} of the kernel")
    return own + kernel


@pytest.mark.slow
@pytest.mark.alone
def test_many_slow_clients_and_a_fast_one(tmp_path: Path) -> None:
    """Each holds at most 64 KiB of worker and kernel together, and none keeps it from a fast one.

    That is so once a client has taken what came before it was found to be slow: some seconds. The bucket's
    segments are those of a network.
    """
    content = Pattern(OBJECT_BYTES)
    with Upstream(segment=1448) as upstream, run_plane(tmp_path, storage={"s3": table(upstream)}) as plane:
        link = plane.link(publish(plane, upstream.put("slow", content)))
        with plane.connect() as client:
            read_all(client, link, content)  # what a first download allocates for good
        clients = []
        try:
            before = held(plane)
            for _ in range(SLOW_CLIENTS):
                clients.append(plane.connect())
                clients[-1].send(request(link))
                assert clients[-1].read_head().status == 200
            for _ in range(SETTLING):
                take_slowly(clients, 1)
                each = each_of(plane, before)
                if each <= SLOW_HOLDS:
                    break
            assert each <= SLOW_HOLDS
            with plane.connect() as client:
                read_all(client, link, content)
            assert each_of(plane, before) <= SLOW_HOLDS, "also while they take nothing at all"
            take_slowly(clients, 1)
            assert each_of(plane, before) <= SLOW_HOLDS
            quick = clients.pop()
            assert len(quick.read_bytes(10_000_000)) == 10_000_000, "it is slow no more"
            quick.socket.close()
        finally:
            for client in clients:
                client.socket.close()
        values = plane.workers[0].counters.values()
        assert values[BYTES_SPLICED] > len(content)

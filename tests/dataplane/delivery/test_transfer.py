"""Sending a plan over TLS, where sendfile is impossible, and over a unix socket. TCP: test_connection.py."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.support.certificates import make_certificate
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.timing import lasts
from tests.support.waiting import wait_until

CONTENT = os.urandom(3_000_000)
STALL_SECONDS = 5.0
"""Longer than this process stands still, as a rule."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that speaks TLS."""
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = make_certificate(folder)
    with run_plane(folder, tls_cert=certificate, tls_key=key, stall_timeout=STALL_SECONDS) as running:
        running.client_context = ssl.create_default_context(cafile=str(certificate))
        yield running


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 300_000, 3_000_000])
def test_files_of_every_size_arrive_whole(secure: Plane, size: int) -> None:
    target = secure.link(secure.publish(CONTENT[:size]))
    with secure.connect() as client:
        for _ in range(2):
            assert client.get(target).body == CONTENT[:size]
        assert client.get(target, method="HEAD")["Content-Length"] == str(size)


def test_pipelined_ranges(secure: Plane) -> None:
    target = secure.link(secure.publish(CONTENT))
    with secure.connect() as client:
        client.send(
            request(target, "Range: bytes=1000000-2999999")
            + request("/healthz")
            + request(target, "Range: bytes=0-99,200000-500000,-5")
            + request(target)
        )
        assert client.read().body == CONTENT[1_000_000:]
        assert client.read().status == 200
        parts = client.read().body
        assert CONTENT[:100] in parts
        assert CONTENT[200_000:500_001] in parts
        assert client.read().body == CONTENT


@pytest.mark.timing
@pytest.mark.parametrize("size", [100, 3_000_000])
@pytest.mark.parametrize(("version", "fields"), [("1.1", ("Connection: close",)), ("1.0", ())])
def test_the_connection_closes_after_its_last_response(
    secure: Plane, size: int, version: str, fields: tuple[str, ...]
) -> None:
    target = secure.link(secure.publish(CONTENT[:size]))
    with secure.connect() as client:
        client.send(request(target, *fields, version=version))
        assert client.read().body == CONTENT[:size]
        with lasts(most=0.5):
            client.assert_closed()


def test_invalid_requests_are_refused_and_close(secure: Plane) -> None:
    with secure.connect() as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.read().status == 400
        client.assert_closed()


def test_plain_http_on_the_port(secure: Plane) -> None:
    context, secure.client_context = secure.client_context, None
    try:
        assert not secure.exchange(request("/healthz")).startswith(b"HTTP/1.1 200")
    finally:
        secure.client_context = context
    assert secure.get("/healthz").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("leave", ["reset", "close", "never reads"])
def test_what_an_aborted_download_did_not_get_is_refunded(secure: Plane, leave: str) -> None:
    """TLS is copied through buffers of our own, so what was not sent is known less exactly."""
    target = secure.link(secure.publish(bytes(60_000_000)), maximum=1)
    with secure.no_leak():
        client = secure.connect(receive_buffer=65536)
        client.send(request(target))
        client.read_head()
        client.read_bytes(50_000)
        if leave == "never reads":
            wait_until(lambda: secure.charged(target) < 60_000_000, "it was cut", 60)
        if leave == "reset":
            client.reset()
        client.socket.close()
    wait_until(lambda: 50_000 <= secure.charged(target) < 20_000_000, "the rest was returned")


@pytest.mark.slow
def test_a_paced_reader(secure: Plane) -> None:
    content = os.urandom(12_000_000)
    target = secure.link(secure.publish(content))
    with secure.connect(receive_buffer=65536) as client:
        client.send(request(target))
        length = int(client.read_head()["Content-Length"])
        pieces = []
        while length:
            pieces.append(client.read_bytes(min(1_500_000, length)))
            length -= len(pieces[-1])
            time.sleep(0.3)
        assert b"".join(pieces) == content


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker on a unix socket."""
    folder = tmp_path_factory.mktemp("local")
    with run_plane(folder, listen=f"unix:{folder}/gateway.sock", stall_timeout=STALL_SECONDS) as running:
        yield running


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_a_unix_socket(local: Plane, size: int) -> None:
    target = local.link(local.publish(CONTENT[:size]), maximum=5)
    with local.connect() as client:
        assert client.get(target).body == CONTENT[:size]
        client.send(request(target, "Connection: close"))
        client.end()
        assert client.read().body == CONTENT[:size]
        client.assert_closed()
    assert local.charged(target) == 2 * size


@pytest.mark.parametrize("leave", ["close", pytest.param("never reads", marks=pytest.mark.slow)])
def test_an_abort_on_a_unix_socket(local: Plane, leave: str) -> None:
    """What the small buffers of the socket hold counts as sent."""
    target = local.link(local.publish(bytes(20_000_000)), maximum=1)
    with local.no_leak():
        client = local.connect()
        client.send(request(target))
        client.read_head()
        client.read_bytes(50_000)
        if leave == "never reads":
            wait_until(lambda: local.charged(target) < 20_000_000, "it was cut", 60)
        client.socket.close()
    wait_until(lambda: 50_000 <= local.charged(target) < 1_000_000, "the rest was returned")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["unix", "tcp"])
def test_spans_a_client_is_slow_to_read(local: Plane, plane: Plane, where: str) -> None:
    """The kernel takes only a part of some spans; those go on where they ended."""
    server = local if where == "unix" else plane
    target = server.link(server.publish(CONTENT))
    starts = range(0, 2_700_000, 9_001)
    with server.connect(receive_buffer=4096) as client:
        for start in starts:
            client.send(request(target, f"Range: bytes={start}-{start + 250_000}"))
        time.sleep(0.2)
        for start in starts:
            assert client.read().body == CONTENT[start : start + 250_001]


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_the_rest_of_an_aborted_span_is_refunded(plane: Plane, leave: str) -> None:
    target = plane.link(plane.publish(CONTENT), maximum=10)
    with plane.no_leak():
        client = plane.connect(receive_buffer=4096)
        for start in range(100):
            client.send(request(target, f"Range: bytes={start}-{start + 249_999}"))
        client.read()
        if leave == "reset":
            client.reset()
        client.socket.close()
    wait_until(lambda: 250_000 <= plane.charged(target) < 15_000_000, "the rest was returned")


@pytest.mark.slow
def test_a_file_that_is_in_memory_in_part(plane: Plane) -> None:
    """One system call sends more and more as the client takes it, up to where the disk has to be read."""
    content = os.urandom(1 << 20) * 40
    published = plane.publish(content)
    target = plane.link(published)
    with published.path.open("rb") as file, plane.connect() as client:
        os.fsync(file.fileno())
        for holes in ([(0, 40)], [(3, 9), (20, 36)], [(39, 1)], []):
            for start, length in holes:
                os.posix_fadvise(file.fileno(), start << 20, length << 20, os.POSIX_FADV_DONTNEED)
            assert client.get(target).body == content


@pytest.mark.slow
def test_many_at_once_beside_small_requests(plane: Plane) -> None:
    """Turns of the event loop are short then, and most transfers queue; some clients go away meanwhile."""
    content = os.urandom(1 << 20) * 16
    large, small = plane.publish(content), plane.link(plane.publish(CONTENT[:100]))
    targets = [plane.link(large, maximum=1) for _ in range(12)]
    with plane.no_leak():
        clients = [plane.connect(receive_buffer=4096) for _ in targets]
        for client, target in zip(clients, targets, strict=True):
            client.send(request(target))
        with plane.connect() as other:
            for number in range(24):
                assert other.get(small).body == CONTENT[:100]
                if number < 12 and number % 3 == 0:
                    clients[number].reset()
        for number, client in enumerate(clients):
            if number % 3:
                assert client.read().body == content
            client.socket.close()
    whole = [target for number, target in enumerate(targets) if number % 3]
    assert {plane.charged(target) for target in whole} == {len(content)}
    left = targets[::3]
    wait_until(lambda: max(map(plane.charged, left)) < len(content), "the rest was returned")

"""TLS: handshakes count towards `max_connections`, and end in time; requests come through them whole."""

from __future__ import annotations

import resource
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.runtime.metrics import CONNECTIONS_REFUSED
from tests.support.certificates import make_certificate
from tests.support.http_client import CLIENT_SECONDS, request
from tests.support.plane import Plane
from tests.support.waiting import wait_until

MOST = 50
SILENT = 1000
HANDSHAKE_SECONDS = 5.0
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a handshake begins."""


@pytest.fixture
def secure(make_plane: Callable[..., Plane], tmp_path: Path) -> Plane:
    certificate, key = make_certificate(tmp_path)
    plane = make_plane(
        tls_cert=certificate, tls_key=key, max_connections=MOST, header_timeout=HANDSHAKE_SECONDS
    )
    plane.client_context = ssl.create_default_context(cafile=str(certificate))
    return plane


def still_open(clients: list[socket.socket]) -> list[socket.socket]:
    """Those that the worker has not closed."""
    poll = select.poll()
    by_number = {client.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.POLLIN | select.POLLHUP | select.POLLERR)
    ended = {number for number, _ in poll.poll(0)}
    return [client for number, client in by_number.items() if number not in ended]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Enough of them in this process for SILENT clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * SILENT)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("sent", [b"", HELLO], ids=["silent", "hello"])
def test_silent_clients_are_bounded_and_end(secure: Plane, sent: bytes) -> None:
    published = secure.publish(b"content")
    link = secure.link(published)
    descriptors = secure.descriptors()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(secure.address)) for _ in range(SILENT)]
        for client in still_open(clients):
            with suppress(OSError):  # it was refused meanwhile
                client.sendall(sent)
        wait_until(lambda: len(still_open(clients)) <= MOST, "those beyond the limit are closed")
        assert secure.descriptors() <= descriptors + MOST + 5
        assert secure.workers[0].counters.values()[CONNECTIONS_REFUSED] >= SILENT // 2
        wait_until(lambda: not still_open(clients), "a handshake ends in time")
    assert secure.get(link).body == b"content"


def test_connections_and_handshakes_are_counted_together(secure: Plane) -> None:
    link = secure.link(secure.publish(b"content"))
    with ExitStack() as stack:
        served = []
        for _ in range(MOST - 5):  # one after the other: a connection without a request soon ends
            served.append(stack.enter_context(secure.connect()))
            assert served[-1].get(link).status == 200
        silent = [stack.enter_context(socket.create_connection(secure.address)) for _ in range(20)]
        wait_until(lambda: len(still_open(silent)) <= 5, "those beyond the limit are closed")
        assert served[0].get(link).status == 200


def test_a_request_may_come_together_with_the_end_of_the_handshake(secure: Plane) -> None:
    """TLS 1.3 lets a client send its request in the same packet, and end its side at once."""
    link = secure.link(secure.publish(b"content"))
    context = secure.client_context
    assert context is not None
    for _ in range(20):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(secure.address, CLIENT_SECONDS) as link_socket:
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    link_socket.sendall(outgoing.read())
                    incoming.write(link_socket.recv(65536))
            client.write(request(link, "Connection: close"))
            link_socket.sendall(outgoing.read())
            answer = b""
            while not answer.endswith(b"content"):
                try:
                    answer += client.read(65536)
                except ssl.SSLWantReadError:
                    data = link_socket.recv(65536)
                    assert data
                    incoming.write(data)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_bytes_that_are_no_tls_end_the_connection(secure: Plane) -> None:
    with socket.create_connection(secure.address) as client:
        client.sendall(request("/healthz"))
        wait_until(lambda: not still_open([client]), "the handshake fails")

"""Listening sockets: no other program shares the address, and every client that connects is served."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.runtime.listeners import UNPACED, Listener, congestion_control, unpace
from tests.support.programs import need_ipv6
from tests.support.waiting import wait_until


def test_new_connections_are_spread_over_all_sockets() -> None:
    listener = Listener("127.0.0.1:0", "listen")
    listener.grow(3)
    port = listener.address.port
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    counts = dict.fromkeys(listener.sockets, 0)

    def are_accepted() -> bool:
        for listening in counts:
            with suppress(BlockingIOError):
                while True:
                    listening.accept()[0].close()
                    counts[listening] += 1
        return sum(counts.values()) == 60

    wait_until(are_accepted, "each was accepted")
    assert len(counts) == 3
    assert min(counts.values()) > 0
    for link in links:
        link.close()
    listener.close()


def test_every_socket_has_a_worker_and_every_worker_a_socket() -> None:
    listener = Listener("127.0.0.1:0", "listen")
    listener.grow(5)
    for workers in (1, 2, 5):
        shares = [list(listener.share(slot, workers)) for slot in range(workers)]
        shared = [each for share in shares for each in share]
        assert sorted(map(id, shared)) == sorted(map(id, listener.sockets))
        assert all(shares)
    listener.grow(2)
    assert len(listener.sockets) == 5
    listener.close()


def test_two_gateways_never_share_a_port() -> None:
    first = Listener("127.0.0.1:0", "listen")
    first.grow(2)
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(
            GatewayError, match="another process already listens there; stop it or change listen"
        ):
            Listener(f"{host}:{first.address.port}", "listen")
    first.close()
    Listener(str(first.address), "listen").close()


def test_ipv6_and_both() -> None:
    need_ipv6()
    listener = Listener("[::]:0", "listen")
    listener.grow(2)
    assert listener.url == f"http://[::1]:{listener.address.port}"
    for host in ("::1", "127.0.0.1"):
        socket.create_connection((host, listener.address.port)).close()
    listener.close()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        (
            "203.0.113.7:0",
            "cannot listen on 203.0.113.7:0: this machine does not have that address; change listen",
        ),
        (
            "no-such-host.invalid:1",
            "cannot listen on no-such-host.invalid:1: this host name is not known here",
        ),
        (
            "unix:/no/such/folder/x",
            "cannot listen on unix:/no/such/folder/x: it or its folder does not exist",
        ),
    ],
)
def test_an_address_that_cannot_work_is_one_line(address: str, fault: str) -> None:
    with pytest.raises(GatewayError) as caught:
        Listener(address, "listen")
    assert str(caught.value).startswith(fault)


def test_a_unix_socket_in_use_and_a_file_that_is_none_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    first = Listener(f"unix:{path}", "listen")
    first.grow(4)
    assert len(first.sockets) == 1
    with pytest.raises(GatewayError, match="another process already listens there"):
        Listener(f"unix:{path}", "listen")
    first.close()
    path.write_text("precious")
    with pytest.raises(GatewayError, match="a file that is no socket has this name"):
        Listener(f"unix:{path}", "listen")
    assert path.read_text() == "precious"


def test_a_unix_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    first = Listener(f"unix:{path}", "listen")
    path.unlink()
    second = Listener(f"unix:{path}", "listen")
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("host", "stays"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)]
)
def test_nothing_is_paced_on_loopback(host: str, stays: bool) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        try:
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
            bound.bind((host, 0))
        except OSError as error:
            pytest.skip(f"this machine has no BBR, or no IPv6: {error}")
        unpace(bound)
        assert (congestion_control(bound) == b"bbr") is stays
        assert stays or congestion_control(bound) in UNPACED


def test_all_sockets_of_an_address_are_alike() -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        listener = Listener(f"{host}:0", "listen")
        listener.grow(2)
        assert len({congestion_control(each) for each in listener.sockets}) == 1
        listener.close()

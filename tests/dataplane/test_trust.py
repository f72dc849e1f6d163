"""Whom a worker trusts, and which address it logs: real connections of every kind."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.http_client import CLIENT_SECONDS, Client, request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

FORGED = "6.6.6.6"


@pytest.fixture(scope="module", params=["127.0.0.1", "unix"])
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A worker that trusts a front proxy on this machine, by its address or because of its unix socket."""
    folder = tmp_path_factory.mktemp("trust")
    options: dict[str, Any] = {"trusted_proxies": "127.0.0.1, 10.0.0.0/8"}
    if request.param == "unix":
        options = {"trusted_proxies": "10.0.0.0/8", "listen": f"unix:{os.path.relpath(folder)}/worker.sock"}
    with run_plane(folder, **options) as running:
        yield running


def logged(plane: Plane, agent: str) -> list[dict[str, Any]]:
    """The lines of the log of this agent, once there is one."""

    def found() -> list[dict[str, Any]]:
        return [line for line in plane.entries() if line.get("agent") == agent]

    return wait_until(found, "the request is logged")


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        (("X-Forwarded-For: 203.0.113.7:4711",), "203.0.113.7"),
        (("X-Forwarded-For: [2001:db8::7]:4711",), "2001:db8::7"),
        (("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2:80",), "203.0.113.7"),
        (("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.7"), "203.0.113.7"),
        (('Forwarded: for="[2001:db8::7]:4711";proto=https',), "2001:db8::7"),
        (("Forwarded: for=203.0.113.7", "X-Forwarded-For: 203.0.113.7:4711"), "203.0.113.7"),
    ],
)
@pytest.mark.parametrize("target", ["/download?token=ct_none", "/nowhere", "/auth"])
def test_the_client_that_a_trusted_proxy_names_is_logged(
    behind: Plane, target: str, fields: tuple[str, ...], client: str
) -> None:
    agent = f"agent-{target}-{fields}".replace('"', "")
    original = ("X-Original-URI: /download?token=ct_none",) if target == "/auth" else ()
    behind.get(target, *fields, *original, f"User-Agent: {agent}")
    assert [line["client"] for line in logged(behind, agent)] == [client]


@pytest.mark.parametrize("target", ["/download?token={}", "/auth"])
def test_a_contradiction_about_the_client_is_refused(behind: Plane, target: str) -> None:
    link = behind.link(behind.publish(b"x" * 1000), maximum=1)
    answer = behind.get(
        target.format(link.partition("=")[2]),
        f"X-Original-URI: {link}",
        "X-Forwarded-For: 203.0.113.7",
        f"Forwarded: for={FORGED}",
    )
    assert (answer.status, answer.code) == (400, "bad_request")
    assert behind.charged(link) == 0


def test_a_peer_that_is_not_trusted_may_write_what_it_likes(plane: Plane) -> None:
    link = plane.link(plane.publish(b"x" * 1000))
    answer = plane.get(link, f"X-Forwarded-For: {FORGED}", "Forwarded: for=7.7.7.7", "User-Agent: stranger")
    assert answer.status == 200
    assert [line["client"] for line in logged(plane, "stranger")] == ["127.0.0.1"]


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"])
def test_a_peer_that_has_no_address_any_more_gets_nothing(
    make_plane: Callable[..., Plane], trusted: str
) -> None:
    """A client resets its connection before the worker has accepted it. Then the socket names no peer."""
    plane = make_plane(trusted_proxies=trusted)
    link = plane.link(plane.publish(b"x" * 1000), maximum=1)
    asking = (f"X-Original-URI: {link}", "X-Original-Method: GET", f"X-Forwarded-For: {FORGED}")
    [worker] = plane.workers
    worker.process.send_signal(signal.SIGSTOP)
    try:
        for data in (request("/auth", *asking), request(link, *asking), b"GET /auth HTTP/1.1\r\nHo"):
            client = Client(plane.address)
            client.send(data)
            client.reset()
    finally:
        worker.process.send_signal(signal.SIGCONT)
    assert plane.get("/healthz", "User-Agent: the-next-one").status == 200
    time.sleep(0.1)  # a claim would have been made by now
    assert [line["client"] for line in logged(plane, "the-next-one")] == ["127.0.0.1"]
    assert plane.charged(link) == 0
    assert FORGED not in plane.log.read_text()
    assert len(plane.log.read_text().splitlines()) == 1


def test_a_dual_stack_listener_knows_ipv4_proxies(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(listen="[::]:0", trusted_proxies="127.0.0.1")
    with socket.create_connection(("127.0.0.1", plane.address[1]), CLIENT_SECONDS) as client:
        client.sendall(request("/nowhere", "X-Forwarded-For: 203.0.113.7", "User-Agent: mapped"))
        assert client.recv(100).startswith(b"HTTP/1.1 404")
    with socket.create_connection(("::1", plane.address[1]), CLIENT_SECONDS) as client:
        client.sendall(request("/nowhere", "X-Forwarded-For: 203.0.113.7", "User-Agent: other"))
        assert client.recv(100).startswith(b"HTTP/1.1 404")
    assert [line["client"] for line in logged(plane, "mapped") + logged(plane, "other")] == [
        "203.0.113.7",
        "::1",
    ]

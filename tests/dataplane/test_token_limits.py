"""Connections, rates and the client of a token, over two workers that share a store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.runtime.metrics import DOWNLOADS_RUNNING
from gateway.secrets import token_id
from tests.support.http_client import Client, request
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until

LASTS = 10
"""Seconds that a place lasts: a worker may stand still for some of them."""
BIG = 64 << 20
"""More than the kernel takes for a client that reads nothing."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    options = {"workers": 2, "lease_times": (1, 0.3, LASTS), "trusted_proxies": "127.0.0.1", "restarts": True}
    with run_plane(tmp_path_factory.mktemp("limits"), **options) as running:
        yield running


def begin(plane: Plane, link: str, *fields: str) -> tuple[Client, int]:
    """Begin a download that the client does not go on reading. Returns the client, and the status."""
    client = plane.connect(receive_buffer=16384)
    client.send(request(link, *fields))
    return client, client.read_head().status


def are_running(plane: Plane) -> int:
    return sum(worker.counters.values()[DOWNLOADS_RUNNING] for worker in plane.workers)


def places(plane: Plane, token: str) -> int:
    return int(plane.store.zcard(f"dg:running:{{{token_id(token)}}}"))


@pytest.mark.parametrize("maximum", [None, 20])
def test_one_connection_more_is_refused_and_places_are_given_back(plane: Plane, maximum: int | None) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    token = plane.token(published, maximum, caps="connections=3")
    link = f"/download?token={token}"
    running = [begin(plane, link, f"Range: bytes={each}-") for each in range(3)]
    assert [status for _, status in running] == [206] * 3
    answer = plane.get(link)
    assert (answer.status, answer.code) == (429, "too_many_connections")
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert plane.get(link, method="HEAD").status == 200
    assert plane.get(link, "Range: bytes=0-99").status == 206  # sent in one piece
    assert plane.get(link, 'If-None-Match: "other"', "Range: bytes=9999999999-").status == 416
    running[0][0].reset()
    wait_until(lambda: places(plane, token) == 2, "the place was given back")
    client, status = begin(plane, link, "Range: bytes=7-")
    assert status == 206
    for each in (client, *(each for each, _ in running[1:])):
        each.reset()
    wait_until(lambda: places(plane, token) == 0, "all places were given back")
    if maximum is not None:
        wait_until(lambda: plane.charged(token) < BIG, "what nobody read was returned")


def test_another_token_has_places_of_its_own(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    links = [f"/download?token={plane.token(published, caps='connections=1')}" for _ in range(2)]
    running = [begin(plane, link) for link in links]
    assert [status for _, status in running] == [200, 200]
    for client, _ in running:
        client.reset()


@pytest.mark.slow
def test_places_of_a_dead_worker_do_not_stay(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    token = plane.token(published, caps="connections=1")
    link = f"/download?token={token}"
    client, _ = begin(plane, link)
    for slot in range(2):
        plane.restart(slot)
    assert places(plane, token) == 1
    client.socket.close()
    wait_until(lambda: plane.get(link, "Range: bytes=0-999999").status == 206, "its place has ended")


def test_a_transfer_that_lasts_keeps_its_place(plane: Plane) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    token = plane.token(published, caps="connections=1 rate=200000")
    client, status = begin(plane, f"/download?token={token}")
    assert status == 200
    key = f"dg:running:{{{token_id(token)}}}"

    def ends() -> float:
        found: Any = plane.store.zrange(key, 0, -1, withscores=True)
        return float(found[0][1])

    first = ends()

    def is_renewed() -> bool:
        assert client.socket.recv(1 << 16)
        return ends() > first + 2000

    wait_until(is_renewed, "it is renewed")
    assert plane.get(f"/download?token={token}").status == 429
    client.reset()


@pytest.mark.parametrize("caps", ["", "connections=5", "rate=300000"])
@pytest.mark.parametrize("maximum", [None, 3])
def test_revoking_breaks_what_runs(plane: Plane, maximum: int | None, caps: str) -> None:
    """However it is revoked: by the message of the script, or where that is lost, by a look at the token."""
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    other = plane.token(published)
    token = plane.token(published, maximum, caps=caps)
    spans = ("0-20000000", "30000000-")
    running = [begin(plane, f"/download?token={token}", f"Range: bytes={each}")[0] for each in spans]
    spared, _ = begin(plane, f"/download?token={other}")
    wait_until(lambda: are_running(plane) == 3, "they run")
    plane.revoke(token)
    wait_until(lambda: are_running(plane) == 1, "they were broken off")
    for client in running:
        assert len(client.read_until_closed()) < 20_000_000
        client.socket.close()
    assert plane.get(f"/download?token={token}").status == 403
    assert len(spared.read_bytes(BIG)) == BIG
    spared.socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["delete", "pexpire"])
def test_a_token_that_is_gone_ends_no_download(plane: Plane, end: str) -> None:
    published = plane.publish(b"x", names=["a.bin"], sparse=BIG)
    token = plane.token(published)
    client, _ = begin(plane, f"/download?token={token}")
    key = f"dg:token:{{{token_id(token)}}}"
    plane.store.delete(key) if end == "delete" else plane.store.pexpire(key, 1)
    time.sleep(2.5)
    assert len(client.read_bytes(BIG)) == BIG
    client.socket.close()


CLIENTS = {"one": "203.0.113.7", "near": "203.0.113.8", "far": "198.51.100.1"}
CLIENTS6 = {
    "one": "2001:db8:1:2::7",
    "same": "2001:db8:1:2:f::8",
    "near": "2001:db8:1:3::1",
    "far": "2001:db9::1",
}


@pytest.mark.parametrize(
    ("binding", "clients", "good"),
    [
        ("address", CLIENTS, {"one"}),
        ("network", CLIENTS, {"one", "near"}),
        ("address", CLIENTS6, {"one", "same"}),
        ("network", CLIENTS6, {"one", "same", "near"}),
    ],
)
@pytest.mark.parametrize("way", ["/download?token={}", "/auth"])
def test_a_token_belongs_to_the_first_client(
    plane: Plane, binding: str, clients: dict[str, str], good: set[str], way: str
) -> None:
    published = plane.publish(b"x" * 1000)
    token = plane.token(published, caps=f"binding={binding}")

    def ask(client: str, method: str = "GET") -> int:
        fields = [f"X-Forwarded-For: {client}"]
        if way == "/auth":
            fields += [f"X-Original-URI: /download?token={token}", f"X-Original-Method: {method}"]
            answer = plane.get(way, *fields)
            assert (answer.get("X-Gateway-Code") == "bound_elsewhere") is (answer.status == 403)
        else:
            answer = plane.get(way.format(token), *fields, method=method)
            assert answer.status == 200 or method == "HEAD" or answer.code == "bound_elsewhere"
        return answer.status

    assert ask(clients["far"], "HEAD") == 200  # a look binds nothing
    assert ask(clients["one"]) == 200
    assert {name for name, client in clients.items() if ask(client) == 200} == good
    assert ask(clients["far"], "HEAD") == 403
    stored = str(plane.token_fields(token))
    assert "bound" in stored
    assert not any(client in stored for client in clients.values())


def test_an_unknown_limit_is_passed_over(plane: Plane) -> None:
    link = plane.token(plane.publish(b"x" * 10), caps="colour=blue connections=x rate= ")
    assert plane.get(f"/download?token={link}").body == b"x" * 10

"""Each request that sent bytes of a file makes one event, whichever way it was answered."""

from __future__ import annotations

import asyncio
import os

import pytest

from gateway.dataplane import event_log
from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.event_log import EVENTS_A_TURN, EventLog
from gateway.dataplane.exchange import unread_exchange
from gateway.http.plans import Representation
from gateway.manifest import ManifestFile
from gateway.secrets import token_id
from gateway.usage.events import Event
from tests.support.plane import Plane
from tests.support.usage import events_in
from tests.support.waiting import wait_until

LARGE = 200_000


def events_of(plane: Plane, token: str, count: int) -> list[Event]:
    """The events of a token, once there are so many."""

    def found() -> list[Event]:
        return [event for event in events_in(plane.store) if event.token == token_id(token)]

    wait_until(lambda: len(found()) >= count, f"{count} events came")
    return found()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, SMALL_BYTES, LARGE])
def test_a_whole_file(plane: Plane, size: int) -> None:
    """The second answer and later ones come from the fast path, where the file is small."""
    published = plane.publish(os.urandom(size), names=["kit.zip"])
    token = plane.token(published)
    for _ in range(3):
        plane.get(f"/download?token={token}", "User-Agent: curl/8.5.0")
    plane.get(f"/download?token={token}", "User-Agent: curl/8.5.0", 'If-Match: "*"')  # 412
    plane.get(f"/download?token={token}", method="HEAD")
    plane.get(f"/download?token={token}", "Range: bytes=-0")
    for event in events_of(plane, token, 3):
        manifest = published.manifest
        assert (event.file.product, event.file.version) == (manifest.product, manifest.version)
        assert (event.file.name, event.file.size) == ("kit.zip", size)
        assert event.file.sha256 == published.file.sha256
        assert (event.sent, event.spans, event.status) == (size, ((0, size),), 200)
        assert (event.whole, event.method, event.client) == (True, "GET", "127.0.0.1")
        assert event.agent == "curl/8.5.0"
        assert event.started <= event.ended
    last = plane.token(published)
    plane.get(f"/download?token={last}")
    events_of(plane, last, 1)
    assert len(events_of(plane, token, 3)) == 3


@pytest.mark.parametrize("size", [100, LARGE])
def test_spans(plane: Plane, size: int) -> None:
    token = plane.token(plane.publish(os.urandom(size)))
    for _ in range(2):
        plane.get(f"/download?token={token}", "Range: bytes=10-59")
    plane.get(f"/download?token={token}", "Range: bytes=-20", "X-Other: not plain", "Accept: a/b")
    plane.get(f"/download?token={token}", "Range: bytes=70-79,0-9")
    found = [(event.spans, event.sent, event.status) for event in events_of(plane, token, 4)]
    assert found == [
        (((10, 60),), 50, 206),
        (((10, 60),), 50, 206),
        (((size - 20, size),), 20, 206),
        (((70, 80), (0, 10)), 20, 206),
    ]


@pytest.mark.parametrize("maximum", [None, 2])
def test_a_download_that_is_broken_off(plane: Plane, maximum: int | None) -> None:
    size = 64 * 2**20
    token = plane.token(plane.publish(b"", sparse=size), maximum)
    with plane.connect(receive_buffer=4096) as client:
        client.send(f"GET /download?token={token} HTTP/1.1\r\nHost: a\r\nRange: bytes=100-\r\n\r\n".encode())
        client.read_head()
        received = len(client.read_bytes(100_000))
        client.reset()
    [event] = events_of(plane, token, 1)
    assert not event.whole
    assert received <= event.sent < size - 100
    assert event.spans == ((100, 100 + event.sent),)


def test_secrets_in_a_user_agent_are_hidden_and_it_is_cut(plane: Plane) -> None:
    token = plane.token(plane.publish(b"content"))
    for agent in (f"x {token} y", "z" * 5000, "q\u00e9"):
        plane.get(f"/download?token={token}", f"User-Agent: {agent}", "X-Other: not plain")
    agents = [event.agent for event in events_of(plane, token, 3)]
    assert token not in agents[0]
    assert agents[0].startswith("x ")
    assert agents[1:] == ["z" * 256, "q\u00e9"]


def test_revoked_and_deleted_meanwhile_a_download_still_makes_its_event(plane: Plane) -> None:
    size = 64 * 2**20
    published = plane.publish(b"", sparse=size)
    token = plane.token(published)
    with plane.connect(receive_buffer=4096) as client:
        client.send(f"GET /download?token={token} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.read_head()
        plane.store.delete(f"dg:token:{{{token_id(token)}}}")
    [event] = events_of(plane, token, 1)
    assert event.file.product == published.manifest.product


async def test_a_busy_worker_makes_few_large_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that end in every turn of the event loop wait for the next batch."""
    monkeypatch.setattr(event_log, "FLUSH_SECONDS", 0.01)
    batches: list[int] = []
    log = EventLog("a" * 16, lambda count, _: batches.append(count), lambda _: "")
    file = ManifestFile("a.bin", 9, "a/b", "0" * 64, "0" * 8, "main", "k", 10**18)
    served = Representation(file, 0.0, "drums", "1")
    log.start()
    turns = 0
    while len(batches) < 6:
        turns += 1
        for _ in range(3):
            exchange = unread_exchange(("127.0.0.1", 1), 200, "")
            exchange.token_id, exchange.served, exchange.sent = "0" * 32, served, 9
            log.add(exchange)
        await asyncio.sleep(0)
    log.stop()
    assert sum(batches) == 3 * turns
    assert len(batches) <= 1 + turns // 4
    for _ in range(2 * EVENTS_A_TURN + 5):
        log.add(exchange)
    batches.clear()
    log.start()
    while sum(batches) < 2 * EVENTS_A_TURN + 5:  # noqa: ASYNC110 - the time-out of the tests ends it
        await asyncio.sleep(0.005)
    log.stop()
    assert batches == [EVENTS_A_TURN, EVENTS_A_TURN, 5]


def test_refusals_make_no_event(plane: Plane) -> None:
    published = plane.publish(b"content")
    token = plane.token(published)
    plane.revoke(token)
    assert plane.get(f"/download?token={token}").status == 403
    last = plane.token(published)
    plane.get(f"/download?token={last}")
    events_of(plane, last, 1)
    assert not [event for event in events_in(plane.store) if event.token == token_id(token)]

"""Requests that are passed on in the test's own event loop: what takes long, and what needs small bounds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import Exchange
from gateway.dataplane.passing import Bounds, Passing, Room
from gateway.dataplane.server import Server
from gateway.errors import Refused
from gateway.http.client_address import TrustedProxies
from gateway.http.passing import MAX_BODY
from gateway.runtime.addresses import MAX_SOCKET_PATH, Address
from gateway.runtime.metrics import Counters
from tests.support.http_client import Client, request
from tests.support.in_loop_server import LIMITS
from tests.support.passing import OK, post
from tests.support.waiting import wait_until
from tests.support.web_stand_in import Taken, WebStandIn

Passed = tuple[Callable[[], Client], list[Exchange], Room]


@asynccontextmanager
async def passing(
    path: Path, **options: Any
) -> AsyncIterator[tuple[Callable[[], Client], list[Exchange], Room]]:
    """A server that passes requests on to a unix socket. options: of Passing, and bounds of its room."""
    counters, ended = Counters(), list[Exchange]()
    room = Room(options.pop("bounds", None))
    endings = Endings(counters)
    to_web = Passing(Address(path=str(path)), endings, TrustedProxies(()), LIMITS, room, **options)
    server = Server(print, None, ended.append, print, counters, LIMITS, pass_on=to_web.begin)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    server.start()
    listener = await loop.create_server(server, "127.0.0.1", 0)
    address = listener.sockets[0].getsockname()
    try:
        yield lambda: Client(address), ended, room
    finally:
        listener.close()
        server.stop()


async def emptied(room: Room) -> None:
    """Wait until nothing is counted any more."""
    async with asyncio.timeout(60):
        while not room.is_empty:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("begins", [False, True])
async def test_a_web_process_that_hangs_is_503_or_breaks_off(tmp_path: Path, begins: bool) -> None:
    def hang(taken: Taken) -> None:
        taken.read()
        if begins:
            taken.send(OK + b"Content-Length: 5\r\n\r\nhel")
        taken.read_end()

    def ask(connect: Callable[[], Client]) -> bytes:
        with connect() as client:
            client.send(post("/hooks/a", b"hello"))
            if begins:
                return client.read_until_closed()
            answer = client.read()
            assert answer["Retry-After"]
            return json.dumps([answer.status, answer.code, answer.keeps]).encode()

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = hang
        async with passing(web.path, answer_seconds=0.3) as (connect, ended, room):
            found = await asyncio.to_thread(ask, connect)
            assert found.endswith(b"\r\nhel" if begins else b'[503, "web_unavailable", true]')
            await emptied(room)
            assert [each.status for each in ended] == [200 if begins else 503]


@pytest.mark.parametrize("bounds", [Bounds(requests=3), Bounds(requests_each=3)])
async def test_more_at_once_than_there_is_room_for_are_503(tmp_path: Path, bounds: Bounds) -> None:
    released = threading.Event()

    def wait(taken: Taken) -> None:
        taken.read()
        released.wait(60)
        taken.send(OK + b"Content-Length: 0\r\n\r\n")

    def ask(connect: Callable[[], Client], web: WebStandIn) -> None:
        clients = [connect() for _ in range(3)]
        for each in clients:
            each.send(request("/my"))
        wait_until(lambda: len(web.heads) == 3 and all(web.heads), "all wait for an answer")
        with connect() as client:
            answer = client.get("/my")
            assert (answer.status, answer.code) == (503, "overloaded")
            assert answer["Retry-After"]
        released.set()
        for each in clients:
            assert each.read().status == 200
            each.socket.close()
        with connect() as client:
            assert client.get("/my").status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = wait
        async with passing(web.path, bounds=bounds) as (connect, _, room):
            await asyncio.to_thread(ask, connect, web)
            await emptied(room)


async def test_the_bodies_that_are_held_are_bounded(tmp_path: Path) -> None:
    def ask(connect: Callable[[], Client], web: WebStandIn) -> None:
        with connect() as first, connect() as second:
            first.send(request("/hooks/a", "Content-Length: 1000", method="POST") + bytes(600))
            wait_until(lambda: bool(web.taken and web.taken[0].head), "the first body is held")
            second.send(request("/hooks/a", "Content-Length: 500", method="POST") + bytes(500))
            assert second.read().code == "overloaded"
            first.send(bytes(400))
            assert first.read().status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        async with passing(web.path, bounds=Bounds(held=1000)) as (connect, _, room):
            await asyncio.to_thread(ask, connect, web)
            await emptied(room)


def test_a_client_cannot_use_the_room_of_others() -> None:
    room = Room(Bounds(requests=5, requests_each=2, held=100, held_each=40))
    for _ in range(2):
        room.enter("a")
    with pytest.raises(Refused):
        room.enter("a")
    room.enter("b")
    room.hold("a", 40)
    with pytest.raises(Refused):
        room.hold("a", 1)
    room.hold("b", 40)
    room.enter("")
    with pytest.raises(Refused):
        room.hold("", 20)  # 101 of all
    for group, held in (("a", 41), ("a", 0), ("b", 40), ("", 20)):
        room.leave(group, held)
    assert room.is_empty


async def test_a_web_process_that_takes_nothing_holds_back_the_client(tmp_path: Path) -> None:
    released = threading.Event()

    def stop(taken: Taken) -> None:
        taken.read_head()
        released.wait(60)
        while len(taken.body) < MAX_BODY:
            taken.body += taken.receive()
        taken.send(OK + b"Content-Length: 0\r\n\r\n")

    def ask(connect: Callable[[], Client]) -> None:
        with connect() as client:
            sending = threading.Thread(target=client.send, args=(post("/hooks/a", b"x" * MAX_BODY),))
            sending.start()
            sending.join(0.5)
            released.set()
            sending.join(10)
            assert client.read().status == 200

    with WebStandIn(tmp_path / "web.sock") as web:
        web.script = stop
        async with passing(web.path) as (connect, _, room):
            await asyncio.to_thread(ask, connect)
            await emptied(room)
        assert web.taken[0].body == b"x" * MAX_BODY


async def test_a_data_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    path = folder / "web.sock"
    assert len(str(path)) > MAX_SOCKET_PATH

    def ask(connect: Callable[[], Client]) -> None:
        with connect() as client:
            assert client.get("/my").status == 200

    with WebStandIn(tmp_path / "short.sock") as web:
        path.symlink_to(web.path)
        async with passing(path) as (connect, _, _room):
            await asyncio.to_thread(ask, connect)

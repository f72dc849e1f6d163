"""What runs now, asked of two real workers: each transfer once, its file, and what was sent of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.secrets import token_id
from gateway.store.client import StoreClient
from gateway.usage import running
from gateway.usage.running import Running, RunningNow, ask_what_runs
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.timing import patience

BIG = 64 << 20
"""More than the kernel takes for a client that reads nothing."""


async def ask(plane: Plane, condition: Any) -> RunningNow:
    """What runs, once the condition holds."""
    limit = time.monotonic() + patience(20)
    async with StoreClient([plane.redis_url], 10) as client:
        while True:
            found = await ask_what_runs(client)
            if condition(found) or time.monotonic() > limit:
                return found


def test_every_worker_tells_what_it_sends(pair: Plane) -> None:
    published = pair.publish(b"x", names=["big <b>.bin"], sparse=BIG)
    token = pair.token(published)
    clients = [pair.connect(receive_buffer=16384) for _ in range(3)]
    for client in clients:
        client.send(request(f"/download?token={token}"))
        client.read_head()

    def mine_of(now: RunningNow) -> list[Running]:
        return [each for each in now.shown if each.token == token_id(token)]

    def has_all(now: RunningNow) -> bool:
        return now.workers == 2 and len(mine_of(now)) == 3 and all(each.sent for each in mine_of(now))

    found = asyncio.run(ask(pair, has_all))
    mine = mine_of(found)
    assert found.workers == 2
    assert len(mine) == 3
    for each in mine:
        assert (each.file, each.size, each.client) == ("big <b>.bin", BIG, "127.0.0.1")
        assert 0 < each.sent < BIG
        assert each.seconds >= 0
    for client in clients:
        client.reset()
    assert mine_of(asyncio.run(ask(pair, lambda now: not mine_of(now)))) == []


def test_without_a_worker_nobody_is_waited_for(store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(running, "WAIT_SECONDS", 10_000)

    async def ask_nobody() -> RunningNow:
        async with StoreClient([store.url], 10) as client:
            return await ask_what_runs(client)

    assert asyncio.run(ask_nobody()) == RunningNow(0, [], 0)


def test_a_rate_is_of_the_time_since_it_began() -> None:
    row = Running("t", "p", "v", "f", 100, 50, 2.0, "c")
    assert (row.rate, row._replace(seconds=0.0).rate) == (25, 0)

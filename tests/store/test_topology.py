"""Two real servers, each with a part of the keys: routing by key, on the hot path and off it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from gateway.errors import TOKEN_INVALID, Refused, StoreUnavailable
from gateway.manifest import Manifest, ManifestFile
from gateway.runtime.deferred import stepped
from gateway.secrets import token_id
from gateway.store.client import StoreClient
from gateway.store.commands import Command, pack
from gateway.store.key_names import server_number, token_key
from gateway.store.pipeline import Pipeline
from gateway.store.scripts import CLAIM, SCRIPTS
from gateway.store.topology import Topology
from gateway.tokens.claims import Claims
from gateway.tokens.repositories import Repositories
from tests.support.store_server import StoreServer
from tests.support.waiting import until

MANIFEST = Manifest("p", "1", (ManifestFile("a", 100, "text/plain", "0" * 64, "0" * 8, "local", "a", 0),))


@pytest.fixture
def servers() -> Iterator[list[StoreServer]]:
    """Two servers of this test's own."""
    folders = [Path(tempfile.mkdtemp(prefix="dg-store-")) for _ in range(2)]
    started = [StoreServer(folder) for folder in folders]
    for server in started:
        server.start()
    yield started
    for server in started:
        server.stop()
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
async def topology(servers: list[StoreServer]) -> AsyncIterator[Topology]:
    made = Topology.connect([server.url for server in servers], timeout=30, queue=100, scripts=SCRIPTS)
    made.start()
    await until(lambda: made.is_ready)
    yield made
    await made.stop()


@pytest.fixture
async def repositories(servers: list[StoreServer]) -> AsyncIterator[Repositories]:
    async with Repositories(StoreClient([server.url for server in servers], 5)) as made:
        yield made


def keys_of(server: StoreServer) -> set[str]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return set(client.scan_iter(count=1000))


def ids_by_server() -> tuple[str, str]:
    """A token id whose key the first server holds, and one of the second."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < 2:
        identifier = f"{number:032x}"
        found.setdefault(server_number(token_key(identifier), 2), identifier)
        number += 1
    return found[0], found[1]


def test_a_topology_needs_a_server() -> None:
    with pytest.raises(ValueError, match="at least one server"):
        Topology([])


async def test_one_server_costs_the_hot_path_nothing() -> None:
    pipeline = Pipeline("unix:///nowhere", timeout=1, queue=1)
    topology = Topology([pipeline])
    assert topology.post == pipeline.post
    assert topology.pipeline("any") is pipeline


async def test_commands_go_to_the_server_of_their_key(servers: list[StoreServer], topology: Topology) -> None:
    ids = ids_by_server()
    for identifier in ids:
        key = token_key(identifier)
        assert topology.pipeline(key) is topology.pipeline(identifier)
        by_tag, by_key = Command(), Command()
        topology.post(by_tag, pack((b"HSET", key, b"manifest", b"d")), identifier)
        topology.post(by_key, pack((b"HGET", key, b"manifest")), key)
        assert [await by_tag.as_future(), await by_key.as_future()] == [1, b"d"]
        assert await topology.run(CLAIM, key, 0, 1, 1).as_future() == 1
    assert [keys_of(server) for server in servers] == [{token_key(identifier)} for identifier in ids]


async def test_a_server_that_is_away_concerns_only_its_own_tokens(
    servers: list[StoreServer], topology: Topology
) -> None:
    claims = Claims(topology)
    first, second = ids_by_server()
    await stepped(claims.check()).as_future()
    servers[1].stop()
    await until(lambda: not topology.is_ready)
    assert topology.is_any_ready
    with pytest.raises(Refused) as refused:
        await stepped(claims.claim(first, 0, 1, 1)).as_future()
    assert refused.value.refusal is TOKEN_INVALID
    with pytest.raises(StoreUnavailable):
        await stepped(claims.claim(second, 0, 1, 1)).as_future()
    with pytest.raises(StoreUnavailable):
        await stepped(claims.check()).as_future()
    claims.settle(second, 0, 1)
    await until(lambda: claims.owed == 1)
    servers[1].start()
    await until(lambda: topology.is_ready and claims.owed == 0)


async def test_the_client_sends_each_command_to_the_server_of_its_key(
    servers: list[StoreServer], repositories: Repositories
) -> None:
    client = repositories.client
    keys = [f"key:{number}" for number in range(20)]
    assert await client.call_all(*(("SET", key, key) for key in keys)) == [True] * 20
    assert await client.call_all(*(("GET", key) for key in keys)) == keys
    for number, server in enumerate(servers):
        assert keys_of(server) == {key for key in keys if server_number(key, 2) == number}
    replies = await client.call_each(*(("LLEN", key) for key in keys))
    assert all(isinstance(reply, StoreUnavailable) for reply in replies)
    for key, reply in zip(keys, replies, strict=True):
        assert str(servers[server_number(key, 2)].socket) in str(reply)
    await client.ping()


async def test_the_repositories_work_on_two_servers(
    servers: list[StoreServer], repositories: Repositories
) -> None:
    await repositories.products.register(MANIFEST)
    minted = await asyncio.gather(*(repositories.tokens.create("p", max_downloads=1) for _ in range(100)))
    ids = {one.record.id for one in minted}
    assert {token_id(one.token) for one in minted} == ids
    found: list[str] = []
    cursor = None
    while True:
        page = await repositories.tokens.list_page(limit=7, cursor=cursor)
        found += [record.id for record in page.tokens]
        if (cursor := page.cursor) is None:
            break
    assert sorted(found) == sorted(ids)
    made = [await repositories.keys.create(f"key {number}") for number in range(8)]
    assert await repositories.keys.list_all() == sorted(
        (one.record for one in made), key=lambda record: (record.created, record.hash)
    )
    assert (await repositories.keys.revoke("key 3")).id == made[3].record.id
    for server in servers:
        assert len([key for key in keys_of(server) if key.startswith("dg:token:")]) > 10


async def test_the_client_fails_where_its_server_is_away(
    servers: list[StoreServer], repositories: Repositories
) -> None:
    first, second = (token_key(identifier) for identifier in ids_by_server())
    servers[1].stop()
    assert await repositories.client.call("GET", first) is None
    with pytest.raises(StoreUnavailable, match=str(servers[1].socket)):
        await repositories.client.call_all(("GET", first), ("GET", second))
    with pytest.raises(StoreUnavailable, match=str(servers[1].socket)):
        await repositories.client.ping()

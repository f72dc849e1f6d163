"""Redis is filled from the database whatever happened to either, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.catalogue import filling, records
from gateway.catalogue.catalogue import Catalogue
from gateway.database.engine import Database
from gateway.database.tables import METADATA
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.store.client import StoreClient
from gateway.tokens.repositories import Repositories
from tests.support.control_plane import manifest
from tests.support.databases import Databases


@pytest.fixture
async def catalogue(database: Database, repos: Repositories) -> Catalogue:
    """Two products and two keys, in the database and in Redis."""
    made = Catalogue(database, repos)
    await made.register(manifest("drums", "1.0"), "Drums", notes="First.", published=5)
    await made.register(manifest("drums", "2.0", 100, 50), trusted=True)
    await made.create("empty")
    await made.create_key("shop", "mint", 3600)
    await made.create_key("admin")
    return made


async def served(store: Repositories) -> dict[str, Any]:
    """Everything that is in Redis."""
    found: dict[str, Any] = {}
    for key in sorted(await store.client.call("KEYS", "*")):
        kind = await store.client.call("TYPE", key)
        command = {"hash": "HGETALL", "string": "GET", "set": "SMEMBERS"}[kind]
        found[key] = (await store.client.call(command, key), await store.client.call("PEXPIRETIME", key))
    return found


async def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    async with database.reading() as connection:
        return {
            table.name: sorted(map(tuple, await connection.execute(table.select())), key=repr)
            for table in METADATA.sorted_tables
        }


async def test_an_emptied_store_is_filled_again(catalogue: Catalogue, repos: Repositories) -> None:
    before = await served(repos)
    await repos.client.call("FLUSHALL")
    assert await catalogue.synchronise()
    assert await served(repos) == before
    assert not await catalogue.synchronise()


@pytest.mark.slow
async def test_a_crash_between_database_and_store_is_healed(
    catalogue: Catalogue, repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change is committed, and then Redis cannot be written to."""
    original = filling.fill

    async def crash(*_: object) -> None:
        raise StoreUnavailable("crashed")

    changes: list[Callable[[], Awaitable[Any]]] = [
        lambda: catalogue.register(manifest("new", "1")),
        lambda: catalogue.update("drums", name="Other"),
        lambda: catalogue.remove("drums", "2.0"),
        lambda: catalogue.remove("empty"),
        lambda: catalogue.create_key("third"),
        lambda: catalogue.revoke_key("shop"),
    ]
    for change in changes:
        before = await served(repos)
        monkeypatch.setattr(filling, "fill", crash)
        with pytest.raises(StoreUnavailable):
            await change()
        assert await served(repos) == before
        monkeypatch.setattr(filling, "fill", original)
        assert await catalogue.synchronise()
        healed = await served(repos)
        assert healed != before
        await repos.client.call("FLUSHALL")
        await catalogue.synchronise()
        assert await served(repos) == healed
    assert [product.id for product in await repos.products.list_all()] == ["drums", "new"]
    assert [key.name for key in await repos.keys.list_all()] == ["admin", "third"]


async def test_a_store_that_is_emptied_while_it_is_filled_is_filled_once_more(
    catalogue: Catalogue, repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await served(repos)
    original = StoreClient.run

    async def flush_and_run(self: StoreClient, script: Any, *rest: Any) -> Any:
        if script is filling.PUT_KEY:
            monkeypatch.setattr(StoreClient, "run", original)
            await self.call("FLUSHALL")
        return await original(self, script, *rest)

    await repos.client.call("FLUSHALL")
    monkeypatch.setattr(StoreClient, "run", flush_and_run)
    with pytest.raises(StoreUnavailable, match="emptied while"):
        await catalogue.synchronise()
    assert await catalogue.synchronise()
    assert await served(repos) == before


async def test_a_store_that_was_restored_from_before_gets_what_it_lacks(
    catalogue: Catalogue, repos: Repositories
) -> None:
    keys = ("dg:catalogue", "dg:product:{drums}")
    yesterday = {key: await repos.client.call("HGETALL", key) for key in keys}
    await catalogue.update("drums", name="Today")
    await catalogue.remove("empty")
    now = await served(repos)
    for key, fields in yesterday.items():
        await repos.client.call("HSET", key, *(word for pair in fields.items() for word in pair))
    await repos.products.create("empty")
    assert await catalogue.synchronise()
    assert await served(repos) == now


async def test_what_an_installation_without_a_database_has_is_recorded(
    database: Database, repos: Repositories
) -> None:
    await repos.products.register(manifest("drums", "1.0"), "Drums", trusted=True)
    await repos.products.create("empty")
    await repos.products.update("empty", status="archived")
    key = await repos.keys.create("shop", "mint", 3600)
    before = await served(repos)
    catalogue = Catalogue(database, repos)
    assert await catalogue.synchronise()
    after = await served(repos)
    del after["dg:catalogue"]
    assert after == before
    await repos.client.call("FLUSHALL")
    await catalogue.synchronise()
    assert (await repos.keys.authenticate(key.key)) == key.record
    record = await catalogue.read("drums")
    assert record is not None
    version = record.versions["1.0"]
    assert (version.published, version.trusted, version.notes) == (record.created, True, None)


async def test_a_product_that_only_redis_has_is_recorded_when_it_is_changed(
    catalogue: Catalogue, repos: Repositories
) -> None:
    """An older version of the program may have added it meanwhile."""
    await repos.products.register(manifest("late", "1.0"))
    product = await catalogue.update("late", name="Late")
    assert (product.name, product.active) == ("Late", "1.0")
    await repos.client.call("FLUSHALL")
    await catalogue.synchronise()
    assert await repos.products.get("late") == product.product


async def test_a_database_restored_from_yesterday_takes_over_what_the_store_has(
    catalogue: Catalogue, repos: Repositories
) -> None:
    yesterday = await rows(catalogue.database)
    await catalogue.register(manifest("today", "1"))
    await catalogue.update("drums", name="Today")
    await catalogue.remove("empty")
    await catalogue.revoke_key("shop")
    today = await served(repos)
    async with catalogue.database.writing() as connection:
        for table in reversed(METADATA.sorted_tables):
            await connection.execute(table.delete())
        for table in METADATA.sorted_tables:
            for row in yesterday[table.name]:
                await connection.execute(table.insert().values(row))
    assert await catalogue.synchronise()
    assert {**await served(repos), "dg:catalogue": 0} == {**today, "dg:catalogue": 0}
    await repos.client.call("FLUSHALL")
    await catalogue.synchronise()
    assert {**await served(repos), "dg:catalogue": 0} == {**today, "dg:catalogue": 0}
    record = await catalogue.read("drums")
    assert record is not None
    version = record.versions["1.0"]
    assert (record.name, version.notes, version.published) == ("Today", "First.", 5)


async def test_two_databases_are_never_mixed(
    catalogue: Catalogue, repos: Repositories, databases: Databases
) -> None:
    location = await databases.make()
    async with Database.of(location) as other:
        second = Catalogue(other, repos)
        await repos.client.call("HSET", "dg:catalogue", "database", "x", "revision", "3")
        await second.register(manifest("other", "1"))  # it has no catalogue yet: it takes the store's
        assert [each.id for each in await second.list_all()] == ["drums", "empty", "other"]
        with pytest.raises(DatabaseError, match="was filled from another database") as raised:
            await catalogue.update("drums", name="Mine")
        assert raised.value.kind == "foreign"
    await databases.remove(location)


async def test_several_processes_fill_once(catalogue: Catalogue, repos: Repositories) -> None:
    before = await served(repos)
    await repos.client.call("FLUSHALL")
    async with Database.of(catalogue.database.location) as second:
        others = [Catalogue(catalogue.database, repos), Catalogue(second, repos)]
        await asyncio.gather(*(each.synchronise() for each in others * 3))
    assert await served(repos) == before


@pytest.mark.slow
async def test_changes_of_several_processes_are_all_kept(database: Database, repos: Repositories) -> None:
    async with Database.of(database.location) as second:
        both = [Catalogue(database, repos), Catalogue(second, repos)]
        await asyncio.gather(*(both[n % 2].register(manifest("drums", f"{n}")) for n in range(8)))
        await asyncio.gather(*(both[n % 2].create(f"p{n}") for n in range(6)))
    product = await repos.products.get("drums")
    assert product is not None
    assert sorted(product.versions) == [f"{n}" for n in range(8)]
    assert len(await repos.products.list_all()) == 7
    async with database.reading() as connection:
        head = await records.read_head(connection)
    assert head is not None
    assert head.revision == 14

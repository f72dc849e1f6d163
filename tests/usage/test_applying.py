"""Events from the store into the database: once each, whatever dies, is away, or cannot be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.migrating import migrate
from gateway.database.usage_tables import DOWNLOAD, TOKEN
from gateway.store.key_names import EVENT_STREAMS, events_key, token_key
from gateway.store.scripts import ADD_EVENTS
from gateway.tokens.repositories import Repositories
from gateway.usage import applying
from gateway.usage.applying import EventReader
from gateway.usage.repository import apply_events
from tests.support.databases import Databases
from tests.support.store_server import StoreServer
from tests.support.usage import TOKEN as SOMEBODY
from tests.support.usage import batch, event


async def put(repos: Repositories, data: bytes, stream: int = 0) -> None:
    assert await repos.client.run(ADD_EVENTS, [events_key(stream)], 2**20, data) == 1


async def work(reader: EventReader) -> None:
    while await reader.apply_some():
        pass


async def applied(database: Database) -> tuple[int, int]:
    """Requests and bytes of all downloads."""
    async with database.reading() as sql:
        row = (await sql.execute(select(func.sum(DOWNLOAD.c.times), func.sum(DOWNLOAD.c.bytes)))).one()
    return int(row[0] or 0), int(row[1] or 0)


async def waiting(repos: Repositories) -> list[Any]:
    """What is left in the store: entries and counted bytes of each stream."""
    found = []
    for number in range(EVENT_STREAMS):
        key = events_key(number)
        found.append(
            (await repos.client.call("XLEN", key), int(await repos.client.call("GET", f"{key}:bytes") or 0))
        )
    return found  # fmt: skip


async def test_events_of_all_streams_are_applied_once_and_removed(
    database: Database, repos: Repositories
) -> None:
    for number in range(12):
        await put(repos, batch([event(number)]), number)
        await put(repos, batch([event(number)]), number + 1)
    await work(EventReader(database, repos.client))
    assert await applied(database) == (12, 12_000)
    assert await waiting(repos) == [(0, 0)] * EVENT_STREAMS


async def test_what_a_process_that_died_was_given_is_given_to_another(
    database: Database, repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it died before the commit or after it."""
    await put(repos, batch([event(0)]))
    dead = EventReader(database, repos.client)
    await dead._take()
    after = EventReader(database, repos.client)
    await put(repos, batch([event(1)]))
    await after._take()
    await after._apply(after._held)
    other = EventReader(database, repos.client)
    await work(other)
    assert await applied(database) == (1, 1000)
    monkeypatch.setattr(applying, "IDLE_MS", 0)
    await work(other)
    assert await applied(database) == (2, 2000)
    assert await waiting(repos) == [(0, 0)] * EVENT_STREAMS


async def test_what_cannot_be_read_is_set_aside_and_the_rest_applied(
    database: Database, repos: Repositories, caplog: pytest.LogCaptureFixture
) -> None:
    await put(repos, b"no batch")
    await put(repos, batch([event(0)]))
    reader = EventReader(database, repos.client)
    await work(reader)
    assert await applied(database) == (1, 1000)
    assert reader.set_aside == 1
    assert "was set aside" in caplog.text
    assert await repos.client.call("XLEN", f"{events_key(0)}:aside") == 1
    assert await waiting(repos) == [(0, 0)] * EVENT_STREAMS


async def test_a_batch_with_which_processes_die_again_and_again_is_set_aside(
    database: Database, repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "IDLE_MS", 0)
    await put(repos, batch([event(0)]))
    for _ in range(applying.MOST_TIMES):
        await EventReader(database, repos.client)._take()
    reader = EventReader(database, repos.client)
    await work(reader)
    assert reader.set_aside == 1
    assert await applied(database) == (0, 0)


async def test_while_the_database_is_away_nothing_more_is_taken(
    database: Database, repos: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCHES_AT_ONCE", 1)
    for number in range(3):
        await put(repos, batch([event(number)]))
    reader = EventReader(database, repos.client)
    real = apply_events

    async def fail(*_: Any) -> int:
        raise DatabaseError("unreachable", "away")

    monkeypatch.setattr(applying, "apply_events", fail)
    for _ in range(20):
        with pytest.raises(DatabaseError):
            await reader.apply_some()
    assert (await waiting(repos))[0][0] == 3
    monkeypatch.setattr(applying, "apply_events", real)
    await work(reader)
    assert await applied(database) == (3, 3000)
    assert reader.set_aside == 0


async def test_a_store_that_was_emptied_begins_anew(database: Database, repos: Repositories) -> None:
    reader = EventReader(database, repos.client)
    await put(repos, batch([event(0)]))
    await work(reader)
    await repos.client.call("FLUSHALL")
    await put(repos, batch([event(1)]))
    await work(reader)
    assert await applied(database) == (2, 2000)


async def test_tokens_are_recorded_with_whom_they_are_for(
    database: Database, repos: Repositories, store: StoreServer
) -> None:
    """Also those that Redis has forgotten."""
    fields: dict[str, str | int] = {
        "product": "drums",
        "version": "2",
        "created": 5,
        "expires": 9,
        "email": "Ann@Example.org",
        "max": 3,
    }
    pairs = [part for pair in fields.items() for part in pair]
    await repos.client.call("HSET", token_key(SOMEBODY), *pairs)
    await put(repos, batch([event(0), event(1, token="f" * 32)]))
    await work(EventReader(database, repos.client))
    async with database.reading() as sql:
        rows = {row.id: row for row in await sql.execute(select(TOKEN))}
    known, forgotten = rows[SOMEBODY], rows["f" * 32]
    assert (known.product, known.version, known.created, known.expires) == ("drums", "2", 5, 9)
    assert (known.email, known.max_downloads, known.test) == ("Ann@Example.org", 3, False)
    assert known.customer.startswith("m:")
    assert (forgotten.product, forgotten.version) == ("drums", "1.0.0")


async def test_several_processes_share_the_work(database: Database, repos: Repositories) -> None:
    for number in range(40):
        await put(repos, batch([event(number)]), number)
    readers = [EventReader(database, repos.client) for _ in range(3)]
    await asyncio.gather(*map(work, readers))
    await asyncio.gather(*map(work, readers))
    assert await applied(database) == (40, 40_000)


async def test_usage_waits_until_there_are_tables(databases: Databases, repos: Repositories) -> None:
    """The database was away when the process was to make them: nothing is set aside."""
    location = await databases.make(empty=True)
    await put(repos, batch([event(0)]))
    async with Database.of(location) as empty:
        reader = EventReader(empty, repos.client)
        for _ in range(2):
            with pytest.raises(DatabaseError) as raised:
                await reader.apply_some()
            assert raised.value.kind == "outdated"
        assert reader.set_aside == 0
        await migrate(empty)
        await work(reader)
        assert await applied(empty) == (1, 1000)
    await databases.remove(location)

"""Events in the tables: any order, repetition and cuts make one end state, on both engines."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.database.engine import Database
from gateway.database.usage_tables import (
    DOWNLOAD,
    SERIES,
    TOKEN_SERIES,
    USAGE_CUSTOMER,
    USAGE_DAY,
    USAGE_FILE,
    USAGE_POSITION,
)
from gateway.usage.events import Event
from gateway.usage.known_tokens import KnownToken
from gateway.usage.repository import apply_events
from tests.support.usage import FILE, NOON, event

TABLES = (DOWNLOAD, SERIES, TOKEN_SERIES, USAGE_CUSTOMER, USAGE_DAY, USAGE_FILE)
TOKENS = {
    "a" * 32: KnownToken("entitlement-1", "customer-1", test=False),
    "b" * 32: KnownToken("entitlement-1", "customer-1", test=False),
    "c" * 32: KnownToken(None, None, test=False),
    "d" * 32: KnownToken(None, "customer-2", test=True),
}
OTHER = FILE._replace(name="other.zip", size=500, sha256="b" * 64)


def some_events(order: random.Random) -> list[Event]:
    """Events of two workers, on three days, of all tokens and two files."""
    found = []
    numbers = {"1" * 16: 0, "2" * 16: 0}
    for _ in range(40):
        worker = order.choice(list(numbers))
        file = order.choice([FILE, OTHER])
        first = order.choice([0, 0, 0, 100, 250, 400])
        started = NOON + order.randrange(3 * 86_400) * 1_000_000
        found.append(
            event(
                numbers[worker],
                worker=worker,
                token=order.choice(list(TOKENS)),
                file=file,
                spans=((first, order.choice([450, file.size, file.size])),),
                started=started,
                ended=started + order.randrange(1, 40_000) * 1_000_000,
                agent=order.choice(["curl/8", "Mozilla/5.0", "Googlebot/2.1"]),
            )
        )
        numbers[worker] += 1
    return found


async def state(database: Database) -> dict[str, list[Any]]:
    async with database.reading() as sql:
        return {
            table.name: sorted((tuple(map(str, row)) for row in await sql.execute(select(table))), key=str)
            for table in TABLES
        }


async def clear(database: Database) -> None:
    async with database.writing() as sql:
        for table in (*TABLES, USAGE_POSITION):
            await sql.execute(table.delete())


@pytest.mark.parametrize("seed", range(6))
async def test_one_end_state(database: Database, seed: int) -> None:
    order = random.Random(seed)
    events = some_events(order)
    async with database.writing() as sql:
        assert await apply_events(sql, events, TOKENS) == len(events)
    expected = await state(database)
    assert len(expected["download"]) > 3
    await clear(database)
    left = events + order.sample(events, 15)
    order.shuffle(left)
    applied = 0
    while left:
        number = order.randint(1, 8)
        some, left = left[:number], left[number:]
        async with database.writing() as sql:
            applied += await apply_events(sql, some, TOKENS)
    assert applied == len(events)
    found = await state(database)
    for name in expected:
        assert found[name] == expected[name], name


async def test_a_download_goes_on_under_another_token_of_the_same_entitlement(database: Database) -> None:
    parts = [
        event(0, token="a" * 32, spans=((0, 600),)),
        event(1, token="b" * 32, spans=((600, 1000),)),
    ]
    for each in parts:
        async with database.writing() as sql:
            await apply_events(sql, [each], TOKENS)
    async with database.reading() as sql:
        [row] = list(await sql.execute(select(DOWNLOAD)))
        days = list(await sql.execute(select(USAGE_DAY)))
        tokens = set((await sql.execute(select(TOKEN_SERIES.c.token_id))).scalars())
    assert (row.times, row.bytes, row.covered, row.customer) == (2, 1000, 1000, "customer-1")
    assert row.completed == (NOON + 1_500_000) // 1000
    assert [(day.started, day.completed, day.bytes, day.outcome) for day in days] == [
        (1, 1, 1000, "completed")
    ]
    assert tokens == {"a" * 32, "b" * 32}


async def test_tests_are_kept_and_not_counted(database: Database) -> None:
    async with database.writing() as sql:
        await apply_events(sql, [event(0, token="d" * 32)], TOKENS)
    async with database.reading() as sql:
        assert await sql.scalar(select(DOWNLOAD.c.test)) is True
        assert await sql.scalar(select(func.count()).select_from(USAGE_DAY)) == 0
        assert await sql.scalar(select(func.count()).select_from(USAGE_CUSTOMER)) == 0

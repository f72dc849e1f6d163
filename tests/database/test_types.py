"""Moments, JSON and identifiers are the same on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from gateway.config.units import LAST_MOMENT
from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.tables import API_KEY, CONNECTION, STATE
from gateway.database.types import new_id, now

VALUES: list[Any] = [
    None,
    True,
    0,
    -1.5,
    2**53,
    "",
    "ß€𝄞",
    "\x00 and \ud800",
    [],
    {"b": [1, {"c": None}], "a": "'"},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_json_comes_back_as_it_was(database: Database, value: Any) -> None:
    async with database.writing() as connection:
        await connection.execute(STATE.insert().values(name="it", value=value))
    async with database.reading() as connection:
        assert await connection.scalar(select(STATE.c.value)) == value


async def test_no_json_is_null_where_a_column_may_be_empty(database: Database) -> None:
    row = {
        "id": "1",
        "kind": "stripe",
        "name": "shop",
        "live": True,
        "secrets": b"",
        "options": {},
        "created": 1,
    }
    async with database.writing() as connection:
        await connection.execute(CONNECTION.insert().values(row))
        query = select(CONNECTION.c.id).where(CONNECTION.c.cursor.is_(None))
        assert await connection.scalar(query) == "1"


@pytest.mark.parametrize("moment", [0, 1, 1_764_327_600_123, LAST_MOMENT])
async def test_moments_come_back_to_the_millisecond(database: Database, moment: int) -> None:
    async with database.writing() as connection:
        row = {"hash": "h", "name": "n", "role": "mint", "created": moment, "revision": 1}
        await connection.execute(API_KEY.insert().values(row))
        assert (await connection.execute(select(API_KEY.c.created, API_KEY.c.expires))).one() == (
            moment,
            None,
        )


@pytest.mark.parametrize("moment", [-1, LAST_MOMENT + 1, 1.5, True, "2026", datetime(2026, 1, 1, tzinfo=UTC)])
async def test_what_is_no_moment_is_refused(database: Database, moment: Any) -> None:
    row = {"hash": "h", "name": "n", "role": "mint", "created": moment, "revision": 1}
    with pytest.raises(DatabaseError, match="a moment is a whole number of milliseconds"):
        async with database.writing() as connection:
            await connection.execute(API_KEY.insert().values(row))


def test_identifiers_sort_by_time_and_differ() -> None:
    earlier = now()
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {len(each) for each in made} == {26}
    assert set("".join(made)) <= set("0123456789abcdefghjkmnpqrstvwxyz")
    starts = [each[:10] for each in made]
    assert starts == sorted(starts)
    first = sum("0123456789abcdefghjkmnpqrstvwxyz".index(c) << 5 * (9 - i) for i, c in enumerate(starts[0]))
    assert earlier <= first <= now()

"""The PostgreSQL of the tests: what a crash of it leaves."""

from __future__ import annotations

import asyncpg

from tests.support.postgres import PostgresServer


async def test_what_was_committed_outlives_a_crash(own_postgres: PostgresServer) -> None:
    await own_postgres.execute("CREATE TABLE kept (number integer)")
    for number in range(3):
        await own_postgres.execute(f"INSERT INTO kept VALUES ({number})")
        own_postgres.stop()  # half a second earlier than a lazy commit is written
        own_postgres.start()
    connection = await asyncpg.connect(own_postgres.url())
    rows = await connection.fetch("SELECT number FROM kept ORDER BY number")
    await connection.close()
    assert [row["number"] for row in rows] == [0, 1, 2]

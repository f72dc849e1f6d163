"""Tokens that the store has forgotten are found in the database, in pages and by indexes."""

from __future__ import annotations

from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.usage_tables import TOKEN
from gateway.usage.token_search import TokenSearch, expired_tokens
from tests.support.plans import noted_statements, whole_tables


async def fill(database: Database) -> None:
    rows = [
        {
            "id": f"{number:032x}",
            "product": "drums" if number % 2 else "bass",
            "email": "ann@example.com" if number == 3 else None,
            "created": 0,
            "expires": 100 + number // 2,
        }
        for number in range(8)
    ]
    async with database.writing() as sql:
        await sql.execute(insert(sql, TOKEN), rows)


async def test_expired_tokens_come_in_pages_the_latest_first(database: Database) -> None:
    await fill(database)

    async def page(limit: int = 10, after: tuple[int, str] | None = None, **only: str) -> list[int]:
        async with database.reading() as sql:
            rows = await expired_tokens(sql, TokenSearch(102, **only), after, limit)
            return [int(row.id, 16) for row in rows]

    assert await page() == [5, 4, 3, 2, 1, 0]  # 6 and 7 still live
    assert await page(2) == [5, 4]
    assert await page(2, (102, f"{4:032x}")) == [3, 2]
    assert await page(product="drums") == [5, 3, 1]
    assert await page(email="ann@example.com") == [3]
    assert await page(email="ann@example.com", product="bass") == []


async def test_expired_tokens_are_found_by_indexes(database: Database) -> None:
    await fill(database)
    with noted_statements(database) as statements:
        async with database.reading() as sql:
            for only in (
                TokenSearch(102),
                TokenSearch(102, "drums"),
                TokenSearch(102, None, "ann@example.com"),
            ):
                await expired_tokens(sql, only, (102, "f" * 32), 10)
    assert await whole_tables(database, statements) == []

"""What somebody received: a token's bytes of each file, and the downloads of a customer, on both engines."""

from __future__ import annotations

from typing import Any

from gateway.database.engine import Database
from gateway.database.statements import insert
from gateway.database.usage_tables import TOKEN
from gateway.usage.known_tokens import KnownToken
from gateway.usage.received import covered_files, downloads_of, tokens_of_address
from gateway.usage.repository import apply_events
from tests.support.plans import noted_statements, whole_tables
from tests.support.usage import FILE, NOON, event

A, B, C = "a" * 32, "b" * 32, "c" * 32
TOKENS = {
    A: KnownToken("entitlement-1", "customer-1", test=False),
    B: KnownToken("entitlement-1", "customer-1", test=False),
    C: KnownToken(None, None, test=True),
}
OTHER = FILE._replace(name="other.zip", size=500, sha256="b" * 64)
HOUR = 3600 * 1_000_000


async def tell(database: Database) -> None:
    events = [
        event(0, token=A, spans=((0, 300),), started=NOON, ended=NOON + 1),
        event(1, token=A, spans=((200, 400), (600, 700)), started=NOON + 10, ended=NOON + 11),
        event(2, token=B, spans=((400, 1000),), started=NOON + HOUR, ended=NOON + HOUR + 1),
        event(3, token=A, file=OTHER, spans=((0, 500),), started=NOON + 2 * HOUR, ended=NOON + 2 * HOUR + 1),
        event(4, token=C, spans=((0, 1000),), started=NOON + 3 * HOUR, ended=NOON + 3 * HOUR + 1),
    ]
    async with database.writing() as sql:
        await apply_events(sql, events, TOKENS)


async def test_a_token_has_its_own_bytes_of_a_download_that_others_share(database: Database) -> None:
    await tell(database)
    async with database.reading() as sql:
        assert await covered_files(sql, A) == [
            ("drums.zip", 1000, ((0, 400), (600, 700))),
            ("other.zip", 500, ((0, 500),)),
        ]
        assert await covered_files(sql, B) == [("drums.zip", 1000, ((400, 1000),))]
        assert await covered_files(sql, C) == [("drums.zip", 1000, ((0, 1000),))]
        assert await covered_files(sql, "d" * 32) == []


async def test_the_downloads_of_holders_come_the_latest_first(database: Database) -> None:
    await tell(database)
    async with database.reading() as sql:
        rows = await downloads_of(sql, ["entitlement-1", C], 10)
        assert [(row.name, row.holder, row.covered, row.test) for row in rows] == [
            ("drums.zip", C, 1000, True),
            ("other.zip", "entitlement-1", 500, False),
            ("drums.zip", "entitlement-1", 1000, False),
        ]
        assert len(await downloads_of(sql, ["entitlement-1", C], 1)) == 1
        assert await downloads_of(sql, [], 10) == []
        assert await downloads_of(sql, ["nobody"], 10) == []


async def test_tokens_without_an_entitlement_are_found_by_their_address(database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"id": A, "email": "ann@example.com", "entitlement_id": None, "created": 1, "expires": 9},
        {"id": B, "email": "ann@example.com", "entitlement_id": "entitlement-1", "created": 2, "expires": 9},
        {"id": C, "email": "Ann@example.com", "entitlement_id": None, "created": 3, "expires": 9},
    ]
    async with database.writing() as sql:
        await sql.execute(insert(sql, TOKEN), rows)
    async with database.reading() as sql:
        assert await tokens_of_address(sql, ["ann@example.com", "Ann@example.com"]) == [C, A]
        assert await tokens_of_address(sql, []) == []


async def test_all_is_found_by_indexes(database: Database) -> None:
    await tell(database)
    with noted_statements(database) as statements:
        async with database.reading() as sql:
            await covered_files(sql, A)
            await downloads_of(sql, ["entitlement-1", C], 10)
            await tokens_of_address(sql, ["ann@example.com"])
    assert await whole_tables(database, statements) == []

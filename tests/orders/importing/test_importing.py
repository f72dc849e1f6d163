"""Orders of a file in the database, on both engines."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from gateway.database.engine import Database
from gateway.database.tables import (
    CONNECTION,
    CUSTOMER,
    ENTITLEMENT,
    FACT,
    LINE_ITEM,
    MAPPING,
    METADATA,
    ORDER,
    ORDER_LINE,
)
from gateway.errors import Declined
from gateway.orders.applying import put_snapshot
from gateway.orders.customer_store import find_customer
from gateway.orders.importing import importing
from gateway.orders.importing.importing import check_source, read_products, read_secret, write_all
from gateway.orders.importing.reading import groups, read_file
from gateway.orders.importing.spool import Spool
from gateway.orders.importing.writer import Written
from gateway.orders.order_writer import Source
from gateway.orders.privacy import erase_customer
from gateway.orders.traces import Traces
from gateway.web.api.customer_work import move_to
from tests.support.orders import entitlements, orders
from tests.support.past_customers import import_text, terms

FILE = '''
email,name,productId,sku,quantity,orderId,number,placedAt,country,status,refunded,version,until,title
jo@example.com,Jo,drums,,3,1,#1,2024-05-01,DE,,1,,,Drums
jo@example.com,,bass,,,1,,,,,,,2025-12-31,
ann@EXAMPLE.com,"=Ann, ""the""",,DR-1,,2,,,,,,,,
ann@example.com,,drums,,,3,,,,refunded,,,,
ann@example.com,,drums,,,4,,,,cancelled,,1.0,,
ann@example.com,,,UNKNOWN,2,5,,,,disputed,,,,
bob@example.com,,drums,,,,,,,,,,,
'''


async def rows_of(database: Database) -> dict[str, list[Any]]:
    """Everything that orders have left, without the ids and moments that differ each time."""
    drop = {"id", "created", "updated", "received", "as_of"}
    drop |= {"customer_id", "recipient_id", "order_id", "line_id"}
    found: dict[str, list[Any]] = {}
    async with database.reading() as sql:
        for table in (FACT, ORDER, ORDER_LINE, LINE_ITEM, ENTITLEMENT, CUSTOMER):
            rows = (await sql.execute(select(table))).mappings().all()
            found[table.name] = sorted(
                repr(sorted((name, _plain(value)) for name, value in row.items() if name not in drop))
                for row in rows
            )
    return found


def _plain(value: Any) -> Any:
    return {**value, "as_of": 0, "placed_at": 0} if isinstance(value, dict) and "as_of" in value else value


async def map_sku(database: Database) -> None:
    async with database.writing() as sql:
        await sql.execute(
            CONNECTION.insert().values(
                id="0" * 26, kind="shopify", name="shop", live=True, secrets=b"", options={}, created=1
            )
        )
        products = [{"product_id": "drums", "scope": "all", "version": None, "until": None, "period": None}]
        await sql.execute(
            MAPPING.insert().values(connection_id="0" * 26, key="sku", value="DR-1", products=products)
        )


async def test_many_together_are_written_as_each_by_itself(database: Database) -> None:
    await map_sku(database)
    assert await import_text(database, FILE) == Written(new=6, waiting=1)
    together = await rows_of(database)
    for row in together["order"]:
        assert "'placed'" in row
    async with database.writing() as sql:
        for table in reversed(METADATA.sorted_tables):
            if table.name not in ("connection", "mapping", "alembic_version"):
                await sql.execute(delete(table))
    with Spool() as spool:
        content = read_file(io.BytesIO(FILE.encode()), spool, terms())
        for group in groups(spool, content.header):
            snapshot = group.snapshot
            assert snapshot is not None

            def make(moment: int, told: Any = snapshot) -> Any:
                return replace(told, as_of=moment)

            await put_snapshot(database, Source("import"), make)
    alone = await rows_of(database)
    for name, rows in together.items():
        assert [_without_moment(each) for each in rows] == [_without_moment(each) for each in alone[name]], (
            name
        )


def _without_moment(text: str) -> str:
    return re.sub(r"\('(placed|ready)', \d+\)", "", text)


async def test_what_customers_have_afterwards(database: Database) -> None:
    await map_sku(database)
    await import_text(database, FILE)
    assert [row[1:] for row in await orders(database, "import")][:5] == [
        ("paid", "jo@example.com", "Jo"),
        ("paid", "ann@example.com", '=Ann, "the"'),
        ("refunded", "ann@example.com", '=Ann, "the"'),
        ("cancelled", "ann@example.com", '=Ann, "the"'),
        ("disputed", "ann@example.com", '=Ann, "the"'),
    ]
    found = sorted(await entitlements(database, "import"))
    assert ("drums", "active", [], 2) in found, "one of three was given back"
    assert ("drums", "revoked", ["order_refunded"], 0) in found
    assert sum(status == "active" for _, status, _, _ in found) == 4


async def test_importing_again_changes_nothing_and_a_corrected_file_converges(database: Database) -> None:
    await import_text(database, FILE)
    before = await rows_of(database)
    assert await import_text(database, FILE) == Written(same=6)
    assert await rows_of(database) == before
    corrected = FILE.replace("jo@example.com", "jo@example.org")
    assert await import_text(database, corrected) == Written(changed=1, same=5)
    assert (await orders(database, "import"))[0][2] == "jo@example.org"
    without = "\n".join(line for line in corrected.splitlines() if ",bass," not in line)
    assert await import_text(database, without) == Written(changed=1, same=5)
    assert ("bass", "revoked", ["line_removed"], 0) in await entitlements(database, "import")
    assert await import_text(database, FILE) == Written(changed=1, same=5)
    now = await entitlements(database, "import")
    assert ("bass", "active", [], 1) in now


async def test_an_import_that_is_broken_off_is_continued(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 2)
    written = 0

    class Killed(Exception):
        pass

    def progress(count: int) -> None:
        nonlocal written
        written += count
        if written == 4:
            raise Killed

    with pytest.raises(Killed):
        await import_text(database, FILE, progress)
    assert len(await orders(database)) == 4
    assert await import_text(database, FILE) == Written(new=2, same=4, waiting=1)
    assert len(await orders(database)) == 6


async def test_two_imports_of_one_file_at_once_are_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 1)
    first, second = await asyncio.gather(import_text(database, FILE), import_text(database, FILE))
    assert (first.new + second.new, first.changed + second.changed) == (6, 0)
    assert len(await orders(database)) == 6


async def test_nobody_who_was_erased_comes_back(database: Database) -> None:
    await import_text(database, FILE)
    async with database.writing() as sql:
        for email in ("ann@example.com", "bob@example.com"):
            identifier = await find_customer(sql, email)
            assert identifier is not None
            await erase_customer(sql, identifier, 1, Traces([email]))
    assert await import_text(database, FILE) == Written(same=6)
    changed = FILE.replace("bob@example.com,,drums,,", "bob@example.com,,drums,,7")
    assert await import_text(database, changed) == Written(changed=1, same=5)
    async with database.reading() as sql:
        assert await find_customer(sql, "ann@example.com") is None
        assert await find_customer(sql, "bob@example.com") is None
        bodies = [repr(body) for (body,) in await sql.execute(select(FACT.c.body))]
    assert not any("bob@" in body or "nn@" in body.lower() for body in bodies)


async def test_a_customer_whom_the_seller_has_moved_stays_moved(database: Database) -> None:
    await import_text(database, FILE)
    async with database.reading() as sql:
        identifier = await find_customer(sql, "jo@example.com")
    assert identifier is not None
    await move_to(database, identifier, "new@example.com")
    assert (await import_text(database, FILE)).same == 6
    assert (await orders(database, "import"))[0][2] == "new@example.com"


@pytest.mark.slow
async def test_many_orders_of_one_customer_and_many_lines(database: Database) -> None:
    rows = [f"jo@example.com,drums,{number},{number % 7 + 1}" for number in range(450)]
    wide = [f"ann@example.com,drums,wide,{number + 1}" for number in range(999)]
    text = "\n".join(["email,productId,orderId,quantity", *rows, *wide]) + "\n"
    assert await import_text(database, text) == Written(new=451)
    async with database.reading() as sql:
        assert len((await sql.execute(select(CUSTOMER.c.id))).all()) == 2
        assert len((await sql.execute(select(ENTITLEMENT.c.id))).all()) == 450 + 999


async def test_what_an_import_needs_to_know(database: Database) -> None:
    await map_sku(database)
    assert await read_products(database) == {}
    secret = await read_secret(database)
    assert (len(secret), await read_secret(database)) == (32, secret)
    with pytest.raises(Declined, match="is a connection"):
        await check_source(database, "0" * 26)
    await check_source(database, "import")
    assert await write_all(database, "import", []) == Written()

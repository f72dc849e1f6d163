"""What was paid for and never downloaded, exactly, on both engines; and that it is found by indexes."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from sqlalchemy import update

from gateway.database.engine import Database
from gateway.database.tables import CUSTOMER, CUSTOMER_EMAIL, ENTITLEMENT, ORDER, ORDER_LINE
from gateway.usage import never_downloaded
from gateway.usage.known_tokens import KnownToken
from gateway.usage.never_downloaded import (
    Missing,
    NeverFilter,
    list_never_downloaded,
    search_never_downloaded,
)
from gateway.usage.repository import apply_events
from tests.support.plans import noted_statements, whole_tables
from tests.support.usage import FILE, event

PLACED = 1_000_000
LATER = PLACED + 1
NUMBERS = count()


async def add(database: Database, name: str, *, order: bool = True, **values: Any) -> None:
    """A customer with an entitlement, both of this name."""
    async with database.writing() as sql:
        await sql.execute(CUSTOMER.insert().values(id=f"c-{name}", name=name, created=1))
        await sql.execute(
            CUSTOMER_EMAIL.insert().values(
                email=f"{name}@example.com", customer_id=f"c-{name}", written="x", main=True, created=1
            )
        )
        line = None
        if order:
            line = f"l-{name}"
            row = {"id": f"o-{name}", "source": "shop", "external_id": name, "customer_id": f"c-{name}"}
            times = {"placed": values.pop("placed", PLACED), "created": 1, "updated": 1}
            await sql.execute(
                ORDER.insert().values(**row, status="paid", number=f"#{name}", details={}, **times)
            )
            await sql.execute(
                ORDER_LINE.insert().values(
                    id=line, order_id=f"o-{name}", external_id="1", position=0, quantity=1
                )
            )
        status = values.pop("status", "active")
        await sql.execute(
            ENTITLEMENT.insert().values(
                id=f"e-{name}", line_id=line, scope="all",
                bought=1, base=[], quantity=1, status=status, reasons=[], enforced=status,
                **{"created": PLACED, "updated": 1, "product_id": "drums",
                   "customer_id": f"c-{name}", **values},
            )
        )  # fmt: skip


async def receive(database: Database, name: str, stop: int = 1000, **values: Any) -> None:
    """A download under a token of the entitlement of this name, or of what `values` say."""
    number = next(NUMBERS)
    known = values.pop("known", KnownToken(f"e-{name}", f"c-{name}", test=False))
    sent = event(number, token=f"{number:032x}", spans=((0, stop),), **values)
    async with database.writing() as sql:
        await apply_events(sql, [sent], {sent.token: known})


async def found(database: Database, missing: Missing = "started", **values: Any) -> list[str]:
    only = NeverFilter(LATER, missing)._replace(**values)
    async with database.reading() as sql:
        return [row.id.removeprefix("e-") for row in await list_never_downloaded(sql, only, 100)]


@pytest.mark.parametrize(
    ("values", "listed"),
    [
        ({}, True),
        ({"order": False}, True),
        ({"placed": LATER}, True),
        ({"placed": LATER + 1}, False),
        ({"order": False, "created": LATER + 1}, False),
        ({"created": LATER + 1}, True),  # imported today, bought long ago
        ({"status": "suspended"}, False),
        ({"status": "revoked"}, False),
        ({"test": True}, False),
    ],
)
async def test_which_entitlements_are_looked_at(
    database: Database, values: dict[str, Any], listed: bool
) -> None:
    await add(database, "ann", **values)
    assert await found(database) == (["ann"] if listed else [])


async def test_what_was_downloaded_is_not_listed(database: Database) -> None:
    for name in ("nothing", "begun", "whole", "direct", "other", "test", "twice"):
        await add(database, name)
    await receive(database, "begun", 400)
    await receive(database, "whole")
    await receive(database, "direct", known=KnownToken(None, "c-direct", test=False))
    await receive(
        database, "other", file=FILE._replace(product="kit"), known=KnownToken(None, "c-other", test=False)
    )
    await receive(database, "test", known=KnownToken("e-test", "c-test", test=True))
    async with database.writing() as sql:  # a second purchase of the same product, which was not downloaded
        await sql.execute(
            update(ENTITLEMENT).where(ENTITLEMENT.c.id == "e-twice").values(customer_id="c-whole")
        )
    assert await found(database) == ["nothing", "other", "test", "twice"]
    assert await found(database, "completed") == ["begun", "nothing", "other", "test", "twice"]
    assert await found(database, product="kit") == []
    async with database.reading() as sql:
        rows = await list_never_downloaded(sql, NeverFilter(LATER, "completed"), 2)
        rest = await list_never_downloaded(sql, NeverFilter(LATER, "completed"), 2, rows[-1].id)
    assert [row.id for row in (*rows, *rest)] == ["e-begun", "e-nothing", "e-other", "e-test"]
    begun = rows[0]
    assert (begun.email, begun.number, begun.placed) == ("begun@example.com", "#begun", PLACED)
    assert (begun.started is not None, rows[1].started) == (True, None)


async def test_it_is_listed_no_more_once_it_was_downloaded(database: Database) -> None:
    await add(database, "ann")
    assert await found(database) == ["ann"]
    await receive(database, "ann", 999)
    assert (await found(database), await found(database, "completed")) == ([], ["ann"])
    await receive(database, "ann", 1000)
    assert await found(database, "completed") == []


@pytest.mark.parametrize(("limit", "looks"), [(100, 1), (2, 1), (1, 3), (100, None)])
async def test_it_is_looked_for_in_windows_and_everything_is_found_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, limit: int, looks: int | None
) -> None:
    monkeypatch.setattr(never_downloaded, "LOOKED_AT", 2)
    for name in "abcdefg":
        await add(database, name)
    for name in "bcd":
        await receive(database, name)
    pages: list[list[str]] = []
    after = None
    while True:
        page = await search_never_downloaded(database, NeverFilter(LATER), limit, after, looks)
        pages.append([row.id.removeprefix("e-") for row in page.rows])
        after = page.after
        if after is None:
            break
    assert [name for rows in pages for name in rows] == ["a", "e", "f", "g"]
    assert max(map(len, pages)) <= limit
    if looks == 1:
        assert [] in pages, "all of a window was downloaded, and there is more behind it"
    if looks is None:
        assert pages == [["a", "e", "f", "g"]]


async def test_the_downloads_of_other_products_by_the_same_customer_change_nothing(
    database: Database,
) -> None:
    for name in ("kit", "drums"):
        await add(database, name, product_id=name)
    direct = KnownToken(None, "c-kit", test=False)
    for version in ("1", "2"):
        await receive(database, "kit", file=FILE._replace(product="kit", version=version), known=direct)
    await receive(database, "kit", known=KnownToken("e-drums", "c-kit", test=False))
    await add(database, "more", customer_id="c-kit")
    assert await found(database) == ["more"], "by a link of another purchase it counts for that one"


@pytest.mark.parametrize("missing", ["started", "completed"])
async def test_downloads_are_found_by_indexes(database: Database, missing: Missing) -> None:
    """Of the tables that grow with each download, none is read row after row."""
    with noted_statements(database) as statements:
        await found(database, missing, product="drums")
    whole = await whole_tables(database, statements)
    assert not [line for line in whole if any(name in line for name in ("download", "series", "usage_file"))]

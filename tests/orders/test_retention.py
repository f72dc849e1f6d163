"""What is older than the settings allow is removed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.tables import AUDIT, CONNECTION, CUSTOMER, CUSTOMER_EMAIL, INBOX
from gateway.database.types import now
from gateway.orders.applying import tell
from gateway.orders.customer_store import keep_customer
from gateway.orders.order_writer import Source
from gateway.orders.retention import AT_ONCE, DAY, Days, Retention
from gateway.tokens.repositories import Repositories
from tests.support.facts import line, snapshot

DAYS = Days(inbox=90, events=30, audit=365, customers=60)


@pytest.fixture
async def retention(database: Database, repos: Repositories) -> Retention:
    values = {"id": "c1", "kind": "stripe", "name": "s", "live": True, "secrets": b"", "options": {}}
    async with database.writing() as sql:
        await sql.execute(CONNECTION.insert().values(created=1, **values))
    return Retention(database, repos.client, DAYS)


def event(name: str, state: str, days: float, due: int | None = None) -> dict[str, Any]:
    values = {"connection_id": "c1", "dedupe_key": name, "type": "t", "headers": [["a", "b"]], "body": b"{}"}
    return {"id": name, "state": state, "received": now() - int(days * DAY), "due": due, **values}


@pytest.mark.parametrize(
    ("state", "days", "due", "left"),
    [
        ("applied", 89, None, b"{}"),
        ("applied", 91, None, b""),
        ("waiting", 91, None, b""),
        ("received", 400, 5, b"{}"),
        ("applied", 400, 5, b"{}"),
        ("ignored", 29, None, b"{}"),
        ("ignored", 31, None, None),
        ("failed", 31, None, None),
        ("failed", 31, 5, b"{}"),
    ],
)
async def test_webhooks_become_shorter_and_go(
    database: Database, retention: Retention, state: str, days: float, due: int | None, left: bytes | None
) -> None:
    async with database.writing() as sql:
        await sql.execute(INBOX.insert().values(**event("e1", state, days, due)))
    await retention.run_once()
    async with database.reading() as sql:
        rows = (await sql.execute(select(INBOX.c.body, INBOX.c.headers, INBOX.c.dedupe_key))).all()
    kept = [] if left is None else [(left, [["a", "b"]] if left else [], "e1")]
    assert [tuple(row) for row in rows] == kept


async def test_a_pass_goes_on_until_nothing_is_too_old(database: Database, retention: Retention) -> None:
    async with database.writing() as sql:
        rows = [event(f"e{number:04}", "ignored", 40) for number in range(2 * AT_ONCE + 1)]
        await sql.execute(INBOX.insert(), rows)
    await retention.run_once()
    async with database.reading() as sql:
        assert (await sql.execute(select(INBOX.c.id))).first() is None


async def test_changes_go_in_the_database_and_in_the_store(
    database: Database, repos: Repositories, retention: Retention
) -> None:
    moment = now()
    async with database.writing() as sql:
        for name, days in (("old", 366), ("new", 364)):
            values = {"id": name, "at": moment - days * DAY, "action": "a", "by": "b", "what": {}}
            await sql.execute(AUDIT.insert().values(**values))
    for days in (366, 364):
        await repos.client.call("XADD", "dg:audit", f"{moment - days * DAY}-0", "action", str(days))
    await retention.run_once()
    async with database.reading() as sql:
        assert [each for (each,) in await sql.execute(select(AUDIT.c.id))] == ["new"]
    assert [each.action for each in await repos.audit.latest(9)] == ["364"]


async def test_customers_who_have_nothing_go(database: Database, retention: Retention) -> None:
    moment = now()
    async with database.writing() as sql:
        for name, days in (("old", 61), ("new", 59)):
            address = f"{name}@example.com"
            await keep_customer(sql, address, address, name, moment - days * DAY)
    await tell(database, Source("zapier"), [snapshot(1, line("7", "product:drums"))])
    async with database.writing() as sql:
        await sql.execute(CUSTOMER.update().where(CUSTOMER.c.name == "Ann").values(created=1))
    await retention.run_once()
    async with database.reading() as sql:
        names = {each for (each,) in await sql.execute(select(CUSTOMER.c.name))}
        addresses = {each for (each,) in await sql.execute(select(CUSTOMER_EMAIL.c.email))}
    assert names == {"new", "Ann"}
    assert addresses == {"new@example.com", "ann@example.com"}

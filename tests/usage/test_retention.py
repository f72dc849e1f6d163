"""Addresses of clients become shorter and go; positions of workers go when nothing can come any more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.types import now
from gateway.database.usage_tables import DOWNLOAD, USAGE_DAY, USAGE_POSITION
from gateway.store.key_names import events_aside_key, events_key
from gateway.tokens.repositories import Repositories
from gateway.usage.known_tokens import KnownToken
from gateway.usage.repository import apply_events, read_download
from gateway.usage.retention import AT_ONCE, DAY, POSITION_DAYS, UsageDays, UsageRetention, cut_address
from tests.support.usage import FILE, TOKEN, event

DAYS = UsageDays(addresses=100, networks=200)
KNOWN = {TOKEN: KnownToken(None, None, test=False)}
AGENT = "curl/8.5.0"


@pytest.fixture
def retention(database: Database, repos: Repositories) -> UsageRetention:
    return UsageRetention(database, repos.client, DAYS)


def days_ago(days: float) -> int:
    """A moment, in microseconds."""
    return int(time.time_ns() // 1000 - days * DAY * 1000)


async def count(database: Database, *moments: float, **values: Any) -> None:
    """Count a download for each moment, in days before now."""
    events = [
        event(number, started=days_ago(days), ended=days_ago(days) + 1, **values)
        for number, days in enumerate(moments)
    ]
    async with database.writing() as sql:
        await apply_events(sql, events, KNOWN)


async def clients(database: Database) -> list[tuple[str, str, int]]:
    async with database.reading() as sql:
        rows = (await sql.execute(select(DOWNLOAD).order_by(DOWNLOAD.c.first))).all()
    found = [(read_download(row).attempts[0], row.privacy) for row in rows]
    return [(attempt.client, attempt.agent, privacy) for attempt, privacy in found]


@pytest.mark.parametrize(
    ("address", "cut"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unix:", ""),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_an_address_is_cut_to_its_network(address: str, cut: str) -> None:
    assert cut_address(address) == cut
    assert cut_address(cut) == cut


@pytest.mark.parametrize(
    ("days", "client", "agent", "privacy"),
    [
        (99, "203.0.113.77", AGENT, 0),
        (101, "203.0.113.0/24", AGENT, 1),
        (199, "203.0.113.0/24", AGENT, 1),
        (201, "", "(curl)", 2),
    ],
)
async def test_addresses_become_shorter_and_go(
    database: Database, retention: UsageRetention, days: float, client: str, agent: str, privacy: int
) -> None:
    await count(database, days, client="203.0.113.77")
    for _ in range(2):
        await retention.run_once()
        assert await clients(database) == [(client, agent, privacy)]


async def test_what_was_cut_goes_later(database: Database, retention: UsageRetention) -> None:
    await count(database, 150, client="2001:db8:1:2::3")
    await retention.run_once()
    assert await clients(database) == [("2001:db8:1::/48", AGENT, 1)]
    async with database.writing() as sql:
        await sql.execute(DOWNLOAD.update().values(last=now() - 201 * DAY))
    await retention.run_once()
    assert await clients(database) == [("", "(curl)", 2)]


async def test_counts_stay_right_when_an_attempt_comes_after_its_download_was_cut(
    database: Database, retention: UsageRetention
) -> None:
    """The class of the program stays, so the days are taken off and put on where they were."""
    begin = days_ago(201)
    first = event(0, spans=((0, 400),), started=begin, ended=begin + 5)
    async with database.writing() as sql:
        await apply_events(sql, [first], KNOWN)
    await retention.run_once()
    late = event(1, spans=((400, 1000),), started=begin + 10, ended=begin + 20, client="192.0.2.9")
    async with database.writing() as sql:
        await apply_events(sql, [late], KNOWN)
    async with database.reading() as sql:
        days = (await sql.execute(select(USAGE_DAY))).all()
    assert [(day.client, day.outcome, day.started, day.completed, day.bytes) for day in days] == [
        ("curl", "completed", 1, 1, 1000)
    ]
    await retention.run_once()
    async with database.reading() as sql:
        [row] = (await sql.execute(select(DOWNLOAD))).all()
    assert (row.privacy, row.covered, "192.0.2.9" in str(row.attempts)) == (2, 1000, False)


@pytest.mark.slow
async def test_a_pass_goes_on_until_nothing_is_too_old(database: Database, retention: UsageRetention) -> None:
    events = [
        event(number, token=f"{number:032x}", started=days_ago(120), ended=days_ago(120))
        for number in range(AT_ONCE + 3)
    ]
    known = {each.token: KnownToken(None, None, test=False) for each in events}
    async with database.writing() as sql:
        await apply_events(sql, events, known)
    await retention.run_once()
    assert {client for client, _, _ in await clients(database)} == {"192.0.2.0/24"}


@pytest.mark.parametrize(
    ("days", "waits", "left"),
    [
        (POSITION_DAYS - 1, None, True),
        (POSITION_DAYS + 1, None, False),
        (POSITION_DAYS + 1, POSITION_DAYS + 3, True),  # what waits may be of that worker, and applied
        (POSITION_DAYS + 1, POSITION_DAYS + 1, True),
        (POSITION_DAYS + 3, POSITION_DAYS + 1, False),
    ],
)
async def test_positions_of_workers_that_are_long_gone_are_forgotten(
    database: Database,
    repos: Repositories,
    retention: UsageRetention,
    days: int,
    waits: int | None,
    left: bool,
) -> None:
    async with database.writing() as sql:
        await apply_events(sql, [event(0), event(5)], KNOWN)
        await sql.execute(USAGE_POSITION.update().values(updated=now() - days * DAY))
    if waits is not None:
        moment = now() - waits * DAY
        await repos.client.call("XADD", events_key(2), f"{moment}-0", "b", "x")
    await retention.run_once()
    async with database.reading() as sql:
        assert ((await sql.execute(select(USAGE_POSITION))).first() is not None) is left


async def test_batches_that_were_set_aside_go_with_their_addresses(
    database: Database, repos: Repositories, retention: UsageRetention
) -> None:
    for days in (101, 99):
        await repos.client.call("XADD", events_aside_key(0), f"{now() - days * DAY}-0", "b", "x")
    await retention.run_once()
    assert await repos.client.call("XLEN", events_aside_key(0)) == 1


async def test_the_file_and_its_sums_stay(database: Database, retention: UsageRetention) -> None:
    await count(database, 300)
    async with database.reading() as sql:
        before = (await sql.execute(select(DOWNLOAD))).one()
    await retention.run_once()
    async with database.reading() as sql:
        after = (await sql.execute(select(DOWNLOAD))).one()
    for name in ("bytes", "covered", "completed", "times", "first", "last", "client", "token_id"):
        assert getattr(before, name) == getattr(after, name)
    assert read_download(after).covered == ((0, FILE.size),)

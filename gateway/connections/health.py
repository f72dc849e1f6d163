"""Whether a connection works: what came last, what was wrong with it, and whether the API takes the key.

What is known of deliveries with a bad signature is their number, the time of the last one, and why it was
refused: they are not stored, because anybody can send them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select

from gateway.connections.inbox import Inbox, Stored
from gateway.connections.repository import Connection
from gateway.database.engine import Database
from gateway.database.tables import INBOX, ORDER_LINE
from gateway.database.types import now
from gateway.platforms.clients.api import Api, ApiError, ApiRefused, new_session
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.fields import FieldFault
from gateway.platforms.reconciliation import Cursor
from gateway.platforms.registry import PLATFORMS

QUIET_DAYS: Final = 30
"""After so many days without an event it is said. Small shops sell once a week, and their platforms do not
switch webhooks off without a word before that."""
ASK_SECONDS: Final = 30.0
"""For the question to the API, with its repetitions."""
ASK_BACK: Final = 60_000
"""How far back the question to the API looks, ms: it is about the key, not about what changed."""
_DAY: Final = 24 * 3600 * 1000


class Result(StrEnum):
    """How a remark counts: only FAIL means that the connection does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Remark:
    """One thing that was looked at. mend: what to do, where something is wrong."""

    check: str
    result: Result
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Health:
    """What is known of a connection.

    last: the newest event. failed, waiting: how many events are in these states. unmapped: how many items of
    its orders nobody has mapped. api: whether the platform takes the key.
    """

    connection: Connection
    last: Stored | None
    failed: int
    waiting: int
    unmapped: int
    api: Remark | None = None

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Everything that can be said."""
        return tuple(judge(self, now()))

    @property
    def works(self) -> bool:
        """Whether nothing is wrong that keeps orders away."""
        return all(each.result is not Result.FAIL for each in self.remarks)


async def examine(
    database: Database, connection: Connection, *, asks: bool, allow_loopback: bool = False
) -> Health:
    """Look at a connection. asks: also ask the platform's API, where there is a key. Raises DatabaseError."""
    unmapped = await count_unmapped(database, connection.id)
    health = await _look(database, connection, unmapped.get(connection.id, 0))
    return replace(health, api=await ask_api(connection, allow_loopback=allow_loopback)) if asks else health


async def examine_all(database: Database, connections: Sequence[Connection]) -> list[Health]:
    """Look at several connections, and ask no API. Raises DatabaseError."""
    unmapped = await count_unmapped(database)
    return [await _look(database, each, unmapped.get(each.id, 0)) for each in connections]


async def count_unmapped(database: Database, connection: str | None = None) -> dict[str, int]:
    """How many items nobody has mapped, by connection; of one connection, or of all that have any."""
    item = (ORDER_LINE.c.source, ORDER_LINE.c.item_key, ORDER_LINE.c.item_value)
    items = select(*item).where(ORDER_LINE.c.waits).distinct()
    if connection is not None:
        items = items.where(ORDER_LINE.c.source == connection)
    found = items.subquery()
    async with database.reading() as sql:
        rows = await sql.execute(select(found.c.source, func.count()).group_by(found.c.source))
        return {name: int(count) for name, count in rows}


async def _look(database: Database, connection: Connection, unmapped: int) -> Health:
    [*newest] = await Inbox(database).list_page(connection.id, 1, None)
    async with database.reading() as sql:
        states = await sql.execute(
            select(INBOX.c.state, func.count())
            .where(INBOX.c.connection_id == connection.id, INBOX.c.state.in_(("failed", "waiting")))
            .group_by(INBOX.c.state)
        )
        counts: dict[str, int] = {}
        for state, count in states:
            counts[state] = count
    return Health(
        connection,
        newest[0] if newest else None,
        counts.get("failed", 0),
        counts.get("waiting", 0),
        unmapped,
    )


async def ask_api(connection: Connection, *, allow_loopback: bool) -> Remark:
    """Ask the platform's API for what changed in the last minute, to see whether it takes the key."""
    title = PLATFORMS[connection.kind].title
    client = CLIENTS.get(connection.kind)
    if client is None or client.list_changes is None:
        return Remark("api key", Result.SKIP, f"{title} is asked nothing: its events have everything")
    if not connection.api_key:
        return Remark("api key", Result.SKIP, "there is none, so what webhooks lose is not looked for")
    moment = now()
    cursor = Cursor(done=moment, since=moment - ASK_BACK, until=moment)
    try:
        access = connection.access(allow_loopback=allow_loopback)
        assert access is not None, "there is a key"
        async with new_session() as session, asyncio.timeout(ASK_SECONDS):
            await client.list_changes(Api(session, access), cursor, moment)
    except TimeoutError:
        text = f"{title} did not answer within {ASK_SECONDS:.0f} s"
        return Remark("api key", Result.WARN, text, "try again later")
    except ApiRefused as failure:
        mend = f"copy the key again: connection change {_name(connection)} --api-key-file FILE"
        return Remark("api key", Result.FAIL, _sentence(failure), mend)
    except ApiError as failure:
        return Remark("api key", Result.WARN, _sentence(failure), "try again later")
    except FieldFault as failure:
        text = f"{title} takes the key, and answers in a form that is not known: {_sentence(failure)}"
        return Remark("api key", Result.WARN, text, "look for a newer version of the gateway")
    return Remark("api key", Result.OK, f"{title} accepts it")


def judge(health: Health, moment: int) -> Iterator[Remark]:
    """Say what is right and wrong. moment: now, ms. Pure."""
    yield _secrets(health.connection)
    yield _events(health, moment)
    yield _signatures(health.connection, moment)
    name = _name(health.connection)
    if health.failed:
        text = f"{_count(health.failed, 'event')} could not be applied"
        yield Remark("inbox", Result.WARN, text, f"see: connection events {name} --state failed")
    else:
        yield Remark("inbox", Result.OK, f"no event has failed, {_count(health.waiting, 'event')} waiting")
    if health.unmapped:
        text = f"{_count(health.unmapped, 'item')} that nobody has mapped: their customers wait"
        yield Remark("mappings", Result.WARN, text, "see: unmapped")
    if health.api is not None:
        yield health.api


def _secrets(connection: Connection) -> Remark:
    mode = "" if connection.live else "; it takes test events only"
    if connection.secrets:
        return Remark("secrets", Result.OK, f"{_count(len(connection.secrets), 'signing secret')}{mode}")
    mend = f"copy it from the platform: connection change {_name(connection)} --secret-file FILE"
    if connection.unreadable is not None:
        return Remark("secrets", Result.FAIL, _sentence(connection.unreadable), mend)
    return Remark("secrets", Result.FAIL, f"there is no signing secret{mode}", mend)


def _events(health: Health, moment: int) -> Remark:
    connection, last = health.connection, health.last
    name = _name(connection)
    if last is None:
        mend = f"give the platform the address and the events that `connection show {name}` has"
        return Remark("events", Result.WARN, "none has come yet", mend)
    # `last_event` is also that of an event that came again, which the inbox has only once
    came = max(last.received, connection.last_event or 0)
    text = f"{last.type}, {_ago(moment - came)}: {last.state}"
    if last.error:
        text += f" ({last.error.rstrip('.')})"
    if last.state == "failed":
        return Remark("events", Result.FAIL, text, f"mend it, then: connection replay {name} {last.id}")
    if moment - came > QUIET_DAYS * _DAY:
        mend = "see at the platform whether its webhook is still switched on"
        return Remark("events", Result.WARN, text, mend)
    return Remark("events", Result.OK, text)


def _signatures(connection: Connection, moment: int) -> Remark:
    if not connection.refused or connection.last_refused is None:
        return Remark("signatures", Result.OK, "no delivery was refused")
    times = f"{_count(connection.refused, 'delivery', 'deliveries')} refused"
    text = f"{times}, the last one {_ago(moment - connection.last_refused)}: {connection.last_error}"
    if (connection.last_event or 0) > connection.last_refused:
        return Remark("signatures", Result.WARN, f"{text}. Good ones have come since", "")
    mend = f"compare the secret with the platform's: connection change {_name(connection)} --secret-file FILE"
    return Remark("signatures", Result.FAIL, text, mend)


def _name(connection: Connection) -> str:
    return connection.id if " " in connection.name else connection.name


def _sentence(failure: Exception) -> str:
    return str(failure).rstrip(".")


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def _ago(milliseconds: int) -> str:
    """A duration for people."""
    seconds = max(0, milliseconds) // 1000
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {noun}s ago"
    return f"{_count(seconds, 'second')} ago"

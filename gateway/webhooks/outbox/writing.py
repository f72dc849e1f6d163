"""Putting announcements into the outbox, in the transaction in which something happened.

So what was committed is told, and what was rolled back is not. Each endpoint that asked for the type gets a
row of its own; where nobody asks, nothing is written. An endpoint gets what happened since it was made:
history, such as tokens of a store that is copied for the first time, is not told. What happens while it is
disabled is not kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database.statements import insert
from gateway.database.types import new_id, now
from gateway.database.webhook_tables import OUTBOX_WEBHOOK, WEBHOOK, WEBHOOK_EVENT
from gateway.webhooks.outbox.announcements import Announcement, EventType

SKEW: Final = 5_000
"""How much earlier than an endpoint something may have happened, ms: clocks of machines differ."""
AT_ONCE: Final = 500
"""Announcements that one statement writes."""


class Subscriber(NamedTuple):
    """An endpoint that takes events. types: none for all. since: when it was made, ms."""

    id: str
    types: frozenset[str]
    since: int

    def wants(self, one: Announcement) -> bool:
        """Whether it is told."""
        return (not self.types or one.type in self.types) and one.happened >= self.since - SKEW


@dataclass(frozen=True)
class Subscribers:
    """The endpoints that take events now."""

    all: tuple[Subscriber, ...] = ()

    def want(self, *kinds: EventType) -> bool:
        """Whether anybody asked for one of these types."""
        return any(not each.types or not each.types.isdisjoint(kinds) for each in self.all)


async def find_subscribers(sql: AsyncConnection) -> Subscribers:
    """Read who takes events."""
    query = select(WEBHOOK.c.id, WEBHOOK.c.types, WEBHOOK.c.created).where(WEBHOOK.c.disabled.is_(None))
    rows = await sql.execute(query)
    return Subscribers(tuple(Subscriber(row.id, frozenset(row.types), row.created) for row in rows))


async def announce(
    sql: AsyncConnection, announcements: Iterable[Announcement], subscribers: Subscribers | None = None
) -> int:
    """Write announcements within the caller's transaction. Returns how many deliveries they make.

    subscribers: as they were found in this transaction; None: they are read.
    """
    listed = list(announcements)
    if listed and subscribers is None:
        subscribers = await find_subscribers(sql)
    if not listed or subscribers is None or not subscribers.all:
        return 0
    written = 0
    for start in range(0, len(listed), AT_ONCE):
        written += await _write(sql, listed[start : start + AT_ONCE], subscribers)
    return written


async def _write(sql: AsyncConnection, some: list[Announcement], subscribers: Subscribers) -> int:
    moment = now()
    wanted = [each for each in some if any(one.wants(each) for one in subscribers.all)]
    if not wanted:
        return 0
    told = dict(zip(_new_ids(len(wanted)), wanted, strict=True))
    rows = [
        {
            "id": identifier,
            "key": each.key,
            "type": each.type.value,
            "happened": each.happened,
            "data": each.data,
            "customer": each.customer,
            "created": moment,
        }
        for identifier, each in told.items()
    ]
    statement = insert(sql, WEBHOOK_EVENT).on_conflict_do_nothing(index_elements=["key"])
    new = list(await sql.scalars(statement.returning(WEBHOOK_EVENT.c.id), rows))
    pairs = [
        (identifier, one.id)
        for identifier in sorted(new)
        for one in subscribers.all
        if one.wants(told[identifier])
    ]
    deliveries = [
        delivery_row(name, event_id, webhook_id, moment)
        for name, (event_id, webhook_id) in zip(_new_ids(len(pairs)), pairs, strict=True)
    ]
    if deliveries:
        await sql.execute(insert(sql, OUTBOX_WEBHOOK), deliveries)
    return len(deliveries)


def _new_ids(count: int) -> list[str]:
    """New ids in their order, so that what is announced together is sent in that order."""
    return sorted(new_id() for _ in range(count))


def delivery_row(identifier: str, event_id: str, webhook_id: str, moment: int) -> dict[str, Any]:
    """A new row of the outbox, which is due at once. moment: now, ms."""
    return {
        "id": identifier,
        "webhook_id": webhook_id,
        "event_id": event_id,
        "state": "waiting",
        "due": moment,
        "attempts": 0,
        "tries": [],
    }


async def erase_announcements(sql: AsyncConnection, customers: Iterable[str]) -> None:
    """Delete what mentions customers, sent or not, with its deliveries. customers: ids and marks."""
    listed = sorted(set(customers))
    for start in range(0, len(listed), AT_ONCE):
        some = listed[start : start + AT_ONCE]
        await sql.execute(delete(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.customer.in_(some)))

"""Events of usage for tests: made by hand, and read from the store as a reader of the streams would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import redis
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.key_names import EVENT_STREAMS, events_key
from gateway.usage.day_totals import add_to_days
from gateway.usage.downloads import DayKey
from gateway.usage.events import Event, FileOfVersion, decode_batch, encode_batch

FILE = FileOfVersion("drums", "1.0.0", "drums.zip", 1000, "a" * 64)
TOKEN = "0123456789abcdef" * 2
NOON = 1_790_000_000_000_000
"""A moment, in microseconds."""


def event(number: int = 0, **values: Any) -> Event:
    """An event of a whole download of FILE; `values` replace what it says."""
    event = Event(
        worker="00ff00ff00ff00ff",
        number=number,
        token=TOKEN,
        file=FILE,
        spans=((0, 1000),),
        sent=1000,
        status=200,
        whole=True,
        method="GET",
        started=NOON + number * 1_000_000,
        ended=NOON + number * 1_000_000 + 500_000,
        client="192.0.2.1",
        agent="curl/8.5.0",
    )
    changed = event._replace(**values)
    if "spans" in values:
        changed = changed._replace(sent=sum(stop - start for start, stop in changed.spans), status=206)
    return changed


def batch(events: Sequence[Event]) -> bytes:
    """The batch of events of one worker whose numbers follow each other."""
    files = list(dict.fromkeys(event.file for event in events))
    clients = list(dict.fromkeys(event.client for event in events))
    agents = list(dict.fromkeys(event.agent for event in events))
    base = min(event.started for event in events)
    head = {
        "worker": events[0].worker,
        "first": events[0].number,
        "count": len(events),
        "base": base,
        "files": files,
        "clients": clients,
        "agents": agents,
        "method": "GET",
        "spans": {place: event.spans for place, event in enumerate(events) if event.status == 206},
    }
    columns = (
        [files.index(event.file) for event in events],
        [clients.index(event.client) for event in events],
        [agents.index(event.agent) for event in events],
        [event.sent for event in events],
        [(event.started - base) / 1e6 for event in events],
        [(event.ended - event.started) / 1e6 for event in events],
    )
    return encode_batch(head, [event.token for event in events], columns)


async def add_days(sql: AsyncConnection, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows to the sums of days: day, product, version, client, outcome, started, completed, bytes."""
    await add_to_days(
        sql,
        {
            (DayKey(day, client, outcome), product, version): sums
            for day, product, version, client, outcome, *sums in rows
        },
    )


def batches_in(store: redis.Redis) -> list[bytes]:
    """The batches that wait in the streams of a store."""
    found: list[bytes] = []
    for number in range(EVENT_STREAMS):
        entries: Any = store.xrange(events_key(number))
        found += [fields[b"b"] for _, fields in entries]
    return found


def events_in(store: redis.Redis) -> list[Event]:
    """The events that wait in the streams of a store, each once."""
    events = {(one.worker, one.number): one for each in batches_in(store) for one in decode_batch(each)}
    return sorted(events.values(), key=lambda one: (one.worker, one.number))

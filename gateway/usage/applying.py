"""Reads events from the store and applies them: work in the background of each web process.

1. Each process is a reader of one consumer group. A batch that it was given and has not finished within
   IDLE_MS, because it has died, is given to another one.
2. Batches are applied in one transaction with the note that they were (`repository.py`), and removed from the
   store only after the commit. So each event is applied once, whenever a process dies.
3. While the database is away, what was given is held and tried again, and no more is taken: it waits in the
   store.
4. A batch that cannot be read, that the database does not take by itself, or with which processes died again
   and again, is set aside: it is logged, and the newest SET_ASIDE of them stay in a stream beside the other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError, Duplicate
from gateway.database.statements import lock_usage
from gateway.errors import StoreUnavailable
from gateway.runtime.background import repeat
from gateway.store.client import StoreClient
from gateway.store.key_names import EVENT_STREAMS, events_key, token_key
from gateway.store.scripts import Script
from gateway.usage.events import BadBatch, Event, decode_batch
from gateway.usage.known_tokens import FIELDS, FoundToken, read_tokens, record_tokens, recorded_tokens
from gateway.usage.repository import apply_events

_log = logging.getLogger("gateway.usage")

GROUP: Final = "database"
BATCHES_AT_ONCE: Final = 8
"""Up to 4000 events in one transaction; most batches are small."""
IDLE_MS: Final = 30_000
"""A transaction takes a second at the most."""
MOST_TIMES: Final = 5
"""How many processes may die with a batch before it is set aside."""
SET_ASIDE: Final = 100

_TAKE: Final = Script.load("take_events")
_FINISH: Final = Script.load("finish_events")


@dataclass(frozen=True)
class Given:
    """A batch that this process was given. times: how many times it was given to one."""

    stream: int
    id: str
    data: bytes
    times: int


class EventReader:
    """Applies the events of a store to a database."""

    def __init__(self, database: Database, client: StoreClient) -> None:
        self._database = database
        self._client = client
        self._name = secrets.token_hex(8)
        self._held: list[Given] = []
        self._wakes = asyncio.Event()
        self.set_aside = 0
        """How many batches this process has set aside."""

    async def run(self) -> None:
        """Work until cancelled."""
        faults = (DatabaseError, StoreUnavailable)
        await repeat(self.apply_some, self._wakes, faults, _log, "usage waits in the store: %s")

    async def apply_some(self) -> bool:
        """Apply some batches. Returns whether there may be more. Raises DatabaseError, StoreUnavailable."""
        if not self._held:
            await self._take()
        if not self._held:
            return False
        ready = [each for each in self._held if each.times <= MOST_TIMES]
        for given in self._held:
            if given.times > MOST_TIMES:
                await self._put_aside(given, "processes died again and again when they applied it")
        self._held = ready
        if any(given.times > 1 for given in ready):
            await self._apply_each()
        elif ready:
            await self._apply_all()
        return True

    async def _take(self) -> None:
        for stream in range(EVENT_STREAMS):
            found = await self._client.run(
                _TAKE, [events_key(stream)], GROUP, self._name, BATCHES_AT_ONCE, IDLE_MS
            )
            self._held += [
                Given(stream, entry, data.encode("utf-8", "surrogateescape"), int(times))
                for entry, data, times in found
            ]

    async def _apply_all(self) -> None:
        try:
            await self._apply(self._held)
        except (StoreUnavailable, DatabaseError) as error:
            if not isinstance(error, DatabaseError) or error.kind != "failed":
                raise
            await self._apply_each()
        except Exception:
            await self._apply_each()
        else:
            await self._finish(self._held)

    async def _apply_each(self) -> None:
        """Apply each batch by itself, so that one that cannot be does not hold up the others."""
        while self._held:
            given = self._held[0]
            try:
                await self._apply([given])
            except BadBatch as error:
                await self._put_aside(given, str(error))
            except (StoreUnavailable, Duplicate):
                raise
            except DatabaseError as error:
                if error.kind != "failed":
                    raise
                await self._put_aside(given, str(error))
            except Exception as error:
                _log.exception("usage cannot be applied", exc_info=error)
                await self._put_aside(given, type(error).__name__)
            else:
                await self._finish([given])

    async def _apply(self, given: Sequence[Given]) -> None:
        events = [event for each in given for event in decode_batch(each.data)]
        identifiers = {event.token for event in events}
        async with self._database.reading() as sql:
            known = await recorded_tokens(sql, identifiers)
        new = await self._find(identifiers - known, events)
        async with self._database.writing() as sql:
            await lock_usage(sql)  # whose customer is erased meanwhile is known to be
            if new:
                await record_tokens(sql, new)
            await apply_events(sql, events, await read_tokens(sql, identifiers))

    async def _find(self, identifiers: Iterable[str], events: Iterable[Event]) -> list[FoundToken]:
        """What Redis still knows of tokens that are not recorded."""
        listed = sorted(identifiers)
        if not listed:
            return []
        first = {event.token: event for event in events}
        commands = [("HMGET", token_key(identifier), *FIELDS) for identifier in listed]
        found = []
        for identifier, fields in zip(listed, await self._client.call_all(*commands), strict=True):
            event = first[identifier]
            began, file = event.started // 1000, event.file
            found.append(FoundToken(identifier, fields, began, began, file.product, file.version))
        return found

    async def _finish(self, given: Sequence[Given], keep: int = 0) -> None:
        """Remove batches from the store, and from what is held."""
        for stream in sorted({each.stream for each in given}):
            ids = [each.id for each in given if each.stream == stream]
            await self._client.run(_FINISH, [events_key(stream)], GROUP, keep, *ids)
        done = set(map(id, given))
        self._held = [each for each in self._held if id(each) not in done]

    async def _put_aside(self, given: Given, why: str) -> None:
        await self._finish([given], SET_ASIDE)
        self.set_aside += 1
        key = events_key(given.stream)
        _log.error("a batch of usage was set aside in %s:aside, and is not counted: %s", key, why)

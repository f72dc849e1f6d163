"""Looking for lost webhooks, once an hour, in each connection that has an API key.

Of several web processes one does a run: whoever writes its beginning into the connection's cursor. The others
leave it alone for TAKEN_SECONDS, and then one of them goes on, because the first was perhaps killed. Each
step of a run is written only over the step before, so that of two who go on one ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import aiohttp

from gateway.connections.inbox import Inbox
from gateway.connections.repository import Connection, ConnectionRepository
from gateway.database.types import now
from gateway.errors import DatabaseError
from gateway.platforms.clients.api import Api, ApiError, new_session
from gateway.platforms.clients.registry import CLIENTS
from gateway.platforms.fields import FieldFault
from gateway.platforms.reconciliation import Cursor, advance, begin, is_due, read_cursor, write_cursor
from gateway.platforms.registry import PLATFORMS

LOOK_SECONDS: Final = 60.0
"""How often it is looked which connections are due. A run that failed is tried again as often."""
TAKEN_SECONDS: Final = 180.0
"""How long a run of another process is left alone. A page takes some seconds, with its repetitions 100."""

_log = logging.getLogger("gateway.connections")


class Reconciler:
    """Puts what webhooks have lost into the inbox. For one event loop."""

    def __init__(
        self,
        connections: ConnectionRepository,
        inbox: Inbox,
        taken: Callable[[], None],
        *,
        allow_loopback: bool = False,
    ) -> None:
        self._connections = connections
        self._inbox = inbox
        self._taken = taken
        self._allow_loopback = allow_loopback
        self._own: set[str] = set()
        """Connections of which this process has a run in progress."""

    async def run(self) -> None:
        """Work until cancelled."""
        async with new_session() as session:
            while True:
                try:
                    for identifier in await self._connections.list_ids():
                        await self._look_through(identifier, session)
                except DatabaseError as error:
                    _log.warning("lost webhooks cannot be looked for now: %s", error)
                await asyncio.sleep(LOOK_SECONDS)

    async def _look_through(self, identifier: str, session: aiohttp.ClientSession) -> None:
        """Look through a connection, if it is there and its secrets can be read. Raises DatabaseError."""
        connection = await self._connections.get(identifier)
        if connection is not None and connection.unreadable is not None:
            _log.warning("lost webhooks of %s cannot be looked for: %s", identifier, connection.unreadable)
        elif connection is not None:
            await self.look_through(connection, session)

    async def look_through(self, connection: Connection, session: aiohttp.ClientSession) -> None:
        """Do a run of one connection, if it is due, as far as its API answers. Raises DatabaseError."""
        client = CLIENTS.get(connection.kind)
        cursor = read_cursor(connection.cursor, connection.created)
        if client is None or client.list_changes is None or not is_due(cursor, now()):
            return
        if self._is_taken(connection, cursor):
            return
        try:
            access = connection.access(allow_loopback=self._allow_loopback)
            if access is None:
                return
            api = Api(session, access)
            cursor = begin(cursor, now())
            written = write_cursor(cursor)
            if not await self._connections.keep_cursor(connection.id, written, connection.cursor):
                return
            self._own.add(connection.id)
            while cursor.since is not None:
                page = await client.list_changes(api, cursor, now())
                read = PLATFORMS[connection.kind].read
                readings = [each for message in page.messages for each in read(message, tells=False)]
                await self._inbox.take(connection, readings)
                cursor = advance(cursor, page.next, page.mark, now())
                before, written = written, write_cursor(cursor)
                if not await self._connections.keep_cursor(connection.id, written, before):
                    break
                self._taken()
            self._own.discard(connection.id)
        except (ApiError, FieldFault) as failure:
            _log.warning("lost webhooks of %s cannot be looked for: %s", connection.id, failure)

    def _is_taken(self, connection: Connection, cursor: Cursor) -> bool:
        """Whether another process has a run in progress."""
        if cursor.since is None or cursor.until is None or connection.id in self._own:
            return False
        return 0 <= now() - cursor.until < 1000 * TAKEN_SECONDS

"""Whether the database answers, for /readyz: asked in a bounded time, and once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import select

from gateway.database.engine import Database
from gateway.database.errors import DatabaseError
from gateway.database.tables import STATE

ANSWER_SECONDS: Final = 2.0
"""Monitoring asks often, and gives up after a few seconds itself."""


class DatabaseProbe:
    """Asks one database. For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raise DatabaseError if the database cannot be read, or does not answer within ANSWER_SECONDS.

        A question that was not answered goes on, because a driver that is cancelled loses its connection.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        asking = self._asking
        await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
        if not asking.done():
            text = f"the database {self._database.label} does not answer within {ANSWER_SECONDS:g} s"
            raise DatabaseError("unreachable", text)
        asking.result()

    async def _ask(self) -> None:
        async with self._database.reading() as sql:
            await sql.execute(select(STATE.c.name).limit(1))

"""Watches whether the store has the catalogue, and fills it again: after it was emptied, or after a crash.

A web process does this all the time. Several may: the database lets one of them fill. It also makes the
database ready at its first use, where it was away when the process started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Self

from gateway.catalogue.filling import synchronise
from gateway.database.engine import Database
from gateway.database.migrating import prepare
from gateway.errors import DatabaseError, StoreUnavailable
from gateway.tokens.repositories import Repositories

WATCH_SECONDS: Final = 1.0
"""How long an empty store may go unnoticed. A look is one command and one query."""

PASSING: Final = frozenset({"unreachable", "locked", "full"})
"""Kinds of faults that pass by themselves; with any other, a process does not start."""

_log = logging.getLogger("gateway.catalogue")


class Watch:
    """Keeps the store filled from the database while it is entered.

    Entering it makes the database ready and looks once. Raises DatabaseError that does not pass by itself.
    Leaving it lets a look that is under way finish: what is cancelled in a statement loses its connection.
    """

    def __init__(self, database: Database, store: Repositories, *, migrates: bool) -> None:
        self._database = database
        self._store = store
        self._migrates = migrates
        self._is_prepared = False
        self._reported = ""
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._look()
        except DatabaseError as error:
            if error.kind not in PASSING:
                raise
            self._report(error)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        """Look again and again. A fault is logged once, and once that it is over."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), WATCH_SECONDS)
                return
            try:
                await self._look()
            except DatabaseError as error:
                self._report(error)
            except Exception:
                _log.exception("the store could not be filled from the database")
            else:
                self._report(None)

    async def _look(self) -> None:
        if not self._is_prepared:
            await prepare(self._database, migrates=self._migrates)
            self._is_prepared = True
        with contextlib.suppress(StoreUnavailable):  # the store's client logs it
            if await synchronise(self._database, self._store):
                _log.info("the store has the catalogue of the database")

    def _report(self, error: DatabaseError | None) -> None:
        text = "" if error is None else str(error)
        if text != self._reported:
            self._reported = text
            if error is None:
                _log.warning("the database is back")
            else:
                _log.error("%s", error)

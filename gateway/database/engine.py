"""The database: connections, transactions, and what each engine needs to be told.

    async with Database.of(location) as database:
        async with database.reading() as connection: …
        async with database.writing() as connection: …

Rules:

1. A transaction that has been committed outlives a power cut. SQLite has a rollback journal and
   `synchronous=FULL`; of PostgreSQL the server's own settings decide.
2. A writing transaction begins with BEGIN IMMEDIATE on SQLite: it waits for the lock at its beginning, where
   waiting works, and never in its middle, where SQLite would refuse at once. Within one process, the writers
   also wait in a queue of ours, because SQLite's own waiting is by trying again and is not fair.
3. Every exception of SQLAlchemy and the drivers leaves as one of `gateway.database.errors`.
4. Work in the background is stopped before or after a transaction, never in it (`runtime/background.py`).
5. No statement and no value appears in an exception or a log (`hide_parameters`).
6. A transaction begins in a limited time (BEGIN_SECONDS), or not at all. A request may limit what all of its
   transactions take (`gateway.database.patience`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, Final, Self

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from gateway.config.database_url import DatabaseLocation
from gateway.database.errors import DatabaseError, explain, is_foreign, locked
from gateway.database.patience import find_patience
from gateway.runtime.background import finished_before_stop

BUSY_SECONDS: Final = 5.0
"""How long a transaction waits for SQLite's lock. The longest transactions of ours take milliseconds."""

CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 30.0
"""How long PostgreSQL may take to answer one statement. A larger import is many statements."""

BEGIN_SECONDS: Final = 5.0
"""How long a transaction waits for the writers before it on SQLite, and on PostgreSQL for a connection that
works and for its begin: a server that hangs must not keep everybody waiting for COMMAND_SECONDS."""

MIGRATION_SECONDS: Final = 60
"""How long a process waits at its start while another one changes the tables."""

_MIGRATION_LOCK: Final = 0x646774 << 32
"""The number of PostgreSQL's advisory lock: all databases of a server have locks of their own."""

RANDOM_PAGE_COST: Final = 1.1
"""What PostgreSQL reckons a page to cost that an index leads to, where one of a whole table costs 1. Its
default of 4 is that of a turning disk: then it reads a whole table for some hundred rows of one customer. It
is set after connecting, because poolers of connections refuse settings that they do not know."""

POOL_SIZE: Final = 5
POOL_SECONDS: Final = 5.0
"""How many connections a process keeps, and how long a transaction waits for one."""

_PRAGMAS: Final = ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON")
"""Of each connection of SQLite. secure_delete: what is erased does not stay in free pages."""

_MODE: Final = "dg_begin"
"""The execution option that says how a transaction of SQLite begins."""


class Database:
    """One database, and the connections of this process to it. Leaving the context closes them.

    No connection is made before the first transaction, so the server may be away now.
    """

    def __init__(self, engine: AsyncEngine, location: DatabaseLocation) -> None:
        self.engine: Final = engine
        self.location: Final = location
        self._writer: asyncio.Lock | None = asyncio.Lock() if location.is_sqlite else None

    @classmethod
    def of(cls, location: DatabaseLocation, *, busy_seconds: float = BUSY_SECONDS) -> Database:
        """The database at a location. busy_seconds: how long to wait for SQLite's lock.

        Raises DatabaseError when a file or its folder cannot be made.
        """
        if location.is_sqlite:
            return cls(_sqlite_engine(location, busy_seconds), location)
        return cls(_postgres_engine(location, COMMAND_SECONDS), location)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()

    @property
    def label(self) -> str:
        """Names the database to people, without a password."""
        return self.location.label

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, and sees one state of the database. Raises DatabaseError."""
        async with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes. It is committed when the context ends without an exception.

        Raises DatabaseError, and Duplicate where a row breaks a rule of its table.
        """
        async with self._turn(), self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes tables while no other process does. Raises DatabaseError.

        It has a connection of its own, without a limit of time for a statement. On SQLite foreign keys
        are not looked at before its end, because a table is changed there by making it anew.
        """
        if self.location.is_sqlite:
            engine = _sqlite_engine(self.location, MIGRATION_SECONDS, foreign_keys=False)
        else:
            engine = _postgres_engine(self.location, None)
        alone = Database(engine, self.location)
        try:
            async with alone.writing() as connection:
                if self.location.is_sqlite:
                    yield connection
                    if (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first() is not None:
                        raise DatabaseError("failed", f"a migration of {self.label} left a broken reference")
                else:
                    await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'")
                    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
                    yield connection
        finally:
            await alone.close()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for the writers before, on SQLite. Raises DatabaseError."""
        if self._writer is None:
            yield
            return
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                await self._writer.acquire()
        except TimeoutError:
            raise locked(self.label) from None
        try:
            yield
        finally:
            self._writer.release()

    @contextlib.asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[AsyncConnection]:
        patience = find_patience()
        deadline = None if patience is None or self.location.is_sqlite else patience.deadline
        async with finished_before_stop():
            with self.translating():
                async with (
                    asyncio.timeout_at(deadline),
                    contextlib.AsyncExitStack() as stack,
                ):
                    connection = await self._begin(stack, begin)
                    yield connection
                    if patience is not None and begin != "BEGIN":
                        patience.may_have_changed = True

    async def _begin(self, stack: contextlib.AsyncExitStack, begin: str) -> AsyncConnection:
        """Begin a transaction, which ends with the stack."""
        async with asyncio.timeout(None if self.location.is_sqlite else BEGIN_SECONDS):
            connection = await stack.enter_async_context(self.engine.connect())
            if self.location.is_sqlite:
                await connection.execution_options(**{_MODE: begin})
            elif begin == "BEGIN":
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            await stack.enter_async_context(connection.begin())
        return connection

    @contextlib.contextmanager
    def translating(self) -> Any:
        """Translate what SQLAlchemy, the drivers and the operating system raise."""
        try:
            yield
        except Exception as error:
            if is_foreign(error):
                raise explain(error, self.label) from None
            raise


def _sqlite_engine(
    location: DatabaseLocation, busy_seconds: float, *, foreign_keys: bool = True
) -> AsyncEngine:
    assert location.path is not None
    try:
        location.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it readable for everybody. Its journal gets the mode of the file.
        os.close(os.open(location.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise explain(error, location.label) from None
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(location.path)),
        connect_args={"timeout": busy_seconds},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself: `_begin` does
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, f"foreign_keys={int(foreign_keys)}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_MODE, "BEGIN"))

    return engine


async def _prefer_indexes(connection: Any) -> None:
    try:
        await connection.execute(f"SET random_page_cost = {RANDOM_PAGE_COST}", timeout=CONNECT_SECONDS)
    except BaseException:
        connection.terminate()
        raise


def _postgres_engine(location: DatabaseLocation, command_seconds: float | None) -> AsyncEngine:
    async def connect() -> Any:
        import asyncpg  # noqa: PLC0415 - not needed where the database is a file

        try:
            made = await asyncpg.connect(
                location.dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=command_seconds,
                server_settings={"application_name": "download-gateway"},
            )
            await _prefer_indexes(made)
            return made
        except Exception as error:
            raise explain(error, location.label) from None

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
    )

"""Databases for tests: each test gets a new one with all tables, on SQLite and on PostgreSQL.

`databases` of the root conftest makes them. `database` is the usual one of a test, which runs twice.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine

from gateway.config.database_url import DATABASE_FILE, DatabaseLocation, locate_database
from gateway.database.engine import Database
from gateway.database.migrating import migrate, upgrade
from tests.support.postgres import PostgresServer, in_memory

ENGINES = ("sqlite", "postgresql")
TEMPLATE = "template_of_tests"


class Databases:
    """Makes databases on one engine: copies of one that has been migrated once."""

    def __init__(self, folder: Path, server: PostgresServer | None = None, prefix: str = "test") -> None:
        self.folder = folder
        self.server = server
        self._prefix = prefix
        self._numbers = count(1)
        self._has_template = False

    async def make(self, *, empty: bool = False) -> DatabaseLocation:
        """Make a new database; `empty`: without any table."""
        number = next(self._numbers)
        if self.server is None:
            location = locate_database(f"sqlite:///{self.folder}/{number}/{DATABASE_FILE}", self.folder)
            assert location.path is not None
            location.path.parent.mkdir(mode=0o700)
            if not empty:
                shutil.copy(await self._sqlite_template(), location.path)
            return location
        template = "template0" if empty else await self._postgres_template(self.server)
        return locate_database(await self.server.create(f"{self._prefix}_{number}", template), self.folder)

    async def remove(self, location: DatabaseLocation) -> None:
        """Remove a database."""
        if self.server is not None:
            await self.server.drop(location.label.rpartition("/")[2])
        elif location.path is not None:
            shutil.rmtree(location.path.parent)

    async def _sqlite_template(self) -> Path:
        path = self.folder / "template.sqlite"
        if not self._has_template:
            await _migrate(locate_database(f"sqlite:///{path}", self.folder))
            self._has_template = True
        return path

    async def _postgres_template(self, server: PostgresServer) -> str:
        if not self._has_template:
            await _migrate(locate_database(await server.create(f"{TEMPLATE}_{self._prefix}"), self.folder))
            self._has_template = True
        return f"{TEMPLATE}_{self._prefix}"


def url_of(location: DatabaseLocation) -> str:
    """The `database_url` of a location."""
    return location.dsn or f"sqlite:///{location.path}"


@cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE_FILE
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()
        return path.read_bytes()


@cache
def memory_folder() -> Path:
    """A folder for databases that need not outlive the tests: in memory, where nothing waits for a disk."""
    folder = tempfile.mkdtemp(prefix="dg-db-", dir=in_memory())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def new_database_url() -> str:
    """The `database_url` of a new database of SQLite with all tables: quicker than to make one."""
    file = memory_folder() / f"{next(_numbers)}.sqlite"
    file.write_bytes(_migrated_file())
    file.chmod(0o600)
    return f"sqlite:///{file}"


_numbers = count(1)


async def _migrate(location: DatabaseLocation) -> None:
    async with Database.of(location) as database:
        await migrate(database)

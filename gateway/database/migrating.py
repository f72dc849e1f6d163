"""Migrations: the chain of steps in `migrations/versions/`, applied by Alembic.

Alembic costs half a second of CPU to import, so only `upgrade` does that. Which steps there are is told by
the names of their files, `vREVISION_what.py` in the order of their revisions (a test compares them with the
chain that Alembic reads), and which step a database has by the one row of Alembic's table.

Rules:

1. One chain serves SQLite and PostgreSQL.
2. All missing steps are one transaction: a migration that is interrupted leaves the tables as they were, and
   the next start applies it again.
3. One process migrates at a time. The others wait, and then find nothing to do.
4. A database with a step that this program does not know is newer than the program, and is not used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.config.database_url import locate_database
from gateway.config.settings import Settings
from gateway.database.engine import Database
from gateway.database.errors import DatabaseError

CHAIN: Final = Path(__file__).with_name("migrations")
COMMAND: Final = "download-gateway database migrate"
_TABLE: Final = "alembic_version"
_FILE: Final = re.compile(r"v([0-9]{4})_\w+\.py")


@dataclass(frozen=True)
class MigrationState:
    """Which steps a database has.

    current: the last one, None for an empty database. pending: those it lacks.
    """

    current: str | None
    pending: tuple[str, ...]
    is_known: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing of ours is in the database."""
        return self.current is None


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database of the settings, with the tables that this program needs. Raises DatabaseError."""
    async with Database.of(locate_database(settings.database_url, settings.data)) as database:
        await prepare(database, migrates=settings.database_migrate)
        yield database


async def prepare(database: Database, *, migrates: bool = True, chain: Path = CHAIN) -> None:
    """See that the database has every step of the chain; without `migrates` only an empty one gets them.

    Raises DatabaseError: newer, outdated (with the command to run), or that it cannot be used now.
    """
    state = await read_state(database, chain)
    if not state.is_known:
        raise newer(database, state)
    if not state.pending:
        return
    if not migrates and not state.is_empty:
        raise outdated(database)
    await migrate(database, chain)


async def read_state(database: Database, chain: Path = CHAIN) -> MigrationState:
    """Which steps the database has. Raises DatabaseError."""
    async with database.reading() as connection:
        return await _state(connection, chain)


async def migrate(database: Database, chain: Path = CHAIN) -> tuple[str, ...]:
    """Apply the steps that the database lacks, in one transaction. Returns them.

    Raises DatabaseError: newer, or that it cannot be used now.
    """
    async with database.migrating() as connection:
        state = await _state(connection, chain)
        if not state.is_known:
            raise newer(database, state)
        if state.pending:
            await connection.run_sync(upgrade, chain)
        return state.pending


def newer(database: Database, state: MigrationState) -> DatabaseError:
    """The error for a database that a newer program has used."""
    return DatabaseError(
        "newer",
        f"the database {database.label} was changed by a newer version of this program (migration "
        f"{state.current}): install that version, or restore a backup of before",
    )


def outdated(database: Database) -> DatabaseError:
    """The error for a database that may not be migrated at start-up."""
    return DatabaseError(
        "outdated",
        f"the tables of the database {database.label} are those of an older version: make a backup, then "
        f"run: {COMMAND}",
    )


async def _state(connection: AsyncConnection, chain: Path) -> MigrationState:
    current = await connection.run_sync(_current)
    steps = steps_of(chain)
    if current is None:
        return MigrationState(None, steps)
    if current not in steps:
        return MigrationState(current, (), is_known=False)
    return MigrationState(current, steps[steps.index(current) + 1 :])


def known_steps() -> tuple[str, ...]:
    """The names of all steps of this version, the first one first."""
    return steps_of(CHAIN)


def _current(connection: Connection) -> str | None:
    """The last step of a database; None where it has no table of Alembic's, or no row in it."""
    if not connection.dialect.has_table(connection, _TABLE):
        return None
    found = connection.execute(select(column("version_num")).select_from(table(_TABLE))).scalar_one_or_none()
    return None if found is None else str(found)


@lru_cache
def steps_of(chain: Path) -> tuple[str, ...]:
    """The names of all steps, the first one first."""
    names = (_FILE.fullmatch(path.name) for path in (chain / "versions").iterdir())
    return tuple(sorted(name[1] for name in names if name))


def upgrade(connection: Connection, chain: Path = CHAIN) -> None:
    """Apply the steps that are missing, in a transaction that has begun."""
    from alembic import command  # noqa: PLC0415 - slow, and rarely needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(chain).replace("%", "%%"))
    command.upgrade(config, "head")

"""Statements that are written in another way for each engine, under one name."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert:
    """Begin an INSERT that may have `on_conflict_do_nothing` or `on_conflict_do_update`.

    Both engines write these in the same way, so the result is used as PostgreSQL's.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)  # type: ignore[return-value]
    return postgresql.insert(table)


_USAGE_LOCK: Final = 0x646775 << 32
"""The number of PostgreSQL's advisory lock of whoever changes downloads."""


async def lock_usage(connection: AsyncConnection) -> None:
    """Let nobody else count events, or erase what was counted, until this writing transaction ends.

    On SQLite a writing transaction is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _USAGE_LOCK})

"""Statements that SQLAlchemy writes in another way for each engine, under one name."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert:
    """Begin an INSERT that may have `on_conflict_do_nothing` or `on_conflict_do_update`.

    Both engines write these in the same way, so the result is used as PostgreSQL's.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)  # type: ignore[return-value]
    return postgresql.insert(table)

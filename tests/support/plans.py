"""How an engine would find what a query asks for: by an index, or by looking at a whole table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from gateway.database.engine import Database

_NO_TABLE = re.compile(r"INDEX|CONSTANT ROW")
"""In a step of SQLite that reads an index, or values that the statement itself has."""


@contextmanager
def noted_statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed while the block runs, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def whole_tables(database: Database, statements: list[tuple[str, Any]]) -> list[str]:
    """The lines of the plans of SELECTs in which a whole table is read, row after row."""
    selects = [each for each in statements if each[0].lstrip().upper().startswith("SELECT")]
    found: list[str] = []
    async with database.reading() as sql:
        if sql.dialect.name == "sqlite":
            for statement, parameters in selects:
                plan = await sql.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps = [str(row.detail) for row in plan]
                found += [step for step in steps if step.startswith("SCAN") and not _NO_TABLE.search(step)]
            return found
        await sql.exec_driver_sql("SET LOCAL enable_seqscan = off")  # tables of tests are small
        for statement, parameters in selects:
            plan = await sql.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            found += [str(row[0]) for row in plan if "Seq Scan" in row[0]]
    return found

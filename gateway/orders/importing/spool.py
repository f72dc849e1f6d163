"""The rows of a file on the disk, so that those of one order are found together and memory stays small.

It is a database of SQLite's own that has no name: its file is removed when it is made, so that nothing of it
stays, whenever the process ends. It lies where temporary files are (TMPDIR).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, Self

from gateway.errors import ConfigurationError
from gateway.orders.importing.cells import Row
from gateway.orders.importing.columns import Fault

AT_ONCE: Final = 500
"""Rows that are written together."""
CACHE_KIB: Final = 16 * 1024

_TABLES: Final = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -{CACHE_KIB};
CREATE TABLE row (line INTEGER PRIMARY KEY, name TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE bad (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE fault (line INTEGER NOT NULL, place INTEGER, name TEXT, text TEXT NOT NULL);
"""


class Spool:
    """Rows and faults of one file. Every method raises ConfigurationError where the disk is full."""

    def __init__(self) -> None:
        self._sql = sqlite3.connect("", isolation_level=None)
        self._rows: list[tuple[int, str, str]] = []
        self.faults = 0
        self.rows = 0

    def __enter__(self) -> Self:
        with _translating():
            self._sql.executescript(_TABLES)
            self._sql.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._sql.close()

    def add_row(self, row: Row, name: str) -> None:
        """Add a row. name: of its order."""
        self.rows += 1
        text = json.dumps(row.values, ensure_ascii=True, separators=(",", ":"))
        self._rows.append((row.line, name, text))
        if len(self._rows) == AT_ONCE:
            self._flush()

    def add_faults(self, faults: Iterable[Fault], order: str | None = None) -> None:
        """Add what is wrong. order: the order that it makes unusable, if it is known."""
        rows = [(each.line, each.column, each.name, each.text) for each in faults]
        self.faults += len(rows)
        with _translating():
            self._sql.executemany("INSERT INTO fault VALUES (?, ?, ?, ?)", rows)
            if rows and order is not None:
                self._sql.execute("INSERT OR IGNORE INTO bad VALUES (?)", (order,))

    def finish_reading(self) -> None:
        """All rows were added: they can be found by their orders now."""
        self._flush()
        with _translating():
            self._sql.execute("CREATE INDEX by_name ON row (name, line)")

    def count_orders(self) -> int:
        """How many orders there are, also those with faults."""
        with _translating():
            return int(self._sql.execute("SELECT count(DISTINCT name) FROM row").fetchone()[0])

    def orders(self) -> Iterator[tuple[str, Iterator[Row]]]:
        """Iterate over the orders without faults, each with its rows in the order of the file."""
        with _translating():
            found = self._sql.execute(
                "SELECT name, line, content FROM row WHERE name NOT IN bad ORDER BY name, line"
            )
            for name, rows in groupby(found, key=lambda each: each[0]):
                yield name, (Row(line, json.loads(content)) for _, line, content in rows)

    def list_faults(self, limit: int = -1) -> Iterator[Fault]:
        """Iterate over what is wrong, in the order of the file. limit: the most; -1 for all."""
        with _translating():
            for line, place, name, text in self._sql.execute(
                "SELECT line, place, name, text FROM fault ORDER BY line, place LIMIT ?", (limit,)
            ):
                yield Fault(line, text, place, name)

    def count_skipped(self) -> int:
        """How many rows belong to orders with faults."""
        with _translating():
            return int(self._sql.execute("SELECT count(*) FROM row WHERE name IN bad").fetchone()[0])

    def _flush(self) -> None:
        with _translating():
            self._sql.executemany("INSERT INTO row VALUES (?, ?, ?)", self._rows)
        self._rows.clear()


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - SQLite's own
        text = f"the rows cannot be kept below {folder} meanwhile: {error}. Make room there, or set TMPDIR"
        raise ConfigurationError([text]) from None

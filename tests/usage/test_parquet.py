"""The export as Parquet, read with DuckDB: the same as the report, in bounded memory, whole or not at all."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest

from gateway.database.engine import Database
from gateway.usage import parquet
from gateway.usage.events import Event
from gateway.usage.known_tokens import KnownToken
from gateway.usage.parquet import COLUMNS, ParquetMissing, export_downloads, load_pyarrow
from gateway.usage.queries import ReportFilter
from gateway.usage.repository import apply_events
from tests.support.usage import FILE, NOON, event

EVERYTHING = ReportFilter()


async def count(database: Database, *events: Event, test: bool = False) -> None:
    known = {each.token: KnownToken(None, "c1", test) for each in events}
    async with database.writing() as sql:
        await apply_events(sql, events, known)


def some(number: int) -> list[Event]:
    return [event(each, token=f"{each:032x}") for each in range(number)]


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query.format(f"read_parquet('{path}')")).fetchall()


async def test_duckdb_reads_it(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "downloads.parquet"
    hostile = FILE._replace(name='=a"\x1bü.zip')
    await count(
        database,
        event(0, token="a" * 32, spans=((0, 600),), client="203.0.113.7"),
        event(1, token="a" * 32, spans=((500, 1000),), agent="Wget/1.21", client="2001:db8::7"),
        event(2, token="b" * 32, spans=((0, 10),), file=hostile),
    )
    await count(database, event(9, token="c" * 32), test=True)
    seen: list[int] = []
    assert await export_downloads(path, database, EVERYTHING, seen.append) == 2
    assert seen == [2]
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [path.name]
    columns = ask(path, "DESCRIBE SELECT * FROM {}")
    assert [each[0] for each in columns] == list(COLUMNS)
    assert {each[1] for each in columns} == {"TIMESTAMP WITH TIME ZONE", "VARCHAR", "BIGINT"}
    query = (
        "SELECT product_id, version, file, size, bytes, covered, attempts, status, client, token_id, "
        "client_address, user_agent, epoch_ms(started_at), epoch_ms(completed_at) FROM {} ORDER BY started_at"
    )
    first, second = ask(path, query)
    assert first[:4] == ("drums", "1.0.0", "drums.zip", 1000)
    assert first[4:10] == (1100, 1000, 2, "completed", "curl", "a" * 32)
    assert first[10:] == ("2001:db8::7", "Wget/1.21", NOON // 1000, NOON // 1000 + 1500)
    assert (second[2], second[7], second[13]) == ('=a"\x1bü.zip', "started", None)


async def test_many_rows_are_several_groups(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PAGE", 7)
    monkeypatch.setattr(parquet, "ROW_GROUP", 21)
    await count(database, *some(50))
    path = tmp_path / "downloads.parquet"
    seen: list[int] = []
    assert await export_downloads(path, database, EVERYTHING, seen.append) == 50
    assert seen == [21, 42, 50]
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 3
    assert ask(path, "SELECT count(*), count(DISTINCT token_id), sum(bytes) FROM {}") == [(50, 50, 50_000)]
    only = ReportFilter(NOON // 1000 + 10_000, NOON // 1000 + 20_000)
    assert await export_downloads(path, database, only, seen.append) == 10


@pytest.mark.parametrize("rows", [0, 1, 6, 7, 14])
async def test_ends_of_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "PAGE", 7)
    monkeypatch.setattr(parquet, "ROW_GROUP", 7)
    if rows:
        await count(database, *some(rows))
    path = tmp_path / "x.parquet"
    assert await export_downloads(path, database, EVERYTHING, lambda _: None) == rows
    assert ask(path, "SELECT count(*) FROM {}") == [(rows,)]


async def test_what_is_broken_off_leaves_the_old_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("old")
    await count(database, *some(3))

    def fail(_row: Any) -> Any:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(parquet, "_values", fail)
    with pytest.raises(OSError, match="no space"):
        await export_downloads(path, database, EVERYTHING, lambda _: None)
    assert (os.listdir(tmp_path), path.read_text()) == ([path.name], "old")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return import_module(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ParquetMissing, match=r"pip install 'download-gateway\[parquet\]'"):
        load_pyarrow()

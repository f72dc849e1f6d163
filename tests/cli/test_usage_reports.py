"""`usage export | never-downloaded | shared`."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import duckdb
import pytest

from gateway.cli import main
from gateway.config.settings import Settings
from gateway.database.migrating import open_database
from gateway.orders.entitlements import HandGrant, grant_by_hand
from gateway.orders.mappings import Scope, Share
from gateway.usage.known_tokens import FoundToken, read_tokens, record_tokens
from gateway.usage.repository import apply_events
from tests.support.store_server import StoreServer
from tests.support.usage import TOKEN, event


async def _fill(settings: Settings) -> None:
    """A grant of which nothing was downloaded, and a link that eight networks use."""
    now = time.time_ns() // 1000
    made, ends = now // 1000, now // 1000 + 60_000
    values = ["drums", "1.0.0", str(made), str(ends), "jo@example.com", None, None, None, None]
    networks = [
        event(number, started=now + number, ended=now + number + 1, client=f"198.51.{number}.7")
        for number in range(8)
    ]
    async with open_database(settings) as database:
        async with database.writing() as sql:
            share = Share("drums", Scope.ALL)
            await grant_by_hand(sql, HandGrant("ann@example.com", "ann@example.com", share), 1)
        async with database.writing() as sql:
            await record_tokens(sql, [FoundToken(TOKEN, values, 1, 2)])
            await apply_events(sql, networks, await read_tokens(sql, [TOKEN]))


def test_reports(store: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(tmp_path), "--redis-url", store.url]
    for command, empty in (("shared", "No link looks shared"), ("never-downloaded", "was downloaded")):
        assert main(["usage", command, *options]) == 0
        assert empty in capsys.readouterr().err
    asyncio.run(_fill(Settings(data=tmp_path, redis_url=store.url)))
    assert main(["usage", "shared", *options]) == 0
    out = capsys.readouterr().out
    for part in (TOKEN, "networks 8", "198.51.0.0/24", "jo@example.com"):
        assert part in out
    assert main(["usage", "shared", "--json", *options]) == 0
    [link] = json.loads(capsys.readouterr().out)
    assert {each["reason"]: each["value"] for each in link["reasons"]}["networks"] == 8
    assert main(["usage", "never-downloaded", *options]) == 0
    out = capsys.readouterr().out
    for part in ("1970-01-01", "granted by hand", "drums", "nothing", "ann@example.com"):
        assert part in out
    assert main(["usage", "never-downloaded", "--json", "--product", "kit", *options]) == 0
    assert json.loads(capsys.readouterr().out) == []
    path = tmp_path / "downloads.parquet"
    assert main(["usage", "export", "--parquet", str(path), "--json", *options]) == 0
    written = json.loads(capsys.readouterr().out)
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
    assert rows == [(written["downloads"],)]
    assert written["downloads"] >= 1


@pytest.mark.slow
def test_what_cannot_be_written_is_one_line(
    store: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tmp_path), "--redis-url", store.url]
    for words, part in (
        (["--parquet", str(tmp_path / "none" / "x.parquet")], "cannot be written"),
        (["--parquet", str(tmp_path / "x.parquet"), "--from", "yesterday"], "--from"),
    ):
        assert main(["usage", "export", *words, *options]) == 1
        err = capsys.readouterr().err
        assert (len(err.splitlines()), part in err) == (1, True)

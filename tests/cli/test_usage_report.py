"""`usage`: the table, the chart and --json."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.usage_report import bar
from gateway.config.settings import Settings
from gateway.database.migrating import open_database
from gateway.usage.known_tokens import KnownToken
from gateway.usage.repository import apply_events
from tests.support.store_server import StoreServer
from tests.support.usage import TOKEN, event


@pytest.mark.parametrize(
    ("value", "most", "expected"),
    [(0, 10, ""), (10, 10, "████"), (5, 10, "██"), (1, 1000, "▏"), (9, 10, "███▌")],
)
def test_a_bar(value: int, most: int, expected: str) -> None:
    assert bar(value, most, 4) == expected


async def _fill(settings: Settings) -> None:
    now = time.time_ns() // 1000
    async with open_database(settings) as database, database.writing() as sql:
        sent = event(0, started=now, ended=now + 1)
        await apply_events(sql, [sent], {TOKEN: KnownToken(None, None, test=False)})


@pytest.mark.slow
def test_usage(store: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio  # noqa: PLC0415

    options = ["--data", str(tmp_path), "--redis-url", store.url]
    assert main(["usage", *options]) == 0
    assert "Nothing was downloaded" in capsys.readouterr().err
    asyncio.run(_fill(Settings(data=tmp_path, redis_url=store.url)))
    assert main(["usage", "--by", "version", *options]) == 0
    out = capsys.readouterr().out
    assert out.split("\n")[0].split() == [
        "FROM", "PRODUCT", "VERSION", "STARTED", "COMPLETED", "CUSTOMERS", "SENT"
    ]  # fmt: skip
    assert "drums" in out
    assert "█" in out
    assert main(["usage", "--json", "--period", "month", *options]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["started"], row["completed"], row["bytes"], row["customers"]) == (1, 1, 1000, 1)

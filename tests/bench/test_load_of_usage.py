"""The commands `events`, `flood` and `rates` of the bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.events import EVENTS_A_DOWNLOAD, EventSource, EventsPlan, measure
from bench.flood import address, request
from bench.testbed.machine import find_redis
from gateway.http.client_address import address_group
from gateway.usage.events import decode_batch

needs_redis = pytest.mark.skipif(find_redis() is None, reason="there is no Redis server")


async def test_the_events_are_those_of_workers_and_each_comes_once() -> None:
    source = EventSource(EventsPlan(events=2300))
    events = []
    while batches := await source.run(None, None, "group", "name", 2, 30_000):
        assert len(batches) <= 2
        for _, data, times in batches:
            assert times == 1
            events += decode_batch(data.encode("utf-8", "surrogateescape"))
    assert len({(event.worker, event.number) for event in events}) == 2300
    assert len({event.token for event in events}) == 2300 // EVENTS_A_DOWNLOAD
    assert 0.5 < sum(event.whole for event in events) / len(events) < 1
    assert await source.run(None, None, "group", 0, "1") == 0


@pytest.mark.slow
def test_events_are_applied_and_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    report = measure(EventsPlan(events=1200, scratch=tmp_path), lines.append)
    assert report.database_bytes > 100_000
    assert 0 < report.report_rows <= 1200 // EVENTS_A_DOWNLOAD
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 10_000, 100_000])
def test_each_client_of_a_flood_has_an_address_of_its_own(count: int) -> None:
    assert len({address_group(address(number)) for number in range(count)}) == count
    assert b"X-Forwarded-For: 198.18.0.1\r\n" in request("ct_x", address(0))
    assert b"X-Forwarded-For" not in request("ct_x", "")


def test_a_direct_flood_has_one_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flood", "--direct", "--addresses", "2"]) != 0
    assert "leave --addresses out" in capsys.readouterr().err


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("flood", "--seconds", "1", "--rate", "300", "--honest-rate", "50", "--workers", "1"), "p99_ratio"),
        (("flood", "--seconds", "1", "--rate", "1500", "--honest-rate", "50", "--direct"), "p99_ratio"),
        (("rates", "--seconds", "1", "--connections", "3", "--rate", "200000"), "share"),
    ],
)
def test_a_short_run(tmp_path: Path, words: tuple[str, ...], wanted: str) -> None:
    out = tmp_path / "out.json"
    assert main([*words, "--json", str(out)]) == 0
    figures: dict[str, Any] = json.loads(out.read_text())
    assert figures[wanted] > 0


def test_what_cannot_be_measured_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("events", "--database", "mysql://x")) == 1
    assert capsys.readouterr().err.startswith("bench: ")

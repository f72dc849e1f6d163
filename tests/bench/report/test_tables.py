"""Targets, tables, and the page."""

import json
import re
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.report.figures import FIGURES, Result, Target
from bench.report.page import render
from bench.report.tables import show, target_rows, write_json, write_markdown
from bench.scenarios import SCENARIOS

MACHINE = {"date": "a day", "cpu": "fast <one>", "congestion control": "vegas"}


@pytest.fixture
def result() -> Result:
    return Result(
        "small",
        "1 KiB & more",
        ("rps", "p99_ms", "cpu_us"),
        (Target("rps", 1.5, "nginx-lua"), Target("rps", 10, "plain"), Target("p99_ms", 2, at="most")),
        {
            "gateway": [
                {"rps": 30.0, "p99_ms": 1.0, "cpu_us": 30.0},
                {"rps": 10.0, "p99_ms": 3.0, "cpu_us": 50.0},
            ],
            "nginx-lua": [
                {"rps": 15.0, "p99_ms": 0.5, "cpu_us": 15.0},
                {"rps": 5.0, "p99_ms": 0.7, "cpu_us": 17.0},
            ],
        },
        {"plain": "is <missing>: install it"},
        ["a note"],
    )


def test_each_target_is_beside_what_was_reached(result: Result) -> None:
    assert target_rows(result) == [
        ("requests ≥ 1.5 × nginx-lua", "2.00 × (2.00–2.00)", "met"),
        ("requests ≥ 10 × plain", "not measured", ""),
        ("p99 ≤ 2 ms", "2.00 (1.00–3.00)", "met"),
    ]


@pytest.mark.parametrize(
    ("at", "value", "met"),
    [("least", 2, True), ("least", 1.99, False), ("most", 2, True), ("most", 2.01, False)],
)
def test_a_target_is_met_or_missed(at: Literal["least", "most"], value: float, met: bool) -> None:
    assert Target("rps", 2, at=at).met(value) is met


def test_a_target_without_one_of_its_sides_is_not_measured(result: Result) -> None:
    assert Target("mbps", 1, "nginx-lua").reached(result.rounds) is None
    assert Target("rps", 1, "nobody").reached(result.rounds) is None
    assert Target("rps", 1, subject="nobody").reached(result.rounds) is None


def test_the_json_has_every_round(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_json(path, [result], MACHINE, {"rounds": 2})
    plain = json.loads(path.read_text())
    [scenario] = plain["scenarios"]
    assert [sample["rps"] for sample in scenario["rounds"]["gateway"]] == [30, 10]
    assert [target["met"] for target in scenario["targets"]] == [True, None, True]
    assert plain["machine"] == MACHINE


def test_the_page_loads_nothing_and_its_plots_are_well_formed(result: Result) -> None:
    page = render([result], MACHINE, {"rounds": 2})
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|https?://""", page)
    assert "prefers-color-scheme: dark" in page
    assert "is &lt;missing&gt;" in page
    assert "rounds 2 · congestion control vegas ·" in page
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 3  # requests, CPU, latency
    for plot in plots:
        shapes = {element.tag for element in ElementTree.fromstring(plot).iter()}
        assert shapes & {"rect", "circle"}


def test_a_scenario_that_nobody_finished_is_reported_too(tmp_path: Path) -> None:
    empty = Result(
        "slow", "title", ("memory_kib",), (Target("memory_kib", 12, at="most"),), absent={"gateway": "no"}
    )
    assert "<svg" not in render([empty], MACHINE, {})
    console = Console(width=100, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    show([empty], {"congestion control": "cubic", "network": "a [namespace]"}, console)
    console.file.close()
    text = console.export_text()
    assert "not measured" in text
    assert "congestion control cubic; network a [namespace]" in text
    path = tmp_path / "RESULTS.md"
    write_markdown(path, [empty], MACHINE, {})
    assert "- gateway: no" in path.read_text()


@pytest.mark.parametrize(
    ("others", "load", "server", "words"),
    [
        (0, 50, 99, []),
        (40, 50, 55, ["others used the server's CPU (gateway 40 %)"]),
        (5, 99, 60, ["could do more"]),
        (5, 99, 99, []),
    ],
)
def test_a_result_warns_when_its_figures_say_less_than_they_seem_to(
    result: Result, others: float, load: float, server: float, words: list[str]
) -> None:
    result.rounds = {"gateway": [{"others": others, "load_busy": load, "server_busy": server}]}
    warnings = result.warnings()
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_every_scenario_shows_known_figures_and_has_its_own_name() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    for scenario in SCENARIOS:
        assert set(scenario.shown) <= set(FIGURES)
        assert {target.figure for target in scenario.targets} <= set(FIGURES)

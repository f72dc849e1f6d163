"""A real comparison, as small as possible: the gateway and one peer, one round of a second."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.compare import choose_peers, choose_scenarios
from bench.errors import BenchError
from bench.scenarios import SCENARIOS
from bench.testbed.machine import find_redis, tool_path
from bench.testbed.network import DEFAULT
from bench.testbed.usage import descendants

ROOT = Path(__file__).parents[2]


def bench_compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a process of its own, because it enters a network namespace and cannot leave it."""
    return subprocess.run(
        [sys.executable, "-m", "bench", "compare", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not (tool_path("wrk") and find_redis()), reason="needs wrk and a Redis server")
@pytest.mark.slow
@pytest.mark.alone
def test_one_round_of_the_gateway_and_plain(tmp_path: Path) -> None:
    before = set(descendants(os.getpid()))
    scratch, page = tmp_path / "scratch", tmp_path / "page.html"
    scratch.mkdir()
    options = {
        "--scenario": "small",
        "--peers": "plain",
        "--rounds": "1",
        "--seconds": "1",
        "--tokens-count": "500",
        "--scratch": str(scratch),
        "--json": str(tmp_path / "out.json"),
        "--html": str(page),
    }
    done = bench_compare(*(part for pair in options.items() for part in pair))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    machine, [scenario] = report["machine"], report["scenarios"]
    assert machine["congestion control"] == DEFAULT or "refused" in machine["network"]
    for text in (done.stdout, done.stderr):
        assert f"congestion control {machine['congestion control']}; network {machine['network']}" in text
    assert not scenario["absent"]
    assert set(scenario["rounds"]) == {"gateway", "plain"}
    for [sample] in scenario["rounds"].values():
        assert sample["rps"] > 0
        assert sample["cpu_us"] > 0
    [over_lua, over_plain] = scenario["targets"]
    assert over_lua["reached"] is None
    assert over_plain["reached"] > 0
    assert page.read_text().count("<svg") == 3
    assert machine["network"] in page.read_text().replace("&#x27;", "'")
    assert "1.5 × nginx-lua" in done.stdout
    assert list(scratch.iterdir()) == []  # everything that was made is removed
    assert set(descendants(os.getpid())) <= before


def test_scenarios_are_chosen_by_name_or_group() -> None:
    assert [scenario.name for scenario in choose_scenarios(["large"])] == ["large-1", "large-32"]
    assert [scenario.name for scenario in choose_scenarios(["small"])] == ["small"]
    assert choose_scenarios([]) == SCENARIOS
    with pytest.raises(BenchError, match="there are small"):
        choose_scenarios(["quick"])


def test_the_gateway_always_takes_part_and_comes_first() -> None:
    assert choose_peers(["plain"]) == ("gateway", "plain")
    assert choose_peers(["plain", "gateway"]) == ("gateway", "plain")
    assert choose_peers([])[0] == "gateway"
    with pytest.raises(BenchError, match="no peer"):
        choose_peers(["apache"])


@pytest.mark.slow
def test_an_unknown_congestion_control_ends_it_at_once() -> None:
    done = bench_compare("--scenario", "small", "--congestion", "bbrr")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("bench: there is no congestion control 'bbrr'; there are ")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["compare", "--rounds", "0"], "must be a whole number of at least 1"),
        (["compare", "--rounds", "many"], "must be a whole number of at least 1"),
        (["compare", "--seconds", "0.5"], "must be from 1 to 600"),
        (["compare", "--seconds", "1e9"], "must be from 1 to 600"),
        (["compare", "--seconds", "nan"], "must be from 1 to 600"),
        (["compare", "--seconds", "long"], "must be from 1 to 600"),
        (["inbox", "--rate", "0"], "must be more than 0 and at most 100000"),
        (["flood", "--rate", "1e9"], "must be more than 0 and at most 100000"),
        (["flood", "--honest-rate", "fast"], "must be more than 0 and at most 100000"),
        (["pages", "--scratch", "{folder}/none"], "none is not a folder: make it first"),
        (["events", "--scratch", "{folder}/file"], "file is not a folder: make it first"),
        (["rates", "--json", "{folder}/none/rates.json"], "none is not a folder: make it first"),
        (["compare", "--html", "{folder}"], "is a folder: name a file in it"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(
    arguments: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main([each.format(folder=tmp_path) for each in arguments])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {arguments[1]}: " in last
    assert fault in last

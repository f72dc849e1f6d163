"""Each scenario for a second, with small files and few clients: the gateway has all figures shown.

It covers the modules of bench/scenarios/, and with them bench/load/control.py, process.py, slow_clients.py
and cold_reads.py, bench/peers/gateway.py and checks.py, and bench/testbed/testbed.py and redis.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import ComparisonPlan, compare
from bench.load.control import LoadOptions
from bench.scenarios import SCENARIOS, Scenario
from bench.scenarios.disturbed import Slow
from bench.scenarios.transfers import TokenMemory
from bench.testbed import testbed
from bench.testbed.machine import find_redis, tool_path
from bench.testbed.testbed import BIG, OBJECT, SMALL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,  # where no network of its own is allowed, two of these would use the same ports
    pytest.mark.skipif(
        not (find_redis() and tool_path("nginx") and tool_path("wrk")), reason="needs nginx, Redis and wrk"
    ),
]
SIZES = {SMALL: 1024, BIG: 8 << 20, OBJECT: 8 << 20}


ONCE = [scenario for scenario in SCENARIOS if not scenario.name.endswith("-32")]
"""Of two that differ in the number of connections only the first."""


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.name)
def test_a_scenario_gives_all_its_figures(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in SIZES.items():
        monkeypatch.setitem(testbed.SIZES, name, size)
    monkeypatch.setattr(Slow, "clients", 20)
    monkeypatch.setattr(TokenMemory, "tokens", 1000)
    steps: list[str] = []
    plan = ComparisonPlan((scenario,), ("gateway",), 1, LoadOptions(4, 1.0), 50, tmp_path)
    [result] = compare(plan, steps.append)
    if any("in memory, not on a disk" in reason for reason in result.absent.values()):
        pytest.skip("the temporary folder is in memory")
    assert not result.absent, steps
    assert not [note for note in result.notes if "missing" in note]
    assert result.rounds
    for [sample] in result.rounds.values():
        assert set(scenario.shown) <= set(sample)
        assert all(value >= 0 for name, value in sample.items() if name not in {"memory_kib", "kernel_kib"})

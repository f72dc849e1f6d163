"""Counters: shared with the supervisor, and summed over running and ended processes."""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.runtime.metrics import (
    BYTES_SENT,
    CONNECTIONS,
    METRICS,
    REFUSALS,
    RESPONSES,
    Counters,
    Totals,
    new_block,
    render,
)

CHILD = """
import sys
from gateway.runtime.metrics import *
counters = Counters(int(sys.argv[1]))
counters.add(BYTES_SENT, 2**40)
counters.add(CONNECTIONS, 3)
"""


def test_what_a_child_counts_is_seen_and_kept_when_it_ends_but_not_what_was_open() -> None:
    totals = Totals()
    blocks = []
    for _ in range(2):
        memory = new_block()
        subprocess.run([sys.executable, "-c", CHILD, str(memory)], pass_fds=(memory,), check=True)
        blocks.append(Counters(memory))
        os.close(memory)
        totals.watch(blocks[-1])
    assert (totals.values()[BYTES_SENT], totals.values()[CONNECTIONS]) == (2 * 2**40, 6)
    totals.retire(blocks[0])
    totals.retire(blocks[0])
    assert (totals.values()[BYTES_SENT], totals.values()[CONNECTIONS]) == (2 * 2**40, 3)


def test_a_gauge_may_fall_below_zero() -> None:
    counters = Counters()
    counters.add(CONNECTIONS, -1)
    assert counters.values()[CONNECTIONS] == -1


def test_prometheus_text() -> None:
    counters = Counters()
    counters.add(RESPONSES[206], 5)
    counters.add(REFUSALS["limit_reached"])
    lines = list(render(counters.values()))
    assert 'gateway_responses_total{status="206"} 5' in lines
    assert 'gateway_refusals_total{code="limit_reached"} 1' in lines
    assert lines.count("# TYPE gateway_responses_total counter") == 1
    assert lines.count("# TYPE gateway_connections gauge") == 1
    assert len([line for line in lines if not line.startswith("#")]) == len(METRICS)
    assert len({(metric.name, metric.label) for metric in METRICS}) == len(METRICS)
    groups = [metric.name for index, metric in enumerate(METRICS) if metric.name != METRICS[index - 1].name]
    assert len(groups) == len(set(groups)), "the lines of one metric must stand together"

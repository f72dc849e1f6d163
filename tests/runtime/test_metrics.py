"""Counters: shared with the supervisor, and summed over running and ended processes."""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.runtime.metrics import (
    BYTES_SENT,
    CONNECTIONS,
    FIRST_BYTE,
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
    histograms = {metric.name for metric in METRICS if metric.kind == "histogram"}
    # a histogram has one line more than numbers: its count
    assert len([line for line in lines if not line.startswith("#")]) == len(METRICS) + len(histograms)
    assert len({(metric.name, metric.label) for metric in METRICS}) == len(METRICS)
    groups = [metric.name for index, metric in enumerate(METRICS) if metric.name != METRICS[index - 1].name]
    assert len(groups) == len(set(groups)), "the lines of one metric must stand together"


def test_a_histogram_counts_what_is_below_each_end() -> None:
    counters = Counters()
    for seconds in (0.0, 0.0005, 0.00051, 0.3, 11.0):
        counters.observe(FIRST_BYTE, seconds)
    lines = [line for line in render(counters.values()) if line.startswith("gateway_first_byte_seconds")]
    counts = {line.split('"')[1]: int(line.split()[-1]) for line in lines if "_bucket{" in line}
    assert counts["0.0005"] == 2
    assert counts["0.001"] == counts["0.25"] == 3
    assert counts["0.5"] == counts["10"] == 4
    assert counts["+Inf"] == 5
    assert lines[-2:] == ["gateway_first_byte_seconds_sum 11.301010", "gateway_first_byte_seconds_count 5"]

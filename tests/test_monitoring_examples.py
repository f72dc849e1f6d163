"""config/prometheus and config/grafana: the rules hold, and name only metrics that the gateway has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from gateway.runtime.metrics import METRICS, render
from gateway.supervisor.monitoring import Health, _render_health
from tests.support.programs import need

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "config" / "prometheus"
DASHBOARD = ROOT / "config" / "grafana" / "download-gateway.json"
NAME = re.compile(r"\bgateway_[a-z_]+")


def sample_names() -> set[str]:
    """The name of every line of /metrics."""
    child = {"name": "worker 0", "state": "running", "restarts": 0}
    lines = [*render([0] * len(METRICS)), *_render_health(Health("ok", [child], None))]
    return {found[0] for line in lines if not line.startswith("#") and (found := NAME.match(line))}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    command = [need("promtool"), *arguments]
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_name_metrics_that_exist() -> None:
    named = set(NAME.findall((PROMETHEUS / "alerts.yml").read_text()))
    assert len(named) > 10
    assert named <= sample_names() | {metric.name for metric in METRICS}  # the texts name histograms


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    text = (PROMETHEUS / "alerts.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    tests = (PROMETHEUS / "alerts_test.yml").read_text()
    assert [alert for alert in alerts if alert not in tests] == []
    assert text.count("summary:") == text.count("action:") == len(alerts)


def test_the_dashboard_shows_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert all(panel["title"] and panel["description"] for panel in panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    named = {name for expression in expressions for name in NAME.findall(expression)}
    assert named <= sample_names()
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert shown >= {metric.name for metric in METRICS}, "each metric has a place on the dashboard"

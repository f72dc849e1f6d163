"""The results as one HTML page, light and dark. Its plots are SVG made here, and it loads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.report.figures import FIGURES, Result
from bench.report.tables import facts_line, number, result_rows, target_rows

PLOT_WIDTH = 860
LABEL_WIDTH = 120
VALUE_WIDTH = 190
ROW_HEIGHT = 30
BAR_HEIGHT = 18
LATENCIES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1c20; --dim: #5c6370; --line: #d8dbe0;
  --ours: #1f6feb; --theirs: #8a94a3; --met: #1a7f37; --missed: #b3261e; --p50: #9ecbff; --p90: #58a6ff;
  --p99: #1f6feb; --p999: #0b3d91; }
@media (prefers-color-scheme: dark) { :root { --back: #14161a; --text: #e8eaed; --dim: #9aa2ad;
  --line: #343941; --ours: #58a6ff; --theirs: #6b7480; --met: #4ac26b; --missed: #ff7b72; --p50: #1d4f8f;
  --p90: #2f81f7; --p99: #79c0ff; --p999: #cfe6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 60rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .2rem; }
h3 { font-size: .85rem; font-weight: 600; color: var(--dim); margin: 1rem 0 .2rem; }
p { margin: .3rem 0; } .dim { color: var(--dim); font-size: .9rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); vertical-align: bottom; }
th:first-child, td:first-child, .words td { text-align: left; }
.wide { overflow-x: auto; } .met { color: var(--met); } .missed { color: var(--missed); }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--text); } svg .dim { fill: var(--dim); font-size: 12px; }
.ours { fill: var(--ours); } .theirs { fill: var(--theirs); }
.whisker { stroke: var(--text); stroke-width: 1.5; } .grid { stroke: var(--line); }
.p50_ms { fill: var(--p50); } .p90_ms { fill: var(--p90); } .p99_ms { fill: var(--p99); }
.p999_ms { fill: var(--p999); }
"""


def bars(result: Result, figure: str) -> str:
    """A bar for each participant with its median, and a whisker from the least to the greatest round."""
    rows = [(name, result.spread(name, figure)) for name in result.rounds]
    known = [(name, spread) for name, spread in rows if spread is not None]
    most = max((spread.most for _, spread in known), default=0.0)
    if not most > 0:
        return ""
    room = PLOT_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts = []
    for index, (name, spread) in enumerate(known):
        top = index * ROW_HEIGHT
        middle = top + ROW_HEIGHT / 2
        width, least, end = (
            max(0.0, room * value / most) for value in (spread.median, spread.least, spread.most)
        )
        kind = "ours" if _is_ours(name) else "theirs"
        median = f"{number(spread.median, figure)} {FIGURES[figure].unit}"
        extremes = f"{number(spread.least, figure)}–{number(spread.most, figure)}"
        parts.append(
            f'<text x="{LABEL_WIDTH - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{middle - BAR_HEIGHT / 2:.1f}" width="{width:.1f}" '
            f'height="{BAR_HEIGHT}" rx="2"><title>{escape(name)}: {median} ({extremes})</title></rect>'
            f'<line class="whisker" x1="{LABEL_WIDTH + least:.1f}" x2="{LABEL_WIDTH + end:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
            f'<text x="{LABEL_WIDTH + max(width, end) + 8:.1f}" y="{middle + 4:.1f}">{escape(median)}'
            f'<tspan class="dim" dx="6">{extremes if spread.least != spread.most else ""}</tspan></text>'
        )
    return _drawing(parts, len(known) * ROW_HEIGHT, f"{FIGURES[figure].title} by participant")


def latencies(result: Result) -> str:
    """The percentiles of each participant as points on one logarithmic scale."""
    known = {}
    for participant in result.rounds:
        spreads = {name: result.spread(participant, name) for name in LATENCIES}
        points = {name: spread.median for name, spread in spreads.items() if spread and spread.median > 0}
        if points:
            known[participant] = points
    values = [value for points in known.values() for value in points.values()]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    room = PLOT_WIDTH - LABEL_WIDTH - 40
    height = len(known) * ROW_HEIGHT

    def across(value: float) -> float:
        return LABEL_WIDTH + room * (math.log10(value) - low) / (high - low)

    parts = []
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>'
            f'<text class="dim" x="{x:.1f}" y="{height + 16}" text-anchor="middle">{10.0**power:g} ms</text>'
        )
    for index, (label, points) in enumerate(known.items()):
        middle = index * ROW_HEIGHT + ROW_HEIGHT / 2
        parts.append(
            f'<text x="{LABEL_WIDTH - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        )
        parts.extend(
            f'<circle class="{name}" cx="{across(value):.1f}" cy="{middle:.1f}" r="6">'
            f"<title>{escape(label)}: {FIGURES[name].title} {number(value, name)} ms</title></circle>"
            for name, value in points.items()
        )
    legend = LABEL_WIDTH
    for name in LATENCIES:
        parts.append(
            f'<circle class="{name}" cx="{legend + 6}" cy="{height + 36}" r="5"/>'
            f'<text class="dim" x="{legend + 16}" y="{height + 40}">{FIGURES[name].title}</text>'
        )
        legend += 70
    return _drawing(parts, height + 48, "Latency percentiles by participant, logarithmic")


def _is_ours(participant: str) -> bool:
    return participant == "gateway" or participant.endswith(("worker", "workers"))


def _drawing(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {PLOT_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table. Its text is escaped here."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="{_verdict(cell)}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'


def _verdict(cell: str) -> str:
    return cell if cell in ("met", "missed") else ""


def _section(result: Result) -> str:
    parts = [f'<section id="{escape(result.name)}"><h2>{escape(result.name)}</h2>']
    parts.append(f'<p class="dim">{escape(result.title)}</p>')
    drawn = [name for name in result.shown if name not in LATENCIES][:1]
    for name in (*drawn, *(["cpu_us"] if "cpu_us" in result.shown else [])):
        if picture := bars(result, name):
            better = "more is better" if FIGURES[name].good == "more" else "less is better"
            parts.append(f"<h3>{escape(FIGURES[name].title)}, {FIGURES[name].unit} ({better})</h3>{picture}")
    if picture := latencies(result):
        parts.append(f"<h3>Latency</h3>{picture}")
    if result.targets:
        rows = [[text, reached, verdict] for text, reached, verdict in target_rows(result)]
        parts.append(table(("target", "reached (rounds)", ""), rows, "words"))
    heads, rows = result_rows(result)
    if rows:
        parts.append(f"<h3>Medians, and least to greatest round</h3>{table(heads, rows)}")
    parts += [
        f'<p class="dim">{escape(name)}: {escape(reason)}</p>' for name, reason in result.absent.items()
    ]
    parts += [f'<p class="dim">{escape(note)}</p>' for note in (*result.notes, *result.warnings())]
    return "".join(parts) + "</section>"


def render(results: Sequence[Result], machine: Mapping[str, str], settings: Mapping[str, object]) -> str:
    """The whole page as HTML."""
    overview = [
        [result.name, text, reached, verdict]
        for result in results
        for text, reached, verdict in target_rows(result)
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Download gateway: side by side</title><style>{STYLE}</style></head><body>"
        "<h1>The gateway beside its peers</h1>"
        f"<p class='dim'>{escape(machine.get('date', ''))} · {escape(facts_line(settings))}"
        f" · congestion control {escape(machine.get('congestion control', 'unknown'))}"
        " · one server on one CPU, load and Redis on another, alternating rounds; medians</p>"
        f"<h2>Targets</h2>{table(('scenario', 'target', 'reached (rounds)', ''), overview, 'words')}"
        + "".join(_section(result) for result in results)
        + "<h2>The machine</h2>"
        + table(("", ""), list(machine.items()), "words")
        + "</body></html>\n"
    )


def write_page(
    path: Path, results: Sequence[Result], machine: Mapping[str, str], settings: Mapping[str, object]
) -> None:
    """Write the page to a file."""
    path.write_text(render(results, machine, settings))

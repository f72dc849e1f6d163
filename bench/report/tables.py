"""Writes the results as tables for a terminal, as JSON, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report.figures import FIGURES, LoadReport, Result
from bench.report.stats import Spread


def number(value: float, figure: str) -> str:
    """A value of a figure, formatted for people."""
    return f"{value:,.{FIGURES[figure].digits}f}"


def spread_text(spread: Spread | None, figure: str) -> str:
    """Median and extremes, formatted; a dash where there is no value."""
    if spread is None:
        return "–"
    if spread.least == spread.most:
        return number(spread.median, figure)
    return f"{number(spread.median, figure)} ({number(spread.least, figure)}–{number(spread.most, figure)})"


def target_rows(result: Result) -> list[tuple[str, str, str]]:
    """For each target its text, the value that was reached, and whether it was met."""
    rows = []
    for target in result.targets:
        reached = target.reached(result.rounds)
        if reached is None:
            rows.append((target.text, "not measured", ""))
            continue
        sign = " ×" if target.against else ""
        text = f"{reached.median:.2f}{sign} ({reached.least:.2f}–{reached.most:.2f})"
        rows.append((target.text, text, "met" if target.met(reached.median) else "missed"))
    return rows


def result_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a scenario's table: a row for each participant, a column for each figure.

    The last column is the ratio of the first figure.
    """
    shown = [name for name in result.shown if any(result.spread(other, name) for other in result.rounds)]
    heads = ["", *(f"{FIGURES[name].title} ({FIGURES[name].unit})" for name in shown)]
    first = shown[0] if shown else ""
    ratios = result.ratios(first) if first else {}
    if ratios:
        heads.append("gateway / it")
    rows = []
    for participant in result.rounds:
        row = [participant, *(spread_text(result.spread(participant, name), name) for name in shown)]
        if ratios:
            ratio = ratios.get(participant)
            row.append(f"{ratio.median:.2f}" if ratio else "")
        rows.append(row)
    return heads, rows


def facts_line(facts: Mapping[str, object]) -> str:
    """Facts as one line of text."""
    return "; ".join(f"{name} {value}" for name, value in facts.items())


def show(results: Sequence[Result], network: Mapping[str, str], console: Console) -> None:
    """Print all results. network: the facts of the network, without which figures say little."""
    console.print(facts_line(network), highlight=False, markup=False, soft_wrap=True)
    for result in results:
        if not result.rounds:
            console.print(f"[bold]{result.name}[/]: {result.title}", highlight=False)
            _show_notes(result, console)
            continue
        heads, rows = result_rows(result)
        table = Table(title=f"{result.name}: {result.title}", title_justify="left", title_style="bold")
        for index, head in enumerate(heads):
            table.add_column(head, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        _show_notes(result, console)


def _show_notes(result: Result, console: Console) -> None:
    """Print targets, absent participants, and notes."""
    for text, reached, verdict in target_rows(result):
        colour = {"met": "green", "missed": "red"}.get(verdict, "yellow")
        console.print(f"  target {text}: [bold]{reached}[/] [{colour}]{verdict}[/]", highlight=False)
    for name, reason in result.absent.items():
        console.print(f"  {name}: {reason}", style="yellow", highlight=False, markup=False)
    for note in (*result.notes, *result.warnings()):
        console.print(f"  {note}", style="yellow", highlight=False, markup=False)
    console.print()


def show_load(report: LoadReport, console: Console) -> None:
    """Print the report of `load`."""
    table = Table(title=report.generator, title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in report.figures.items():
        table.add_row(FIGURES[name].title, f"{number(value, name)} {FIGURES[name].unit}")
    for status, count in sorted(report.statuses.items()):
        table.add_row(f"status {status}", f"{count:,}")
    for reason, count in sorted(report.faults.items()):
        table.add_row(f"fault: {reason}", f"{count:,}")
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", style="yellow", highlight=False, markup=False)


def write_json(
    path: Path, results: Sequence[Result], machine: Mapping[str, str], settings: Mapping[str, object]
) -> None:
    """Write every round's figures as JSON."""
    data = {
        "machine": dict(machine),
        "settings": dict(settings),
        "scenarios": [result.to_json() for result in results],
    }
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write_markdown(
    path: Path, results: Sequence[Result], machine: Mapping[str, str], settings: Mapping[str, object]
) -> None:
    """Write the run as a document for the repository."""
    lines = [
        "# Results of the newest run",
        "",
        "Written by `python -m bench compare --write-results`; [README.md](README.md) says how to read it,",
        "and what each figure does not say. Medians, with the least and the greatest round in brackets.",
        "",
        f"{facts_line(settings)}.",
        "",
        *_markdown(("machine", ""), list(machine.items())),
        "## Targets",
        "",
        *_markdown(
            ("scenario", "target", "reached", ""),
            [(result.name, *row) for result in results for row in target_rows(result)],
        ),
    ]
    for result in results:
        heads, rows = result_rows(result)
        lines += [f"## {result.name}", "", f"{result.title}.", ""]
        if rows:
            lines += _markdown(heads, rows)
        lines += [f"- {name}: {reason}" for name, reason in result.absent.items()]
        lines += [f"- {note}" for note in (*result.notes, *result.warnings())]
        if lines[-1]:
            lines.append("")
    path.write_text("\n".join(lines).rstrip() + "\n")


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, and the empty line after it."""
    return [
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]

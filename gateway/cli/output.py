"""Output for people: tables that never cut an id, and times. Nothing here prints JSON.

On a terminal, rich draws the tables as wide as their content needs. The terminal wraps what does not fit, so
that an id can still be copied whole. Elsewhere the tables are plain aligned text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

COLORS: Final = {
    "ok": "green",
    "active": "green",
    "warn": "yellow",
    "exhausted": "yellow",
    "archived": "yellow",
    "fail": "bold red",
    "revoked": "red",
}
"""The colours of the words that stand out in a table."""


def clean(text: object) -> str:
    """Escape control characters, because a terminal would execute them."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in str(text)
    )


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, wrap_last: bool = False) -> None:
    """Print rows below headings. wrap_last: a terminal may break the last column, which is prose."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(column, no_wrap=not (wrap_last and index == len(columns) - 1))
        for row in cells:
            table.add_row(*(Text(cell, style=COLORS.get(cell, "")) for cell in row))
        Console().print(table) if wrap_last else _print_whole(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in (columns, *cells):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(padded.rstrip() + "\n")


def show_record(fields: Sequence[tuple[str, object]]) -> None:
    """Print one line for each name and value. Pairs whose value is None are left out."""
    shown = [(name, clean(value)) for name, value in fields if value is not None]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        sys.stdout.write(f"{name.ljust(width)}  {value}\n")


def note(text: str) -> None:
    """Print a message for people on standard error, beside the result."""
    sys.stderr.write(clean(text) + "\n")


@contextmanager
def count_progress(total: int, label: str) -> Iterator[Callable[..., None]]:
    """Draw a progress bar on standard error if that is a terminal.

    Yields what to call after each item, or with a number after some.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count=1: bar.advance(task, count)


def count_of(number: int, noun: str) -> str:
    """Write a number with its noun: `1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_time(milliseconds: int) -> str:
    """Write milliseconds since 1970 for people, to the second."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _print_whole(table: Table) -> None:
    console = Console()
    needed = Measurement.get(console, console.options.update(width=10_000), table).maximum
    Console(width=max(needed, console.width)).print(table, soft_wrap=needed > console.width)

"""Naming the hidden files that were left out of a folder, so that nobody misses one without knowing why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.products.scanning import printable

MAX_NAMED: Final = 20
"""How many are named. Of the others only the number is shown: a folder of a program may have thousands."""


def left_out_data(skipped: Sequence[Path | str]) -> dict[str, Any]:
    """What JSON output says of them: how many there are, and the first of them, folders with a slash."""
    return {"count": len(skipped), "named": [_name(each) for each in skipped[:MAX_NAMED]]}


def left_out_lines(skipped: Sequence[Path | str]) -> Iterator[str]:
    """Lines for a person; none when nothing was left out."""
    if not skipped:
        return
    yield f"Left out {len(skipped)} hidden {'file' if len(skipped) == 1 else 'files'}:"
    yield from (f"  {_name(each)}" for each in skipped[:MAX_NAMED])
    if len(skipped) > MAX_NAMED:
        yield f"  and {len(skipped) - MAX_NAMED} more"


def _name(skipped: Path | str) -> str:
    if isinstance(skipped, str):
        return skipped
    return printable(skipped) + ("/" if skipped.is_dir() and not skipped.is_symlink() else "")

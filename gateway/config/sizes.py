"""Sizes as people write them: `1048576`, `50 GiB`, `1.5TiB`, `500MB`."""

from __future__ import annotations

import re
from typing import Final

BYTES: Final = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
}
"""What each unit is in bytes (IEC 80000-13). A number without one is in bytes; `50G` could mean either."""

_UNITS: Final = {unit.lower(): size for unit, size in BYTES.items()}
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes, from a number with or without a unit. Raises ValueError saying what to write."""
    match = _SIZE.fullmatch(text.strip().lower())
    size = _UNITS.get(match[2] or "b") if match else None
    if match is None or size is None or ("." in match[1] and size == 1):
        raise ValueError(
            f"{text[:40]!r} is not a size: write bytes (1048576) or a unit (500 MiB, 50 GiB, 1 TB)"
        )
    return int(match[1]) * size if match[1].isdigit() else int(float(match[1]) * size)


def show_size(size: int) -> str:
    """The shortest exact way to write a size with a binary unit: 10737418240 is `10 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % BYTES[unit] == 0:
            return f"{size // BYTES[unit]} {unit}"
    return f"{size} B"

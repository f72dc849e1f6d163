"""Times as people write them: `90`, `1.5h`, `1h30m`, `500ms`, `7d`."""

from __future__ import annotations

import math
import re
from typing import Final

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""What each unit is in seconds. A number without one is in seconds."""

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds, from a number of seconds or from parts with units. Raises ValueError saying what to write."""
    text = text.strip().lower()
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        raise ValueError(
            f"{text[:40]!r} is not a time: write seconds (90) or a time with a unit (90s, 15m, 24h, 7d)"
        )
    return math.fsum(float(number) * SECONDS[unit] for number, unit in parts)


def show_duration(seconds: float) -> str:
    """The shortest exact way to write a time with one unit: 86400 is `1d`, 90 is `90s`."""
    for unit in ("d", "h", "m"):
        count = seconds / SECONDS[unit]
        if count >= 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return f"{seconds:g}s"

"""Byte sizes and durations as people write them: `50 GiB`, `1.5TiB`, `500MB`; `90`, `1h30m`, `7d`.

The module is pure: it uses no clock, no settings and no I/O, so the HTTP rules may import it too.

    parse_size("50 GiB")        53687091200 bytes
    format_size(1536)           "1.5 KiB": rounded, for people
    format_exact_size(1536)     "1536 B": what parse_size reads back as the same number
    parse_duration("1h30m")     5400.0 seconds
    format_duration(86400)      "1d": exact as well

A text that could mean two things is refused, with what to write: `50G`, `500Mb` (bits), `1M`, months, years.
"""

from __future__ import annotations

import math
import re
from typing import Final

BYTES: Final = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
}
"""How many bytes each unit is (IEC 80000-13). A number without a unit is in bytes. `50G` is refused, because
it could mean either 50 GB or 50 GiB."""

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""How many seconds each unit is. A number without a unit is in seconds."""

LAST_MOMENT: Final = 253_402_300_799_999
"""The last millisecond of the year 9999 (since 1970 UTC). RFC 3339 and HTTP dates have no later year."""

_UNIT_OF_WORD: Final = {
    word: unit
    for unit, words in {
        "ms": "ms millisecond milliseconds",
        "s": "s sec secs second seconds",
        "m": "m min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
        "w": "w wk wks week weeks",
    }.items()
    for word in words.split()
}
_UNITS: Final = {unit.lower(): size for unit, size in BYTES.items()}
_BINARY_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII)
_BITS: Final = re.compile(r"[KMGT]i?b", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", re.ASCII)
_MONTH: Final = re.compile(r"M|(?i:mo|mos|mon|mons|mth|mths|month|months)")
_YEAR: Final = re.compile(r"(?i:y|yr|yrs|year|years|a|annum)")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def parse_size(text: str) -> int:
    """Read a number of bytes, with or without a unit. Raises ValueError that says what to write."""
    text = text.strip()
    match = _SIZE.fullmatch(text.lower())
    if match is not None and _BITS.fullmatch(text[-len(match[2]) :]):
        number, unit = match[1], match[2][0].upper()
        raise ValueError(
            f"{text[:40]!r} is not a size, because it could mean bits: "
            f"write {number} {unit}B or {number} {unit}iB"
        )
    size = _UNITS.get(match[2] or "b") if match else None
    if match is None or size is None or ("." in match[1] and size == 1):
        raise ValueError(
            f"{text[:40]!r} is not a size: write bytes (1048576) or a unit (500 MiB, 50 GiB, 1 TB)"
        )
    return int(match[1]) * size if match[1].isdigit() else int(float(match[1]) * size)


def format_size(size: int) -> str:
    """Write a number of bytes for people, rounded to one decimal place: `512 B`, `1.5 KiB`, `2.0 GiB`."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(_BINARY_UNITS))
    return f"{size / 1024**power:.1f} {_BINARY_UNITS[power - 1]}"


def format_exact_size(size: int) -> str:
    """Write a size exactly, in the largest binary unit that divides it: 10737418240 is `10 GiB`."""
    for unit in reversed(_BINARY_UNITS):
        if size and size % BYTES[unit] == 0:
            return f"{size // BYTES[unit]} {unit}"
    return f"{size} B"


def parse_duration(text: str) -> float:
    """Read seconds, from a number or from parts with units. Raises ValueError that says what to write."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _DURATION_PART.findall(text)
    units = [_UNIT_OF_WORD.get(word.lower()) for _, word in parts]
    for number, word in parts:
        if _MONTH.fullmatch(word):
            minutes = f", or {number}m for minutes" if word == "M" else ""
            raise ValueError(f"{text[:40]!r} is not a time, because months differ: write days (30d){minutes}")
        if _YEAR.fullmatch(word):
            raise ValueError(f"{text[:40]!r} is not a time, because years differ: write days (365d)")
    if not parts or _DURATION_PART.sub("", text) or None in units:
        raise ValueError(
            f"{text[:40]!r} is not a time: write seconds (90) or a time with a unit (90s, 15m, 24h, 7d)"
        )
    return math.fsum(
        float(number) * SECONDS[unit] for (number, _), unit in zip(parts, units, strict=True) if unit
    )


def format_duration(seconds: float) -> str:
    """Write seconds exactly, with the largest of day, hour and minute that divides them: 86400 is `1d`."""
    for unit in ("d", "h", "m"):
        count = seconds / SECONDS[unit]
        if count >= 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return f"{seconds:g}s"

"""Which bytes a Range field selects: RFC 9110 section 14.

The rules, in the order they are applied:

- The unit is `bytes`, in any case (14.1); a field with another unit is ignored.
- The set is a list (5.6.1): white space around commas, empty elements, but at least one range. White space
  after the `=` is accepted in a list too, because the RFC's own example in 14.1.2 has it, but not before a
  lone range: the grammar has none there. None is allowed elsewhere.
- `FIRST-LAST`, `FIRST-` or `-LENGTH`, ASCII digits of any number. One malformed range, or one whose LAST is
  less than its FIRST, makes the whole field invalid, and an invalid field is ignored (14.2).
- Of an empty file, `-5` selects all there is (14.1.2), which no Content-Range could describe: the field is
  ignored. Any other range is unsatisfiable.
- LAST past the end is clamped; a suffix longer than the file is the whole file. A FIRST at or past the end
  and a suffix of 0 select nothing: such a range is dropped, and if all are, the field is unsatisfiable.
- Ranges that together ask for more bytes than the file has are an attack or a mistake (14.2): ignored.
- Ranges that overlap or touch become one. Parts stay in the order asked for (15.3.7.2), a merged one
  standing where the first of its ranges stood. More than MAX_PARTS of them: ignored.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

MAX_PARTS: Final = 16
"""Most parts of one answer: readers of archives and documents ask for a handful."""

_DIGITS: Final = 18
"""Longest number converted. Longer ones (leading zeros aside) lie past the end of any file; they are not
converted, because that costs quadratic time and Python refuses it beyond some length."""

_BEYOND: Final = 10**_DIGITS
"""Stands for every number of more digits than that. Files are smaller (an exabyte)."""


class Span(NamedTuple):
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int


Spans: TypeAlias = tuple[Span, ...]

UNSATISFIABLE: Final[Spans] = ()
"""Nothing in the file matches the field: answer 416."""

_SINGLE: Final = re.compile(rf"bytes=([0-9]{{1,{_DIGITS}}})-([0-9]{{0,{_DIGITS}}})", re.IGNORECASE | re.ASCII)
_UNIT: Final = re.compile(r"bytes=", re.IGNORECASE | re.ASCII)
_RANGE: Final = re.compile(r"[ \t]*+([0-9]*+)-([0-9]*+)[ \t]*+", re.ASCII)


def select_ranges(value: str, size: int) -> Spans | None:
    """The spans of a file of `size` bytes that the Range field `value` selects.

    None: the field is to be ignored, send the whole file (200). UNSATISFIABLE, the empty tuple: 416. One
    span: an ordinary 206. Several: multipart/byteranges. Spans are not empty, inside the file, apart from
    each other by at least a byte, and in the order asked for. Never raises. Only for GET (14.2).
    """
    single = _SINGLE.fullmatch(value)
    if single is None:
        return _select_set(value, size)
    first, last = single.groups()
    start = int(first)
    stop = int(last) + 1 if last else _BEYOND
    if stop <= start:
        return None
    if start >= size:
        return UNSATISFIABLE
    return (Span(start, min(stop, size)),)


def _select_set(value: str, size: int) -> Spans | None:
    """The general case of `select_ranges`: any set of ranges, numbers of any length."""
    unit = _UNIT.match(value)
    if unit is None:
        return None
    elements = value[unit.end() :].split(",")
    if len(elements) == 1 and elements[0][:1] in (" ", "\t"):
        return None
    spans: list[Span] = []
    asked = 0
    empty = True
    for element in elements:
        match = _RANGE.fullmatch(element)
        if match is None:
            if element.strip(" \t"):
                return None
            continue
        empty = False
        if not size and not match[1] and match[2].strip("0"):
            return None
        span = _resolve(match[1], match[2], size)
        if span is None:
            return None
        if span.start < span.stop:
            spans.append(span)
            asked += span.stop - span.start
            if asked > size:
                return None
    if empty:
        return None
    return _coalesce(spans)


def _resolve(first: str, last: str, size: int) -> Span | None:
    """One range as a span of the file, an empty span if it selects nothing, None if it is invalid."""
    if not first:
        return Span(size - min(_number(last), size), size) if last else None
    start = _number(first)
    if not last:
        return Span(min(start, size), size)
    stop = _number(last) + 1
    if stop <= start or (start == _BEYOND and _is_less(last, first)):
        return None
    return Span(min(start, size), min(stop, size))


def _coalesce(spans: list[Span]) -> Spans | None:
    """The spans with those that overlap or touch merged; None if there are too many even so."""
    if len(spans) < 2:
        return tuple(spans)
    merged: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda item: item[1]):
        if merged and span.start <= merged[-1][1].stop:
            rank, last = merged[-1]
            merged[-1] = (min(rank, place), Span(last.start, max(last.stop, span.stop)))
        elif len(merged) == MAX_PARTS:
            return None
        else:
            merged.append((place, span))
    return tuple(span for _, span in sorted(merged))


def _number(digits: str) -> int:
    """The number, or _BEYOND for one that is past the end of any file."""
    if len(digits) > _DIGITS:
        digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else _BEYOND


def _is_less(left: str, right: str) -> bool:
    """Whether one number is less than another; compared as text, so that any length is exact and cheap."""
    left, right = left.lstrip("0"), right.lstrip("0")
    return (len(left), left) < (len(right), right)

"""Which bytes of a file a Range field selects: RFC 9110 section 14.

The rules, in the order they are applied:

- The unit is `bytes`, in any case (14.1); a field with another unit is ignored.
- The set is a list (5.6.1): white space around commas and empty elements are allowed, but there must be at
  least one range. White space after the `=` is accepted in a list, because the RFC's own example in 14.1.2
  has it, but not before a single range, where the grammar has none. It is allowed nowhere else.
- `FIRST-LAST`, `FIRST-` or `-LENGTH`, ASCII digits of any number. One malformed range, or one whose LAST is
  less than its FIRST, makes the whole field invalid, and an invalid field is ignored (14.2).
- Of an empty file every range is ignored. `-5` selects the whole (14.1.2), which no Content-Range can
  describe. Programs that always ask with a range (`0-`, `0-0`) would report a 416 as an error, and 14.2 lets
  a server ignore any Range.
- A LAST past the end means the end; a suffix longer than the file means the whole file. A FIRST at or past
  the end and a suffix of 0 select nothing: such a range is dropped, and if all are dropped, the field is
  unsatisfiable.
- If the ranges together ask for more bytes than the file has, that is an attack or a mistake (14.2): the
  field is ignored.
- Ranges that overlap or touch are merged. The parts keep the order of the request (15.3.7.2); a merged part
  stands where the first of its ranges stood. If more than MAX_PARTS remain, the field is ignored.
- A field with more than MAX_RANGES elements, empty ones included, is ignored before they are read.

Programs that bring an older copy of a file up to date ask for many ranges at once: zsync for 20, zchunk for
255 and, when it is refused, for 127 and less.

Other servers follow other rules: most of them do not merge, so that they send a byte as often as it is asked
for. `most_bytes` says what a front proxy may send that answers by itself.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

MAX_PARTS: Final = 256
"""The most parts of one answer: zchunk asks for 255. Apache sends 200, and nginx any number."""

MAX_RANGES: Final = 4 * MAX_PARTS
"""The most ranges of one field, merged or not; reading this many takes about a millisecond. A field with more
is ignored, as if it asked for too many parts."""

MAX_UNMERGED: Final = MAX_PARTS
"""For more ranges, nginx sends the whole file: `max_ranges` in config/nginx/auth_request.conf."""

_DIGITS: Final = 18
"""The longest number that is converted. A longer one (without its leading zeros) lies past the end of any
file. It is not converted, because that takes quadratic time, and Python refuses it beyond some length."""

_BEYOND: Final = 10**_DIGITS
"""Stands for every number with more digits than that. Files are smaller (an exabyte)."""


class Span(NamedTuple):
    """The bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int


Spans: TypeAlias = tuple[Span, ...]

UNSATISFIABLE: Final[Spans] = ()
"""The field selects nothing of the file: the answer is 416."""

_SINGLE: Final = re.compile(rf"bytes=([0-9]{{1,{_DIGITS}}})-([0-9]{{0,{_DIGITS}}})", re.IGNORECASE | re.ASCII)
_UNIT: Final = re.compile(r"bytes=", re.IGNORECASE | re.ASCII)
_RANGE: Final = re.compile(r"[ \t]*+([0-9]*+)-([0-9]*+)[ \t]*+", re.ASCII)
_ELEMENT: Final = rf"(?:[0-9]{{1,{_DIGITS}}}-[0-9]{{0,{_DIGITS}}}|-0{{0,{_DIGITS}}}[1-9][0-9]{{0,{_DIGITS}}})"
_USUAL: Final = re.compile(rf"bytes={_ELEMENT}(?:, ?{_ELEMENT}){{0,{MAX_UNMERGED - 1}}}", re.ASCII)
"""What every server reads in the same way."""


def select_ranges(value: str, size: int) -> Spans | None:
    """The spans of a file of `size` bytes that the Range field `value` selects.

    None: the field is ignored, and the whole file is sent (200). UNSATISFIABLE, the empty tuple: 416. One
    span: an ordinary 206. Several spans: multipart/byteranges. Each span is not empty, lies inside the file,
    and is at least a byte apart from every other; the order is that of the request. Never raises. Call it
    only for GET (14.2).
    """
    if not size:
        return None
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


def most_bytes(value: str, size: int) -> int:
    """The most bytes of a file of `size` bytes that a server sends for the Range field `value`.

    This holds for servers that merge ranges and for those that do not. The whole file counts where a server
    might ignore the field: in an unusual spelling, with more than MAX_UNMERGED ranges, and where this module
    ignores it. An unsatisfiable field counts nothing.
    """
    spans = _read_set(value, size) if _USUAL.fullmatch(value) else None
    if spans is None:
        return size
    return sum(span.stop - span.start for span in spans)


def _select_set(value: str, size: int) -> Spans | None:
    """The general case of `select_ranges`: any set of ranges, numbers of any length."""
    spans = _read_set(value, size)
    return None if spans is None else _coalesce(spans)


def _read_set(value: str, size: int) -> list[Span] | None:
    """The spans that a field selects, as they are asked for; None if the field is ignored."""
    unit = _UNIT.match(value)
    if unit is None or value.count(",") >= MAX_RANGES:
        return None
    elements = value[unit.end() :].split(",")
    if len(elements) == 1 and elements[0][:1] in (" ", "\t"):
        return None
    spans: list[Span] = []
    total = 0
    empty = True
    for element in elements:
        match = _RANGE.fullmatch(element)
        if match is None:
            if element.strip(" \t"):
                return None
            continue
        empty = False
        span = _resolve(match[1], match[2], size)
        if span is None:
            return None
        if span.start < span.stop:
            spans.append(span)
            total += span.stop - span.start
            if total > size:
                return None
    return None if empty else spans


def _resolve(first: str, last: str, size: int) -> Span | None:
    """One range as a span of the file; an empty span if it selects nothing, None if it is invalid."""
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
    """The spans, those merged that overlap or touch; None if there are too many even then."""
    if len(spans) < 2:
        return tuple(spans)
    merged: list[tuple[int, Span]] = []
    for position, span in sorted(enumerate(spans), key=lambda item: item[1]):
        if merged and span.start <= merged[-1][1].stop:
            first, last = merged[-1]
            merged[-1] = (min(first, position), Span(last.start, max(last.stop, span.stop)))
        elif len(merged) == MAX_PARTS:
            return None
        else:
            merged.append((position, span))
    return tuple(span for _, span in sorted(merged))


def _number(digits: str) -> int:
    """The number, or _BEYOND for one that is past the end of any file."""
    if len(digits) > _DIGITS:
        digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else _BEYOND


def _is_less(left: str, right: str) -> bool:
    """Whether one number is less than another, compared as text: that is exact and cheap for any length."""
    left, right = left.lstrip("0"), right.lstrip("0")
    return (len(left), left) < (len(right), right)

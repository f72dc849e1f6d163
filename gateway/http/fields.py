"""The values of header fields: dates, digests, ranges, and what a client prefers. Names: file_names.py.

Every value that is made here is printable ASCII, whatever it is made from.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.config.units import LAST_MOMENT
from gateway.http.ranges import Span, Spans

PRESENT_YEAR: Final = 2026
"""A two-digit year is at most 50 years after this one, else in the past (RFC 9110 section 5.6.7). A constant
instead of a clock keeps the rules pure; it makes a difference only for times 50 years from now."""

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EARLIEST: Final = -62_135_596_800
_LATEST: Final = LAST_MOMENT // 1000
"""The years 0001 to 9999: the format has no others."""

_TIME: Final = r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
_MONTH: Final = f"({'|'.join(_MONTHS)})"
_FIXDATE: Final = re.compile(rf"(?:{'|'.join(_DAYS)}), ([0-9]{{2}}) {_MONTH} ([0-9]{{4}}) {_TIME} GMT")
_RFC850: Final = re.compile(
    rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, ([0-9]{{2}})-{_MONTH}-([0-9]{{2}}) {_TIME} GMT"
)
_ASCTIME: Final = re.compile(rf"(?:{'|'.join(_DAYS)}) {_MONTH} ([0-9]{{2}}| [0-9]) {_TIME} ([0-9]{{4}})")


# --- dates (RFC 9110 section 5.6.7) -------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def format_date(seconds: int) -> str:
    """Seconds since 1970 UTC as an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`."""
    seconds = min(max(seconds, _EARLIEST), _LATEST)
    when = time.gmtime(seconds)
    day, month = _DAYS[when.tm_wday], _MONTHS[when.tm_mon - 1]
    clock = f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}"
    return f"{day}, {when.tm_mday:02} {month} {when.tm_year:04} {clock} GMT"


def parse_date(text: str, year: int = PRESENT_YEAR) -> int | None:
    """An HTTP-date in any of its three formats, as seconds since 1970 UTC; None if the text is not one.

    A wrong name of the day is accepted. year: the present one, for dates with a year of two digits.
    """
    if match := _FIXDATE.fullmatch(text):
        day, month, full_year, *clock = match.groups()
        return _seconds(int(full_year), month, day, clock)
    if match := _RFC850.fullmatch(text):
        day, month, short_year, *clock = match.groups()
        return _seconds(_century(int(short_year), year), month, day, clock)
    if match := _ASCTIME.fullmatch(text):
        month, day, *clock, full_year = match.groups()
        return _seconds(int(full_year), month, day, clock)
    return None


def _century(short: int, year: int) -> int:
    """The year with these last two digits that is at most 50 years after `year`, and more than 50 before."""
    latest = year + 50
    return latest - (latest - short) % 100


def _seconds(year: int, month: str, day: str, clock: Sequence[str]) -> int | None:
    """Seconds since 1970 UTC; None for a day that does not exist. A leap second counts as the next second."""
    try:
        days = date(year, _MONTH_NUMBER[month], int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    hour, minute, second = clock
    return ((days * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second)


# --- validators, digests, ranges ----------------------------------------------------------------------------


def entity_tag(sha256_hex: str) -> str:
    """The strong entity tag of a content, with its quotes (RFC 9110 section 8.8.3)."""
    return f'"{sha256_hex}"'


def repr_digest(sha256_hex: str) -> str:
    """The Repr-Digest field of a content (RFC 9530 section 3). Raises ValueError if it is not hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:"


def content_range(span: Span | None, size: int) -> str:
    """The Content-Range field (RFC 9110 section 14.4). span: None for the field of a 416, `bytes */SIZE`."""
    return f"bytes */{size}" if span is None else f"bytes {span.start}-{span.stop - 1}/{size}"


class Multipart(NamedTuple):
    """A multipart/byteranges body: each part's head and then the bytes of its span; last, the closing bytes.

    type: the answer's Content-Type. length: its Content-Length.
    """

    type: str
    parts: tuple[tuple[bytes, Span], ...]
    closing: bytes
    length: int


def multipart(spans: Spans, size: int, part_type: str, sha256_hex: str) -> Multipart:
    """Frame several spans of one file (RFC 9110 sections 14.6 and 15.3.7.2).

    The boundary is 128 bits of a hash of the content's digest and the spans. So every worker sends the same
    bytes for the same request, and no content can contain the boundary, because it would contain its own
    hash. The body begins with CRLF, as nginx's does (an empty preamble: RFC 2046 section 5.1.1), because
    zsync throws away the first line.
    """
    selected = ",".join(f"{start}-{stop}" for start, stop in spans)
    boundary = sha256(f"{sha256_hex} {selected}".encode()).hexdigest()[:32]
    parts: list[tuple[bytes, Span]] = []
    opening = f"\r\n--{boundary}\r\nContent-Type: {part_type}\r\nContent-Range: bytes "
    for span in spans:
        head = f"{opening}{span.start}-{span.stop - 1}/{size}\r\n\r\n"
        parts.append((head.encode(), span))
    closing = f"\r\n--{boundary}--\r\n".encode()
    length = len(closing) + sum(len(head) + span.stop - span.start for head, span in parts)
    return Multipart(f"multipart/byteranges; boundary={boundary}", tuple(parts), closing, length)


# --- what a client prefers (RFC 9110 section 12.5.1) --------------------------------------------------------

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
"""What RFC 9110 section 5.6.2 calls a token: the name of a type or of a parameter."""
_PAIR: Final = rf'{_NAME}=(?:{_NAME}|"(?:[^"\\]|\\.)*+")'
_MEDIA_RANGE: Final = re.compile(
    rf"[ \t]*+({_NAME})/({_NAME})((?:[ \t]*+;[ \t]*+(?:{_PAIR})?+)*+)[ \t]*+(?:,|\Z)"
)
_PARAMETER: Final = re.compile(_PAIR)
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


MAX_ACCEPT: Final = 1024
"""Characters of an Accept field that are read. Browsers send about 150; old ones with many types sent 400."""
MAX_MEDIA_RANGES: Final = 32
"""Elements of an Accept field that are read, well-formed or not."""
KEPT_ACCEPT: Final = 256
"""The longest Accept field, in characters, whose result is kept. So 512 of them take less than 1 MiB."""


def negotiate(accept: str | None, offers: Sequence[str]) -> str | None:
    """The media type of `offers` (in lower case, our favourite first) that the Accept field prefers.

    The most specific range that matches an offer gives its weight. Among equal weights, an offer that the
    client names goes before one that only a wildcard matches; then the order of `offers` decides. None if the
    client accepts none of them; the favourite if there is no field. An element that breaks the grammar is
    ignored, and so is what follows after MAX_ACCEPT characters or MAX_MEDIA_RANGES elements.
    """
    ranges = _media_ranges(_cut_list(accept)) if accept and accept.strip(" \t,") else [("*", "*", 1.0)]
    best, best_rank = None, (0.0, 0)
    for offer in offers:
        kind, _, subtype = offer.partition("/")
        specificity, weight = max(
            (
                ((range_kind != "*") + (range_subtype != "*"), weight)
                for range_kind, range_subtype, weight in ranges
                if range_kind in {kind, "*"} and range_subtype in {subtype, "*"}
            ),
            default=(0, 0.0),
        )
        if weight > 0 and (weight, specificity) > best_rank:
            best, best_rank = offer, (weight, specificity)
    return best


def prefers_html(accept: str | None) -> bool:
    """Whether a person's browser asks: it prefers HTML to JSON. False for `*/*`, JSON, or no field."""
    if accept is not None and len(accept) > KEPT_ACCEPT:
        return _prefers_html(accept)
    return _kept_prefers_html(accept)


def _prefers_html(accept: str | None) -> bool:
    offers = ("application/json", "application/problem+json", "text/html")
    return negotiate(accept, offers) == "text/html"


def prefers_json(accept: str | None) -> bool:
    """Whether JSON is asked for where a page is the usual answer: it is named, and not less than HTML."""
    return negotiate(accept, ("text/html", "application/json")) == "application/json"


_kept_prefers_html: Final = lru_cache(maxsize=512)(_prefers_html)


def _cut_list(value: str) -> str:
    """The beginning of a list: whole elements that have MAX_ACCEPT characters together."""
    return value if len(value) <= MAX_ACCEPT else value[:MAX_ACCEPT].rpartition(",")[0]


def _media_ranges(accept: str) -> list[tuple[str, str, float]]:
    """Type, subtype and weight of each valid element. A range with parameters matches none of our offers."""
    ranges: list[tuple[str, str, float]] = []
    position = 0
    for _ in range(MAX_MEDIA_RANGES):
        if position >= len(accept):
            break
        element = _MEDIA_RANGE.match(accept, position)
        if element is None:
            comma = accept.find(",", position)
            position = comma + 1 if comma >= 0 else len(accept)
            continue
        position = element.end()
        kind, subtype, parameters = element[1].lower(), element[2].lower(), element[3]
        weight = _weight(parameters) if parameters else 1.0
        if weight is not None and (kind != "*" or subtype == "*"):
            ranges.append((kind, subtype, weight))
    return ranges


def _weight(parameters: str) -> float | None:
    """The weight among a range's parameters; None if malformed, or if another parameter narrows the range."""
    weight = 1.0
    for pair in _PARAMETER.findall(parameters):
        name, _, value = pair.partition("=")
        if name.lower() == "q":
            if _WEIGHT.fullmatch(value) is None:
                return None
            weight = float(value)
        elif name.lower() != "charset":
            return None
    return weight

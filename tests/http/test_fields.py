"""Field values: dates, digests, multipart framing and Accept, with the examples of the RFCs."""

from __future__ import annotations

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.fields import (
    content_range,
    entity_tag,
    format_date,
    multipart,
    negotiate,
    parse_date,
    prefers_html,
    repr_digest,
)
from gateway.http.ranges import Span
from tests.support.rows import each_row
from tests.support.timing import lasts

SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""Of `abc`."""

MOMENT = 784111777

# --- dates --------------------------------------------------------------------------------------------------


@each_row(
    ("text", "expected"),
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", MOMENT, id="5.6.7 IMF-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", MOMENT, id="5.6.7 RFC 850"),
        pytest.param("Sun Nov  6 08:49:37 1994", MOMENT, id="5.6.7 asctime"),
        pytest.param("Sun Nov 16 08:49:37 1994", MOMENT + 864000, id="5.6.7 asctime, two digits"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0, id="epoch"),
        pytest.param("Wed, 31 Dec 1969 23:59:59 GMT", -1, id="before the epoch"),
        pytest.param("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800, id="leap day"),
        pytest.param("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800, id="5.6.7 leap second"),
        pytest.param("Mon, 06 Nov 1994 08:49:37 GMT", MOMENT, id="wrong day name is not looked at"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799, id="last second"),
        pytest.param("Wed, 29 Feb 2023 00:00:00 GMT", None, id="no such day"),
        pytest.param("Sun, 00 Nov 1994 08:49:37 GMT", None, id="day 0"),
        pytest.param("Sun, 06 Nov 0000 08:49:37 GMT", None, id="year 0"),
        pytest.param("Sun, 06 Nov 1994 24:00:00 GMT", None, id="hour 24"),
        pytest.param("Sun, 06 Nov 1994 08:60:37 GMT", None, id="minute 60"),
        pytest.param("Sun, 06 Nov 1994 08:49:61 GMT", None, id="second 61"),
        pytest.param("sun, 06 nov 1994 08:49:37 gmt", None, id="5.6.7 case counts"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 UTC", None, id="5.6.7 UTC is not GMT"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +0000", None, id="offset"),
        pytest.param("Sun, 6 Nov 1994 08:49:37 GMT", None, id="one digit"),
        pytest.param("Sun,  06 Nov 1994 08:49:37 GMT", None, id="two spaces"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT; length=5", None, id="parameter of old"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT\n", None, id="line feed"),
        pytest.param("Sun, \u0660\u0666 Nov 1994 08:49:37 GMT", None, id="Arabic digits"),
        pytest.param("Sun, 06-Nov-94 08:49:37 GMT", None, id="RFC 850, short day"),
        pytest.param("Sunday, 06-Nov-1994 08:49:37 GMT", None, id="RFC 850, long year"),
        pytest.param("Sun Nov 6 08:49:37 1994", None, id="asctime without padding"),
        pytest.param("1994-11-06T08:49:37Z", None, id="RFC 3339"),
        pytest.param("784111777", None, id="number"),
        pytest.param("", None, id="empty"),
    ],
)
def test_parse_date(text: str, expected: int | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("short", "present", "full"),
    [
        (94, 2026, 1994),
        (26, 2026, 2026),
        (76, 2026, 2076),
        (77, 2026, 1977),
        (0, 1999, 2000),
        (50, 1999, 1950),
    ],
)
def test_two_digit_years_are_at_most_fifty_years_ahead(short: int, present: int, full: int) -> None:
    date = parse_date(f"Monday, 01-Jan-{short:02} 00:00:00 GMT", present)
    assert date is not None
    assert time.gmtime(date).tm_year == full


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_dates_come_back(seconds: int) -> None:
    text = format_date(seconds)
    assert len(text) == 29
    assert parse_date(text) == seconds
    assert parse_date(time.strftime("%a %b ", time.gmtime(seconds)) + _asctime_rest(seconds)) == seconds


def _asctime_rest(seconds: int) -> str:
    when = time.gmtime(seconds)
    return f"{when.tm_mday:2} {when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02} {when.tm_year:04}"


@given(st.integers())
def test_any_number_has_a_date(seconds: int) -> None:
    assert parse_date(format_date(seconds)) is not None


@given(st.text())
def test_parse_date_never_raises(text: str) -> None:
    parse_date(text)


# --- validators, digests, ranges ----------------------------------------------------------------------------


def test_entity_tag_is_strong() -> None:
    assert entity_tag(SHA256) == f'"{SHA256}"'


def test_repr_digest_of_rfc_9530_appendix_b_1() -> None:
    digest = hashlib.sha256(b'{"hello": "world"}\n').hexdigest()
    assert repr_digest(digest) == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def test_repr_digest_of_what_is_no_digest() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        repr_digest("xyz")


@pytest.mark.parametrize(
    ("span", "size", "expected"),
    [
        pytest.param(Span(42, 1234), 1234, "bytes 42-1233/1234", id="14.4 complete length known"),
        pytest.param(Span(0, 500), 1234, "bytes 0-499/1234", id="14.4 first 500"),
        pytest.param(Span(734, 1234), 1234, "bytes 734-1233/1234", id="14.4 last 500"),
        pytest.param(None, 1234, "bytes */1234", id="14.4 unsatisfied"),
    ],
)
def test_content_range(span: Span | None, size: int, expected: str) -> None:
    assert content_range(span, size) == expected


def framed(content: bytes, spans: tuple[Span, ...]) -> tuple[str, int, bytes]:
    """A whole answer: its type, the length it announces, and its bytes."""
    frame = multipart(spans, len(content), "audio/wav", SHA256)
    body = b"".join(head + content[span.start : span.stop] for head, span in frame.parts) + frame.closing
    return frame.type, frame.length, body


def test_multipart_as_in_rfc_9110_14_6() -> None:
    kind, length, body = framed(b"0123456789", (Span(0, 2), Span(7, 10)))
    boundary = kind.removeprefix("multipart/byteranges; boundary=")
    assert re.fullmatch("[0-9a-f]{32}", boundary)
    assert body.decode() == (
        f"\r\n--{boundary}\r\nContent-Type: audio/wav\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        f"\r\n--{boundary}\r\nContent-Type: audio/wav\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
        f"\r\n--{boundary}--\r\n"
    )
    assert length == len(body)


def test_the_boundary_follows_content_and_spans() -> None:
    some = (Span(0, 2), Span(7, 10))
    assert multipart(some, 10, "a/b", SHA256) == multipart(some, 10, "a/b", SHA256)
    assert multipart(some, 10, "a/b", SHA256).type != multipart(some, 10, "a/b", SHA256[::-1]).type
    assert multipart(some, 10, "a/b", SHA256).type != multipart(some[::-1], 10, "a/b", SHA256).type


@given(st.binary(min_size=1, max_size=60), st.data())
def test_multipart_is_read_back_by_a_mail_parser(content: bytes, data: st.DataObject) -> None:
    starts = st.tuples(st.integers(0, len(content) - 1), st.integers(1, len(content)))
    pairs = data.draw(st.lists(starts.filter(lambda pair: pair[0] < pair[1]), min_size=2, max_size=5))
    spans = tuple(Span(*pair) for pair in pairs)
    kind, length, body = framed(content, spans)
    assert length == len(body)
    boundary = kind.partition("boundary=")[2].encode()
    parts = body.split(b"\r\n--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [content[a:b] for a, b in spans]


# --- Accept -------------------------------------------------------------------------------------------------

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)


@each_row(
    ("accept", "expected"),
    [
        pytest.param(FIREFOX, True, id="a browser"),
        pytest.param(CHROME, True, id="another browser"),
        pytest.param("text/html", True, id="html"),
        pytest.param("TEXT/HTML", True, id="upper case"),
        pytest.param("text/*", True, id="any text"),
        pytest.param("text/html;charset=utf-8", True, id="html with charset"),
        pytest.param("text/html, */*", True, id="named before wildcard"),
        pytest.param("*/*;q=0.5, text/html;q=0.5", True, id="named before wildcard, same weight"),
        pytest.param("application/json;q=0.5, text/html;q=0.6", True, id="html weighs more"),
        pytest.param("application/json;q=0, */*", False, id="anything but json: a problem is liked as well"),
        pytest.param(None, False, id="12.5.1 no field"),
        pytest.param("", False, id="empty"),
        pytest.param("*/*", False, id="curl"),
        pytest.param("application/json", False, id="json"),
        pytest.param("application/problem+json", False, id="problem"),
        pytest.param("application/json, text/html", False, id="both"),
        pytest.param("text/html;q=0.9, application/json", False, id="json weighs more"),
        pytest.param("text/html;q=0.4, application/problem+json;q=0.5", False, id="problem weighs more"),
        pytest.param("text/html;q=0", False, id="12.4.2 weight 0"),
        pytest.param("text/html;q=0.000, */*;q=0.1", False, id="specific weight 0"),
        pytest.param("text/*, text/html;q=0, application/json;q=0.1", False, id="12.5.1 most specific wins"),
        pytest.param("text/html;level=1, application/json;q=0.1", False, id="12.5.1 parameter narrows"),
        pytest.param("text/plain", False, id="neither"),
        pytest.param("image/*", False, id="pictures"),
        pytest.param("*/html", False, id="not a media range"),
        pytest.param("text", False, id="no slash"),
        pytest.param("text/html;q=2", False, id="weight too large"),
        pytest.param("text/html;q=x", False, id="weight no number"),
        pytest.param("text/html;q=0.1234", False, id="weight too long"),
        pytest.param("te xt/html", False, id="space"),
        pytest.param(",,,;;;===", False, id="garbage"),
        pytest.param("garbage, text/html", True, id="garbage is passed over"),
        pytest.param('a/b;x="c, text/html;q=1", text/html;q=0.1', True, id="comma in a quoted string"),
        pytest.param('a/b;x="c, text/html', True, id="quoted string not closed"),
        pytest.param("text/html ; q=0.9 , application/json ; Q=0.8", True, id="white space"),
        pytest.param("text/html;", True, id="12.5.1 empty parameter"),
    ],
)
def test_prefers_html(accept: str | None, expected: bool) -> None:
    assert prefers_html(accept) is expected


def test_negotiate_by_the_table_of_12_5_1() -> None:
    accept = (
        "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"
    )
    assert negotiate(accept, ["text/html", "text/plain"]) == "text/plain"
    assert negotiate(accept, ["text/html", "image/jpeg"]) == "image/jpeg"
    assert negotiate("audio/*; q=0.2, audio/basic", ["audio/wav", "audio/basic"]) == "audio/basic"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        (FIREFOX, "text/html"),
        ("image/png", None),
        ("*/*;q=0", None),
    ],
)
def test_negotiate(accept: str | None, expected: str | None) -> None:
    assert negotiate(accept, ["application/json", "text/html"]) == expected


@pytest.mark.timing
@pytest.mark.parametrize(
    "accept", ['a/b;x="' * 2500, "a/" * 8000, "; " * 8000, "a/b;" * 4000, "a/b" + " " * 16000 + "x"]
)
def test_accept_costs_are_bounded(accept: str) -> None:
    with lasts(most=0.5, clock=time.process_time):
        prefers_html(accept)


@given(st.one_of(st.none(), st.text(), st.text(alphabet='text/html*;q=01., "\\', max_size=60)))
def test_prefers_html_never_raises(accept: str | None) -> None:
    assert prefers_html(accept) in {True, False}

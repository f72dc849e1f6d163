"""Times of the API: RFC 3339 in requests and responses, milliseconds since 1970 in the code."""

from __future__ import annotations

import pytest

from gateway.web.times import format_time, parse_time
from tests.support.rows import each_row


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.001z", 1),
        ("1970-01-01T00:00:00.1Z", 100),
        ("1970-01-01T00:00:00.0019999Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-01-31T12:00:00.123Z", 1769860800123),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
def test_a_time_is_read(text: str, moment: int) -> None:
    assert parse_time(text) == moment
    assert parse_time(format_time(moment)) == moment


@each_row(
    "text",
    [
        "",
        "0",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-02-30T00:00:00Z",
        "1970-01-01T24:00:01Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00.Z",
        "1969-12-31T23:59:59.999-00:00",
        "0099-12-14T00:01:01+00:12",
        "9999-12-31T23:59:59.999-00:01",
        "1970-01-01T00:00:00Z\n",
        "\u0661970-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time"):
        parse_time(text)


def test_a_time_is_written_with_milliseconds_and_z() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000Z"
    assert format_time(1769860800120) == "2026-01-31T12:00:00.120Z"

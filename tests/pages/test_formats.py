"""How moments, sizes and numbers are written."""

from __future__ import annotations

import pytest
from babel import Locale

from gateway.config.units import format_size
from gateway.pages.formats import (
    moment_of,
    show_day,
    show_moment,
    write_day,
    write_moment,
    write_number,
    write_size,
)

ENGLISH, GERMAN = Locale("en"), Locale("de")
MOMENT = 1_795_886_945_123  # 2026-11-28, 17:29:05 UTC


@pytest.mark.parametrize(
    ("size", "english", "german"),
    [
        (0, "0 B", "0 B"),
        (1, "1 B", "1 B"),
        (1023, "1023 B", "1023 B"),
        (1024, "1.0 KiB", "1,0 KiB"),
        (1536, "1.5 KiB", "1,5 KiB"),
        (2 * 2**30, "2.0 GiB", "2,0 GiB"),
        (2**53, "8.0 PiB", "8,0 PiB"),
    ],
)
def test_a_size(size: int, english: str, german: str) -> None:
    assert write_size(size, ENGLISH).replace("\N{NO-BREAK SPACE}", " ") == english
    assert write_size(size, GERMAN).replace("\N{NO-BREAK SPACE}", " ") == german
    if 1024 <= size < 2**50:
        assert english == format_size(size)  # the same as in the terminal and on the index


def test_a_moment_says_that_it_is_utc() -> None:
    assert (
        write_moment(MOMENT, ENGLISH).replace("\N{NARROW NO-BREAK SPACE}", " ")
        == "Nov 28, 2026, 5:29:05 PM UTC"
    )
    assert write_moment(MOMENT, GERMAN) == "28.11.2026, 17:29:05 UTC"
    assert write_day(MOMENT, GERMAN) == "28.11.2026"
    assert (
        show_moment(MOMENT, GERMAN)
        == '<time datetime="2026-11-28T17:29:05.123Z" data-form="moment">28.11.2026, 17:29:05 UTC</time>'
    )
    assert 'data-form="day">28.11.2026</time>' in show_day(MOMENT, GERMAN)


@pytest.mark.parametrize("milliseconds", [-1, 0, 2**62])
def test_a_moment_beyond_calendars_is_cut(milliseconds: int) -> None:
    assert 1970 <= moment_of(milliseconds).year <= 9999


def test_a_number() -> None:
    assert (write_number(1234567, ENGLISH), write_number(1234567, GERMAN)) == ("1,234,567", "1.234.567")

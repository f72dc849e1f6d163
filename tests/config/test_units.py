"""Byte sizes and durations as people write them."""

from __future__ import annotations

import pytest

from gateway.config.units import format_duration, format_exact_size, format_size, parse_duration, parse_size
from tests.support.rows import each_row


@each_row(
    ("text", "size"),
    [("0", 0), ("1048576", 1 << 20), ("1B", 1), ("64 KiB", 1 << 16), ("50 GiB", 50 << 30),
     ("50gib", 50 << 30), ("500MB", 5 * 10**8), ("1.5 TiB", 3 << 39), (" 2 tb ", 2 * 10**12),
     ("0.5KiB", 512)],
)  # fmt: skip
def test_a_size_is_read_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@each_row("text", ["", "GiB", "50G", "-1", "1.5", "1.5B", "1e3", "5 PiB", "٣", "1,5 GiB", "5 5"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(10 << 30, "10 GiB"), (1536 << 20, "1536 MiB"), (7, "7 B"), (0, "0 B")]
)
def test_an_exact_size_is_read_back_as_the_same_number(size: int, text: str) -> None:
    assert format_exact_size(size) == text
    assert parse_size(text) == size


@each_row(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1024.0 KiB"),
     (1 << 20, "1.0 MiB"), (64 << 20, "64.0 MiB"), (2 << 30, "2.0 GiB"), (5 << 40, "5.0 TiB"),
     (5000 << 40, "5000.0 TiB")],
)  # fmt: skip
def test_a_size_for_people_has_one_decimal_place(size: int, text: str) -> None:
    assert format_size(size) == text


@each_row(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("-3", -3), ("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800),
     ("2w", 1209600), ("1h30m", 5400), ("1h 30m", 5400), ("500ms", 0.5), (" 1H ", 3600), ("0.5h", 1800),
     ("7D", 604800), ("2W", 1209600), ("90S", 90), ("1D12H", 129600), ("1 day", 86400), ("2 weeks", 1209600),
     ("1 hour 30 minutes", 5400), ("15 min", 900), ("15MIN", 900), ("90 Seconds", 90), ("3hrs", 10800)],
)  # fmt: skip
def test_a_duration_is_read_with_or_without_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@each_row(
    "text",
    [
        "",
        "h",
        "1x",
        "1h x",
        "nan",
        "inf",
        "1e3",
        "--1",
        "٣s",
        "1,5h",
        "5 5",
        "1q",
        "1hx",
        "1 fortnight",
        "P1M",
        "PT1H",
        "1d-2h",
        "M",
        "month",
        "1h 30",
    ],
)
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


@each_row(
    ("text", "advice"),
    [
        *((text, r"days \(30d\), or 1m for minutes$") for text in ("1M", " 1 M ", "1h1M", "1M1d")),
        *(
            (text, r"days \(30d\)$")
            for text in ("1mo", "1Mo", "1MO", "3 months", "1 Month", "1mon", "2mths", "1.5mo")
        ),
        *((text, r"days \(365d\)$") for text in ("1y", "1Y", "1yr", "2 years", "1YEAR", "1a")),
    ],
)
def test_months_and_years_are_refused_with_what_to_write(text: str, advice: str) -> None:
    """`1M` was a minute. Nothing that a person can type means something else than it says."""
    with pytest.raises(ValueError, match=f"is not a time, because .* differ: write {advice}"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("500 Mb", "500 MB or 500 MiB"),
        ("1Gb", "1 GB or 1 GiB"),
        ("1.5Tib", "1.5 TB or 1.5 TiB"),
        ("64 Kb", "64 KB or 64 KiB"),
    ],
)
def test_bits_are_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=f"is not a size, because it could mean bits: write {advice}$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400, "1d"), (5400, "90m"), (90, "90s"), (0.5, "0.5s"), (7200, "2h")]
)
def test_a_formatted_duration_is_read_back_as_the_same_number(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds

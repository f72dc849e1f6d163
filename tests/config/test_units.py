"""Byte sizes and durations as people write them."""

from __future__ import annotations

import pytest

from gateway.config.units import format_duration, format_exact_size, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", 1 << 20), ("1B", 1), ("64 KiB", 1 << 16), ("50 GiB", 50 << 30),
     ("50gib", 50 << 30), ("500MB", 5 * 10**8), ("1.5 TiB", 3 << 39), (" 2 tb ", 2 * 10**12),
     ("0.5KiB", 512)],
)  # fmt: skip
def test_a_size_is_read_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "50G", "-1", "1.5", "1.5B", "1e3", "5 PiB", "٣", "1,5 GiB", "5 5"]
)
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(10 << 30, "10 GiB"), (1536 << 20, "1536 MiB"), (7, "7 B"), (0, "0 B")]
)
def test_an_exact_size_is_read_back_as_the_same_number(size: int, text: str) -> None:
    assert format_exact_size(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1024.0 KiB"),
     (1 << 20, "1.0 MiB"), (64 << 20, "64.0 MiB"), (2 << 30, "2.0 GiB"), (5 << 40, "5.0 TiB"),
     (5000 << 40, "5000.0 TiB")],
)  # fmt: skip
def test_a_size_for_people_has_one_decimal_place(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("-3", -3), ("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800),
     ("2w", 1209600), ("1h30m", 5400), ("1h 30m", 5400), ("500ms", 0.5), (" 1H ", 3600), ("0.5h", 1800)],
)  # fmt: skip
def test_a_duration_is_read_with_or_without_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "1h x", "nan", "inf", "1e3", "--1", "٣s", "1,5h", "5 5"])
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400, "1d"), (5400, "90m"), (90, "90s"), (0.5, "0.5s"), (7200, "2h")]
)
def test_a_formatted_duration_is_read_back_as_the_same_number(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds

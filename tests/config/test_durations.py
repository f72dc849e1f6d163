"""Times as people write them."""

from __future__ import annotations

import pytest

from gateway.config.durations import parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("-3", -3), ("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800),
     ("2w", 1209600), ("1h30m", 5400), ("1h 30m", 5400), ("500ms", 0.5), (" 1H ", 3600), ("0.5h", 1800)],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "1h x", "nan", "inf", "1e3", "--1", "٣s", "1,5h", "5 5"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400, "1d"), (5400, "90m"), (90, "90s"), (0.5, "0.5s"), (7200, "2h")]
)
def test_times_are_shown_short(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
    assert parse_duration(text) == seconds

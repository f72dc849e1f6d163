"""Sizes as people write them."""

from __future__ import annotations

import pytest

from gateway.config.sizes import parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", 1 << 20), ("1B", 1), ("64 KiB", 1 << 16), ("50 GiB", 50 << 30),
     ("50gib", 50 << 30), ("500MB", 5 * 10**8), ("1.5 TiB", 3 << 39), (" 2 tb ", 2 * 10**12),
     ("0.5KiB", 512)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "50G", "-1", "1.5", "1.5B", "1e3", "5 PiB", "٣", "1,5 GiB", "5 5"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(10 << 30, "10 GiB"), (1536 << 20, "1536 MiB"), (7, "7 B"), (0, "0 B")]
)
def test_sizes_are_shown_exactly(size: int, text: str) -> None:
    assert show_size(size) == text
    assert parse_size(text) == size

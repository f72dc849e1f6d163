"""Range fields: the cases of RFC 9110 section 14, then properties against a naive reading of the rules."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.ranges import MAX_PARTS, Span, Spans, most_bytes, select_ranges
from tests.support.range_cases import CASES, apart
from tests.support.rows import each_row
from tests.support.timing import lasts


@each_row(("value", "size", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_select_ranges(value: str, size: int, expected: Spans | None) -> None:
    assert select_ranges(value, size) == expected


@pytest.mark.timing
@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + "9" * 1_000_000 + "-",
        "bytes=0-" + "9" * 1_000_000,
        "bytes=" + "9" * 1_000_000 + "-" + "9" * 999_999,
        "bytes=" + "0" * 1_000_000 + "x",
        "bytes=" + " " * 1_000_000 + "x",
        "bytes=" + "1-" * 500_000,
        "bytes=" + "," * 100_000,
        "bytes=" + ",".join(f"{3 * n}-{3 * n}" for n in range(1000)),
        "bytes=" + "0-," * 5000,
        "bytes=" + "99999999-," * 1600,
        "bytes=" + ",".join(f"{14_000 * n}-{14_000 * n + 99}" for n in range(1024)),
    ],
    ids=lambda value: f"{value[:12]} {len(value)}",
)
def test_costs_are_bounded(value: str) -> None:
    with lasts(most=0.5, clock=time.process_time):
        select_ranges(value, 1 << 20)


# --- what other servers may send ----------------------------------------------------------------------------


@each_row(
    ("value", "most"),
    [
        ("bytes=0-99", 100),
        ("bytes=-50", 50),
        ("bytes=-5000", 1000),
        ("bytes=990-", 10),
        ("bytes=990-5000", 10),
        ("bytes=0-9,20-29", 20),
        ("bytes=0-9, 20-29", 20),
        ("bytes=0-9,0-9", 20),
        ("bytes=0-9,5-14", 20),
        ("bytes=0-9,10-19", 20),
        ("bytes=-10,-10,990-", 30),
        ("bytes=" + ",".join(["0-61"] * 16), 992),
        ("bytes=" + ",".join(["0-62"] * 16), 1000),  # more than the file has: the whole file is sent
        ("bytes=" + ",".join(["0-9"] * 17), 170),
        ("bytes=" + ",".join(["0-1"] * 256), 512),
        ("bytes=" + ",".join(["0-0"] * 257), 1000),
        ("bytes=0-499,500-999", 1000),
        ("bytes=0-9,5000-", 10),
        ("bytes=5000-", 0),
        ("bytes=5000-,6000-", 0),
        # a server might ignore these, and send everything
        ("BYTES=0-9", 1000),
        ("bytes= 0-9,20-29", 1000),
        ("bytes=0-9 ,20-29", 1000),
        ("bytes=0-9,,20-29", 1000),
        ("bytes=0-9,", 1000),
        ("bytes=-0", 1000),
        ("bytes=0-9,-0", 1000),
        ("bytes=9-0", 1000),
        ("bytes=0-9,9-0", 1000),
        ("bytes=" + "0" * 30 + "-9", 1000),
        ("bytes=x", 1000),
        ("lines=0-9", 1000),
        ("", 1000),
    ],
)
def test_the_most_that_a_server_sends(value: str, most: int) -> None:
    assert most_bytes(value, 1000) == most


# --- properties ---------------------------------------------------------------------------------------------

RANGE = st.one_of(
    st.tuples(st.integers(0, 120), st.integers(0, 120)).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    st.integers(0, 120).map(lambda first: f"{first}-"),
    st.integers(0, 120).map(lambda length: f"-{length}"),
)
SET = st.lists(RANGE, min_size=1, max_size=40).map(lambda ranges: "bytes=" + ",".join(ranges))
SOUP = st.text(alphabet="0123456789-, \tbytes=BYTES\u0661x", max_size=40)


def naive(value: str, size: int) -> Spans | None:
    """The same rules, byte by byte, for well-formed fields and small files."""
    if not size:
        return None
    asked: list[list[int]] = []
    for text in value.removeprefix("bytes=").split(","):
        first, last = text.split("-")
        if not first:
            asked.append(list(range(max(0, size - int(last)), size)))
        else:
            asked.append(list(range(int(first), min(size, int(last) + 1 if last else size))))
    if sum(map(len, asked)) > size:
        return None
    wanted = {byte for taken in asked for byte in taken}
    runs: list[Span] = []
    for taken in asked:
        if not taken or any(run.start <= taken[0] < run.stop for run in runs):
            continue
        start, stop = taken[0], taken[0]
        while start - 1 in wanted:
            start -= 1
        while stop in wanted:
            stop += 1
        runs.append(Span(start, stop))
    return tuple(runs) if len(runs) <= MAX_PARTS else None


@given(SET, st.integers(0, 100))
@example(apart(256), 1000)
@example(apart(257), 1000)
def test_equals_the_naive_reading(value: str, size: int) -> None:
    assert select_ranges(value, size) == naive(value, size)


@given(st.one_of(st.text(), SOUP, SOUP.map("bytes=".__add__), SET), st.integers(0, 1 << 63))
def test_any_field_gives_sound_spans(value: str, size: int) -> None:
    selected = select_ranges(value, size)
    if selected is None:
        return
    assert len(selected) <= MAX_PARTS
    assert sum(span.stop - span.start for span in selected) <= size
    assert all(0 <= span.start < span.stop <= size for span in selected)
    ordered = sorted(selected)
    assert all(left.stop < right.start for left, right in pairwise(ordered))


@given(st.one_of(SOUP.map("bytes=".__add__), SET), st.integers(0, 100))
def test_the_most_is_never_less_than_what_we_send(value: str, size: int) -> None:
    selected = select_ranges(value, size)
    sent = size if selected is None else sum(span.stop - span.start for span in selected)
    assert sent <= most_bytes(value, size) <= size


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50), st.integers(1, 1 << 50))
def test_one_range_is_the_same_alone_and_in_a_set(first: int, last: int, size: int) -> None:
    text = f"{first}-{last}"
    assert select_ranges(f"bytes={text}", size) == select_ranges(f"bytes=,{text}", size)

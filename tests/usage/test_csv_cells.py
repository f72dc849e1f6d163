"""No cell of a report is a formula, whatever clients and customers write."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from gateway.usage.csv_cells import cell, lines
from tests.support.rows import each_row


@each_row(
    ("value", "expected"),
    [
        (None, ""),
        (-5, "-5"),
        (0, "0"),
        ("", ""),
        ("kit.zip", "kit.zip"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("  =1", "'  =1"),
        ("\x00=1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("a=1", "a=1"),
    ],
)
def test_cells(value: str | int | None, expected: str) -> None:
    assert cell(value) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_no_text_begins_a_formula(texts: list[str]) -> None:
    [row] = list(csv.reader(io.StringIO(lines([texts]).decode(), newline="")))
    assert len(row) == len(texts)
    assert not [text for text in row if text[:1] in tuple("=+-@\t\r")]

"""Conditions: RFC 9110 section 13 as tables, in the order of section 13.2.2."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.http.conditions import Verdict, evaluate, range_applies, requested_range
from gateway.http.fields import format_date
from tests.support.condition_cases import (
    BEFORE,
    CASES,
    DATE,
    ETAG,
    FAILED,
    GO,
    MODIFIED,
    RANGE_CASES,
    SAME,
    Fields,
)
from tests.support.rows import each_row
from tests.support.timing import lasts


def fields(given: Fields) -> CIMultiDictProxy[str]:
    """Header fields; a list stands for several lines."""
    lines: CIMultiDict[str] = CIMultiDict()
    for name, value in given.items():
        for line in [value] if isinstance(value, str) else value:
            lines.add(name, line)
    return CIMultiDictProxy(lines)


@each_row("method", ["GET", "HEAD"])
@each_row(("given_fields", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_evaluate(method: str, given_fields: Fields, expected: Verdict) -> None:
    assert evaluate(method, fields(given_fields), ETAG, MODIFIED) is expected


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        pytest.param({"If-None-Match": ETAG}, FAILED, id="13.1.2 412 for other methods"),
        pytest.param({"If-None-Match": "*"}, FAILED, id="13.1.2 any, other methods"),
        pytest.param({"If-Modified-Since": DATE}, GO, id="13.1.3 ignored for other methods"),
        pytest.param({"If-Unmodified-Since": BEFORE}, FAILED, id="13.1.4 for every method"),
    ],
)
def test_evaluate_other_methods(given_fields: Fields, expected: Verdict) -> None:
    assert evaluate("POST", fields(given_fields), ETAG, MODIFIED) is expected


@each_row(("given_fields", "expected"), [c[1:] for c in RANGE_CASES], ids=[c[0] for c in RANGE_CASES])
def test_range_applies(given_fields: Fields, expected: bool) -> None:
    headers = fields(given_fields)
    assert range_applies(headers, ETAG, MODIFIED) is expected
    with_range = fields({**given_fields, "Range": "bytes=0-1"})
    assert requested_range("GET", with_range, ETAG, MODIFIED) == ("bytes=0-1" if expected else None)


def test_a_weak_tag_of_ours_never_holds_for_if_range() -> None:
    assert not range_applies(fields({"If-Range": 'W/"a"'}), 'W/"a"', MODIFIED)


@pytest.mark.parametrize(
    ("method", "given_fields", "expected"),
    [
        pytest.param("GET", {}, None, id="14.2 no Range"),
        pytest.param("GET", {"range": "bytes=0-1"}, "bytes=0-1", id="14.2 any case of the name"),
        pytest.param("HEAD", {"Range": "bytes=0-1"}, None, id="14.2 HEAD ignores Range"),
        pytest.param("POST", {"Range": "bytes=0-1"}, None, id="14.2 only GET has ranges"),
        pytest.param("GET", {"Range": ["bytes=0-1", "bytes=2-3"]}, None, id="14.2 two lines are no Range"),
        pytest.param("GET", {"If-Range": ETAG}, None, id="13.1.5 If-Range without Range"),
    ],
)
def test_requested_range(method: str, given_fields: Fields, expected: str | None) -> None:
    assert requested_range(method, fields(given_fields), ETAG, MODIFIED) == expected


@pytest.mark.timing
@pytest.mark.parametrize(
    "value", ['"' * 16000, " " * 16000 + "x", ", " * 8000 + "x", '"a"' * 5000, 'W/"a",' * 2600, "W/" * 8000]
)
def test_costs_are_bounded(value: str) -> None:
    with lasts(most=0.2, clock=time.process_time):
        evaluate("GET", fields({"If-None-Match": value}), ETAG, MODIFIED)


# --- properties ---------------------------------------------------------------------------------------------

NAMES = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range")
TAGS = st.from_regex(r'(W/)?"[!#-~\x80-\xff]{0,5}"', fullmatch=True)
VALUES = st.one_of(
    st.text(),
    st.text(alphabet='W/"axyz*, \t\x80', max_size=30),
    TAGS,
    st.integers(-(10**12), 10**12).map(format_date),
)


@given(
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES)),
    st.integers(0, 1 << 40),
)
def test_never_raises(method: str, lines: list[tuple[str, str]], modified: int) -> None:
    headers = CIMultiDictProxy(CIMultiDict(lines))
    assert evaluate(method, headers, ETAG, modified) in Verdict
    requested_range(method, headers, ETAG, modified)


@given(st.lists(TAGS, max_size=6), TAGS.map(lambda tag: tag.removeprefix("W/")))
def test_lists_compare_as_the_rfc_says(tags: list[str], etag: str) -> None:
    text = ", ".join(tags)
    strong = evaluate("GET", fields({"If-Match": text}), etag, MODIFIED)
    weak = evaluate("GET", fields({"If-None-Match": text}), etag, MODIFIED)
    assert (strong is GO) == (etag in tags)
    assert (weak is SAME) == (etag in [tag.removeprefix("W/") for tag in tags])

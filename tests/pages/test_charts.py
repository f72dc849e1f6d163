"""Charts are well-formed, bounded and escaped, and each mark says its values."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from gateway.pages import charts
from gateway.pages.charts import Bar, bar_chart, coverage_strip, spark_line, top_of

NAUGHTY = "\"><script>alert(1)</script>&'"


def read(text: str) -> ET.Element:
    """The elements of a chart."""
    return ET.fromstring(text)


def marks(text: str, name: str) -> list[ET.Element]:
    return [each for each in read(text).iter() if (each.get("class") or "") == name]


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (201, 500), (10**12 + 1, 2 * 10**12)],
)
def test_the_highest_line_is_a_round_number(highest: int, top: int) -> None:
    assert top_of(highest) == top


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 1), (500, 500), (501, 1024), (3000, 5 * 1024), (10**9, 2**30), (510 * 2**20, 2**30)],
)
def test_the_highest_line_of_bytes_is_round_in_its_unit(highest: int, top: int) -> None:
    assert top_of(highest, is_bytes=True) == top


def test_a_bar_for_each_value_and_a_title_for_each_place() -> None:
    text = bar_chart([Bar("1 Jan", "1 January: 4, 2", (4, 2)), Bar("2 Jan", "2 January: 0", (0, 0))], "Days")
    assert len(marks(text, "bar")) == len(marks(text, "bar second")) == 1
    [first, second] = [each.text for each in read(text).iter("title")]
    assert (first, second) == ("1 January: 4, 2", "2 January: 0")
    low, high = marks(text, "bar second")[0], marks(text, "bar")[0]
    assert int(low.attrib["height"]) * 2 == pytest.approx(int(high.attrib["height"]), abs=2)
    assert read(text).attrib["aria-label"] == "Days"


def test_a_small_value_can_be_seen_beside_a_large_one() -> None:
    text = bar_chart([Bar("a", "", (10**9,)), Bar("b", "", (1,))], "x")
    assert [int(each.attrib["height"]) > 0 for each in marks(text, "bar second")] == [True, True]


def test_a_chart_of_nothing_is_a_chart() -> None:
    assert read(bar_chart([], "Nothing")).attrib["role"] == "img"
    assert read(spark_line([], "Nothing")).tag == "svg"
    assert marks(coverage_strip(0, [(0, 10)], "Nothing"), "part") == []


def test_texts_are_escaped() -> None:
    texts = [
        bar_chart([Bar(NAUGHTY, NAUGHTY, (1,))], NAUGHTY, lambda _: NAUGHTY),
        spark_line([1, 2], NAUGHTY),
        coverage_strip(10, [(0, 5)], NAUGHTY),
    ]
    for text in texts:
        assert "<script" not in text
        assert read(text).attrib["aria-label"] == NAUGHTY


def test_bars_are_bounded_and_the_latest_are_kept() -> None:
    bars = [Bar(str(number), str(number), (1,)) for number in range(charts.MOST_BARS + 50)]
    titles = [each.text for each in read(bar_chart(bars, "x")).iter("title")]
    assert (len(titles), titles[-1]) == (charts.MOST_BARS, str(charts.MOST_BARS + 49))


def test_bars_stay_within_the_width() -> None:
    text = bar_chart([Bar("", "", (number + 1, number)) for number in range(30)], "x")
    for each in marks(text, "bar") + marks(text, "bar second") + marks(text, "back"):
        left, width = float(each.attrib["x"][:-1]), float(each.attrib["width"][:-1])
        assert 0 <= left <= left + width <= 100.01


def test_a_strip_shows_the_spans_of_a_file() -> None:
    text = coverage_strip(1000, [(0, 250), (500, 750)], "drums.zip: 50 %")
    found = [(each.attrib["x"], each.attrib["width"]) for each in marks(text, "part")]
    assert found == [("0%", "25%"), ("50%", "25%")]
    assert [each.text for each in read(text).iter("title")] == ["0–249", "500–749"]


def test_one_byte_can_be_seen_at_either_end() -> None:
    text = coverage_strip(10**12, [(0, 1), (10**12 - 1, 10**12)], "x")
    for each in marks(text, "part"):
        left, width = float(each.attrib["x"][:-1]), float(each.attrib["width"][:-1])
        assert width == charts.LEAST_WIDTH
        assert left + width <= 100


def test_many_spans_are_drawn_as_few() -> None:
    spans = [(10 * number, 10 * number + 3) for number in range(50_000)]
    text = coverage_strip(500_000, spans, "x")
    assert 0 < len(marks(text, "part")) <= charts.MOST_SPANS
    assert len(text) < 30_000

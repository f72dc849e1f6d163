"""Charts as SVG, made on the server. Pure.

Rules:

1. A chart works without scripts and without styles of its own: positions across are parts of a hundred of
   its width, so that it fits a phone as well as a desk while its texts keep their size. Colours are those of
   the style sheet (`.chart`, `.spark`, `.strip`).
2. Each mark says its values in a `<title>`, which browsers show where the pointer rests. Whoever sees no
   chart reads its label, and the same numbers in the table beside it, which the page has.
3. A chart is bounded: the bars of MOST_BARS, and the spans of MOST_SPANS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup, escape

MOST_BARS: Final = 400
"""A year of days, and a month. Each bar takes 300 bytes of the page."""
MOST_SPANS: Final = 200
"""More cannot be told apart in a strip; those near to each other are drawn as one."""
HEIGHT: Final = 160
"""Of the bars, in pixels."""
AXIS: Final = 22
"""Of the labels below them."""
ROOM: Final = 14
"""Above the highest bar, for the text of the highest line."""
CLASSES: Final = ("bar", "bar second")
"""Of the values of one place: the last one is drawn in front, and strongest."""
LEAST_WIDTH: Final = 0.4
"""Of a span in a strip, in parts of a hundred: a narrower one would not be seen."""


class Bar(NamedTuple):
    """One place of a chart. label: below it. title: what is shown when the pointer rests on it.

    values: at most two, none below zero; they are drawn one before the other, not stacked.
    """

    label: str
    title: str
    values: tuple[int, ...]


def top_of(highest: int, *, is_bytes: bool = False) -> int:
    """The highest line of a chart: a round number (1, 2 or 5 and noughts) that is not below any value.

    is_bytes: it is round as KiB, MiB or GiB.
    """
    unit = 1
    while is_bytes and highest > 500 * unit:
        unit *= 1024
    step = unit
    while True:
        for factor in (1, 2, 5):
            if factor * step >= highest:
                return factor * step
        step *= 10


def bar_chart(
    bars: Sequence[Bar], label: str, show: Callable[[int], str] = str, *, is_bytes: bool = False
) -> Markup:
    """A chart of bars from left to right. show: writes the numbers of its lines."""
    bars = bars[-MOST_BARS:]
    top = top_of(max((value for bar in bars for value in bar.values), default=0), is_bytes=is_bytes)
    parts = [
        Markup('<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">').format(
            HEIGHT + AXIS, label
        )
    ]
    for number, bar in enumerate(bars):
        parts.append(_bar(bar, number, len(bars), top))
    for value in (top, top // 2) if top > 1 else (top,):  # after the bars, so that the text is before them
        y = _y(value, top)
        parts.append(
            Markup(
                '<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/><text x="0" y="{1}">{2}</text>'
            ).format(y, y - 3, show(value))
        )
    for place, anchor, at in (("0", "start", 0), ("50%", "middle", len(bars) // 2), ("100%", "end", -1)):
        if bars and (len(bars) > 2 or anchor == "start"):
            parts.append(
                Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
                    place, HEIGHT + AXIS - 6, anchor, bars[at].label
                )
            )
    return _joined(*parts, Markup("</svg>"))


def _y(value: int, top: int) -> int:
    return HEIGHT - round((HEIGHT - ROOM) * value / top)


def _bar(bar: Bar, number: int, count: int, top: int) -> Markup:
    left, width = 100 * number / count, 100 / count
    parts = [
        Markup('<g><title>{}</title><rect class="back" x="{}%" y="{}" width="{}%" height="{}"/>').format(
            bar.title, _short(left), ROOM, _short(width), HEIGHT - ROOM
        )
    ]
    for place, value in enumerate(bar.values):
        if value:
            inset = width * (0.1 + 0.15 * place)
            y = min(_y(value, top), HEIGHT - 1)
            parts.append(
                Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                    CLASSES[place - len(bar.values)],
                    _short(left + inset),
                    y,
                    _short(width - 2 * inset),
                    HEIGHT - y,
                )
            )
    return _joined(*parts, Markup("</g>"))


def spark_line(values: Sequence[int], label: str) -> Markup:
    """A small line of some days, for a row of a table. It is as wide as its cell lets it be."""
    values = values[-MOST_BARS:]
    top = max(values, default=0) or 1
    points = " ".join(f"{number},{_short(20 - 18 * value / top)}" for number, value in enumerate(values))
    return Markup(
        '<svg class="spark" viewBox="0 0 {} 22" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline vector-effect="non-scaling-stroke" points="{}"/></svg>'
    ).format(max(1, len(values) - 1), label, points)


def coverage_strip(size: int, spans: Iterable[tuple[int, int]], label: str) -> Markup:
    """A file as a strip in which the spans are filled in. size: of the file, in bytes."""
    parts = [Markup('<svg class="strip" width="100%" height="14" role="img" aria-label="{}">').format(label)]
    parts.append(Markup('<rect class="back" width="100%" height="14"/>'))
    for start, stop in _few(list(spans), size):
        left = 100 * start / size
        width = max(100 * (stop - start) / size, LEAST_WIDTH)
        left = min(left, 100 - width)
        parts.append(
            Markup('<rect class="part" x="{}%" width="{}%" height="14"><title>{}–{}</title></rect>').format(
                _short(left), _short(width), start, stop - 1
            )
        )
    return _joined(*parts, Markup("</svg>"))


def _few(spans: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The spans that lie in the file, joined where they are near until there are few enough."""
    cut = sorted((max(0, start), min(stop, size)) for start, stop in spans)
    found = [span for span in cut if span[0] < span[1]]
    gap = max(1, size // 1000)
    while len(found) > MOST_SPANS:
        joined = found[:1]
        for start, stop in found[1:]:
            if start - joined[-1][1] <= gap:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((start, stop))
        found, gap = joined, 2 * gap
    return found


def _short(number: float) -> str:
    """A position with two digits after the point, without noughts at the end."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _joined(*parts: Markup) -> Markup:
    return Markup("").join(escape(part) for part in parts)

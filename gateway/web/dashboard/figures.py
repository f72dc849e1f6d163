"""Charts of days, with the table of each, in the reader's language.

A long time is shown by week or by month, so that a chart has never more than MOST_BARS bars: nobody can tell
more of them apart on a phone, and a page stays below 60 KB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from babel.dates import format_date, format_skeleton
from markupsafe import Markup

from gateway.pages.charts import Bar, bar_chart
from gateway.pages.formats import moment_of, write_day, write_number, write_size
from gateway.pages.texts import Texts
from gateway.usage.days import Usage, add_up
from gateway.usage.queries import DAY_MS, period_of

_ = str  # marks what is in the catalogue

MOST_BARS: Final = 32
"""Of one chart: a month of days. A bar takes 350 bytes of the page, and its row of the table 300."""
DAYS_OF: Final = {"day": 1, "week": 7, "month": 28}
"""The fewest days that a whole period has."""
DOWNLOADS: Final = {
    "day": _("Downloads by day"),
    "week": _("Downloads by week"),
    "month": _("Downloads by month"),
}
SENT: Final = {"day": _("Sent by day"), "week": _("Sent by week"), "month": _("Sent by month")}
HEADINGS: Final = {"day": _("Day (UTC)"), "week": _("Week from (UTC)"), "month": _("Month (UTC)")}


class Row(NamedTuple):
    """One period of a table. label: its name in the reader's language."""

    label: str
    usage: Usage


@dataclass(frozen=True)
class Charts:
    """What some days have: a chart of downloads, one of bytes, and the rows of their table, latest first.

    title, sent_title, heading: of the charts and of the table's first column; they say the period.
    """

    downloads: Markup
    bytes: Markup
    rows: list[Row]
    title: str
    sent_title: str
    heading: str

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing at all."""
        return not any(any(row.usage) for row in self.rows)


def choose_period(count: int) -> str:
    """The shortest period of which so many days have at most MOST_BARS, with a part at each end."""
    for period, days in DAYS_OF.items():
        if -(-count // days) + (days > 1) <= MOST_BARS:
            return period
    return "month"


def by_period(first: int, days: Sequence[Usage], period: str) -> list[tuple[int, Usage]]:
    """The sums of the periods of days in a row: the first day of each that is shown, and its sum."""
    found: list[tuple[int, Usage]] = []
    stop = first + len(days)
    while first < stop:
        end = min(period_of(first, period)[1], stop)
        found.append((first, add_up(days[len(days) - stop + first : len(days) - stop + end])))
        first = end
    return found


def day_charts(first: int, days: Sequence[Usage], texts: Texts) -> Charts:
    """The charts of days in a row. first: the number of the first day, since 1970."""
    locale, period = texts.locale, choose_period(len(days))
    periods = by_period(first, days, period)
    moments = [day * DAY_MS for day, _usage in periods]
    sums = [usage for _day, usage in periods]
    if period == "month":
        short = [str(format_date(moment_of(each).date(), "MMM", locale=locale)) for each in moments]
        long = [str(format_skeleton("yMMMM", moment_of(each), locale=locale)) for each in moments]
    else:
        short = [str(format_date(moment_of(each).date(), "d MMM", locale=locale)) for each in moments]
        long = [write_day(each, locale) for each in moments]

    def bars(title: Callable[[str, Usage], str], values: Callable[[Usage], tuple[int, ...]]) -> list[Bar]:
        return [
            Bar(label, title(name, usage), values(usage))
            for label, name, usage in zip(short, long, sums, strict=True)
        ]

    def downloads_title(day: str, usage: Usage) -> str:
        text = texts.gettext(_("%(day)s: %(started)s started, %(completed)s completed"))
        return text % {
            "day": day,
            "started": write_number(usage.started, locale),
            "completed": write_number(usage.completed, locale),
        }

    title, sent_title = texts.gettext(DOWNLOADS[period]), texts.gettext(SENT[period])
    return Charts(
        bar_chart(
            bars(downloads_title, lambda usage: (usage.started, usage.completed)),
            title,
            lambda value: write_number(value, locale),
        ),
        bar_chart(
            bars(
                lambda day, usage: f"{day}: {write_size(usage.bytes, locale)}", lambda usage: (usage.bytes,)
            ),
            sent_title,
            lambda value: write_size(value, locale),
            is_bytes=True,
        ),
        [Row(name, usage) for name, usage in zip(long, sums, strict=True)][::-1],
        title,
        sent_title,
        texts.gettext(HEADINGS[period]),
    )

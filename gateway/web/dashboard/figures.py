"""Charts of days, with the table of each, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babel.dates import format_date
from markupsafe import Markup

from gateway.pages.charts import Bar, bar_chart
from gateway.pages.formats import moment_of, write_day, write_number, write_size
from gateway.pages.texts import Texts
from gateway.usage.days import Usage
from gateway.usage.queries import DAY_MS

_ = str  # marks what is in the catalogue


@dataclass(frozen=True)
class Charts:
    """What the days have: a chart of downloads, one of bytes, and the rows of their table, latest first."""

    downloads: Markup
    bytes: Markup
    rows: list[tuple[int, Usage]]

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing at all."""
        return not any(any(usage) for _, usage in self.rows)


def day_charts(first: int, days: Sequence[Usage], texts: Texts) -> Charts:
    """The charts of days in a row. first: the number of the first day, since 1970."""
    locale = texts.locale
    moments = [(first + place) * DAY_MS for place in range(len(days))]
    short = [str(format_date(moment_of(each).date(), "d MMM", locale=locale)) for each in moments]
    long = [write_day(each, locale) for each in moments]

    def bars(title: Callable[[str, Usage], str], values: Callable[[Usage], tuple[int, ...]]) -> list[Bar]:
        return [
            Bar(label, title(day, usage), values(usage))
            for label, day, usage in zip(short, long, days, strict=True)
        ]

    def downloads_title(day: str, usage: Usage) -> str:
        text = texts.gettext(_("%(day)s: %(started)s started, %(completed)s completed"))
        return text % {
            "day": day,
            "started": write_number(usage.started, locale),
            "completed": write_number(usage.completed, locale),
        }

    return Charts(
        bar_chart(
            bars(downloads_title, lambda usage: (usage.started, usage.completed)),
            texts.gettext(_("Downloads by day")),
            lambda value: write_number(value, locale),
        ),
        bar_chart(
            bars(
                lambda day, usage: f"{day}: {write_size(usage.bytes, locale)}", lambda usage: (usage.bytes,)
            ),
            texts.gettext(_("Sent by day")),
            lambda value: write_size(value, locale),
            is_bytes=True,
        ),
        [(moment, usage) for moment, usage in zip(moments, days, strict=True)][::-1],
    )

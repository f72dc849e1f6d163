"""How moments, sizes and numbers are written in the reader's language. Pure.

Times are shown in UTC. Where a page may run a script, `static/times.js` writes them in the zone of the
reader's browser and keeps the UTC time as a hint.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal
from markupsafe import Markup

from gateway.config.units import LAST_MOMENT

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
"""As in the terminal and on the index of a version (`units.format_size`)."""


def moment_of(milliseconds: int) -> datetime:
    """A moment in UTC, from milliseconds since 1970. It is cut to what a calendar has."""
    return datetime.fromtimestamp(min(max(milliseconds, 0), LAST_MOMENT) / 1000, UTC)


def write_moment(milliseconds: int, locale: Locale) -> str:
    """A date with its time in UTC, as text."""
    return f"{format_datetime(moment_of(milliseconds), 'medium', tzinfo=UTC, locale=locale)} UTC"


def write_day(milliseconds: int, locale: Locale) -> str:
    """A date in UTC, as text."""
    return str(format_date(moment_of(milliseconds).date(), "medium", locale=locale))


def show_moment(milliseconds: int, locale: Locale) -> Markup:
    """A `<time>` element with a date and its time."""
    return _element(milliseconds, write_moment(milliseconds, locale), "moment")


def show_day(milliseconds: int, locale: Locale) -> Markup:
    """A `<time>` element with a date."""
    return _element(milliseconds, write_day(milliseconds, locale), "day")


def write_size(size: int, locale: Locale) -> str:
    """A number of bytes, rounded to one decimal place: 1.5 GiB."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    pattern = "0.0" if power else "0"
    return f"{format_decimal(size / 1024**power, pattern, locale=locale)}\N{NO-BREAK SPACE}{_UNITS[power]}"


def write_number(value: float, locale: Locale) -> str:
    """A number, with its digits in groups."""
    return str(format_decimal(value, locale=locale))


def _element(milliseconds: int, text: str, form: str) -> Markup:
    machine = moment_of(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(machine, form, text)

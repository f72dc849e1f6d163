"""Which item of a platform is which product, and what of it a customer gets. Pure.

The most specific mapping decides alone: the identifiers of a line are looked up one after the other, a
variant before a price, a price before a product, the SKU after these, and the first that is mapped gives the
products, all of them (a bundle). An item that is mapped to no product at all, such as a T-shirt, grants
nothing and waits for nothing.

Scopes of a product:

- `all`: every version, also later ones.
- `version`: one version.
- `until`: the versions published until a moment. It is a time, or a period that begins when the order was
  placed: `P1Y`, `P6M`, `P30D` (ISO 8601). When it is over, the customer keeps what was published before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.orders.facts import Identifier

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_PERIOD: Final = re.compile(r"P(?=\d)(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?", re.ASCII)
_LONGEST_YEARS: Final = 100
"""No update window is longer. Beyond it a date could leave the years that Python knows."""


class Scope(StrEnum):
    """How much of a product an entitlement opens."""

    ALL = "all"
    VERSION = "version"
    UNTIL = "until"


@dataclass(frozen=True)
class Share:
    """What a customer gets of one product.

    version: with the scope VERSION. until: with UNTIL, ms since 1970.
    """

    product_id: str
    scope: Scope = Scope.ALL
    version: str | None = None
    until: int | None = None

    def opens(self, version: str, published_at: int) -> bool:
        """Whether it opens a version, which was published at a moment."""
        if self.scope is Scope.VERSION:
            return version == self.version
        return self.scope is Scope.ALL or (self.until is not None and published_at <= self.until)


@dataclass(frozen=True)
class MappedProduct:
    """One product of a mapping. until: with the scope UNTIL, ms since 1970; or else period, such as `P1Y`."""

    product_id: str
    scope: Scope = Scope.ALL
    version: str | None = None
    until: int | None = None
    period: str | None = None

    def share(self, placed_at: int) -> Share:
        """What the customer of an order gets, which was placed at a moment (ms)."""
        until = add_period(placed_at, self.period) if self.period else self.until
        return Share(self.product_id, self.scope, self.version, until)


Mappings: TypeAlias = MappingType[Identifier, tuple[MappedProduct, ...]]
"""What items are, by their identifiers, in one connection."""


def find(mappings: Mappings, identifiers: Iterable[Identifier]) -> Identifier | None:
    """The first identifier that is mapped. identifiers: of a line, the most specific first."""
    return next((each for each in identifiers if each in mappings), None)


def is_period(text: str) -> bool:
    """Whether a text is a period that `add_period` can add."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        return False
    years, months, weeks, days = (int(each or 0) for each in match.groups())
    return years + months / 12 + weeks / 52 + days / 365 <= _LONGEST_YEARS


def add_period(moment: int, period: str) -> int:
    """Add a period to a moment (ms since 1970), by the calendar in UTC.

    A day that the month lacks becomes its last one: a month after 31 January is 28 or 29 February.
    """
    match = _PERIOD.fullmatch(period)
    assert match is not None, "checked by is_period"
    years, months, weeks, days = (int(each or 0) for each in match.groups())
    start = _EPOCH + moment * _MILLISECOND
    month = start.month - 1 + months + 12 * years
    first = start.replace(year=start.year + month // 12, month=month % 12 + 1, day=1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    end = first.replace(day=min(start.day, last.day)) + timedelta(weeks=weeks, days=days)
    return (end - _EPOCH) // _MILLISECOND

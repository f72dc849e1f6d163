"""Lists: filters in the URL, one page after the other, and the same as CSV.

    listing = read_listing(request, "action", "by")
    rows = await …(listing.filters, listing.after, ROWS + 1)
    listing = listing.with_rows(rows, lambda row: row.id)
    if listing.wants_csv: …

A list is at `/x`, and as a file at `/x.csv` with the same filters: `wants_csv` says which was asked for. The
template has the macros of `parts.html` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from gateway.web.dashboard.context import query_of

ROWS: Final = 50
"""Rows of one page: what a person looks through, and well below the 60 KB of a page."""
CSV_ROWS: Final = 10_000
"""Rows of a file. Who needs more asks the API, which streams."""
LONGEST_FILTER: Final = 200


@dataclass(frozen=True)
class Listing:
    """One page of a list. filters: by name, empty where none. after: the cursor it begins behind.

    next: the cursor of the next page; empty for the last one.
    """

    filters: Mapping[str, str]
    after: str
    wants_csv: bool
    rows: Sequence[Any] = ()
    next: str = ""

    @property
    def limit(self) -> int:
        """How many rows to read: one more than a page has, to see whether there is another one."""
        return CSV_ROWS if self.wants_csv else ROWS + 1

    @property
    def is_filtered(self) -> bool:
        """Whether there is any filter: an empty list means something else then."""
        return any(self.filters.values())

    @property
    def is_first(self) -> bool:
        """Whether it is the first page."""
        return not self.after

    def with_rows(self, rows: Sequence[Any], cursor: Callable[[Any], str]) -> Listing:
        """The listing with what was read. cursor: of a row, to go on behind it."""
        page = rows if self.wants_csv else rows[:ROWS]
        return replace(self, rows=page, next=cursor(page[-1]) if len(rows) > len(page) else "")

    def query(self, **changes: Any) -> str:
        """The query of the same list with other filters or another page."""
        return query_of({**self.filters, **changes})


def read_listing(request: web.BaseRequest, *names: str) -> Listing:
    """Read the filters of these names, and the cursor `after`, from the URL of a request."""
    filters = {name: clean(request.query.get(name, "")) for name in names}
    return Listing(filters, clean(request.query.get("after", "")), request.path.endswith(".csv"))


def clean(text: str) -> str:
    """A filter as it is searched for: one line, not too long."""
    return "".join(sign for sign in text if sign.isprintable()).strip()[:LONGEST_FILTER]

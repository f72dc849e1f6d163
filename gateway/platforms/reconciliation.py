"""When to look for lost webhooks, and from where on. Pure.

A connection with an API key is looked through once an hour. A run covers the time from the end of the one
before, and an overlap: platforms list an order some time after it changed, and their clocks are not ours. A
run is done page by page, and the cursor says how far it is. It is kept in the database after each page, with
what the page brought, so a process that ends in the middle is followed by one that goes on there. What is
found twice has the same dedupe key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

INTERVAL: Final = 3600 * 1000
"""From the end of one run to the begin of the next, ms."""
OVERLAP: Final = 15 * 60 * 1000
"""How much of the time before is looked through again, ms."""
MOST_BACK: Final = 29 * 24 * 3600 * 1000
"""How far back a run goes, ms. Stripe and FastSpring keep events for 30 days."""


@dataclass(frozen=True)
class Cursor:
    """How far a connection has been looked through. Times are ms since 1970.

    done: everything that changed before was seen. since, until: what the run in progress covers; None while
    there is none. page: the platform's word for the next page; None for the first. mark: the platform's word
    for the last thing seen, which outlives a run. finished: when the last run ended.
    """

    done: int
    since: int | None = None
    until: int | None = None
    page: str | None = None
    mark: str | None = None
    finished: int | None = None


def first_cursor(made: int) -> Cursor:
    """The cursor of a connection that was made at this time, ms."""
    return Cursor(done=made)


def is_due(cursor: Cursor, now: int) -> bool:
    """Whether a page should be asked for. A clock that was set back does not stop it for long."""
    if cursor.since is not None or cursor.finished is None:
        return True
    return not 0 <= now - cursor.finished < INTERVAL


def begin(cursor: Cursor, now: int) -> Cursor:
    """The cursor for the next page: of the run in progress, or of a new one."""
    if cursor.since is not None:
        return cursor
    since = max(min(cursor.done, now) - OVERLAP, now - MOST_BACK, 0)
    return replace(cursor, since=since, until=now, page=None)


def advance(cursor: Cursor, page: str | None, mark: str | None, now: int) -> Cursor:
    """The cursor after a page. page: the next one; None where that was the last."""
    mark = mark or cursor.mark
    if page is not None and page != cursor.page:
        return replace(cursor, page=page, mark=mark)
    done = cursor.done if cursor.until is None else max(cursor.done, cursor.until)
    return Cursor(done=done, mark=mark, finished=now)


def write_cursor(cursor: Cursor) -> dict[str, Any]:
    """Make the JSON object of a cursor."""
    return asdict(cursor)


def read_cursor(content: Any, made: int) -> Cursor:
    """Read what `write_cursor` wrote; anything else is the cursor of a new connection, made at this time."""
    if not isinstance(content, dict) or set(content) != set(asdict(first_cursor(0))):
        return first_cursor(made)
    times = [content[name] for name in ("done", "since", "until", "finished")]
    texts = [content[name] for name in ("page", "mark")]
    right = all(type(each) is int or each is None for each in times) and all(
        isinstance(each, str) or each is None for each in texts
    )
    return Cursor(**content) if right and content["done"] is not None else first_cursor(made)

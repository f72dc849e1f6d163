"""Lists: filters in the URL, pages, an empty state, and CSV; on the list of changes."""

from __future__ import annotations

import csv
import io
import re

from aiohttp.test_utils import make_mocked_request

from gateway.web.dashboard.listing import LONGEST_FILTER, ROWS, read_listing
from tests.support.control_plane import Api
from tests.support.dashboard import Visitor


def test_filters_are_one_short_line() -> None:
    request = make_mocked_request("GET", f"/x?by=%20a%0d%0ab%00%20&action={'x' * 500}&other=1&after=9")
    listing = read_listing(request, "by", "action")
    assert listing.filters == {"by": "ab", "action": "x" * LONGEST_FILTER}
    assert (listing.after, listing.wants_csv, listing.is_filtered) == ("9", False, True)
    assert not read_listing(make_mocked_request("GET", "/x"), "by").is_filtered
    assert read_listing(make_mocked_request("GET", "/x.csv?by=a"), "by").wants_csv


def test_a_full_page_leads_to_the_next_one() -> None:
    listing = read_listing(make_mocked_request("GET", "/x?by=a%26b"), "by")
    full = listing.with_rows(range(ROWS + 1), str)
    assert (len(full.rows), full.next) == (ROWS, str(ROWS - 1))
    assert full.query(after=full.next) == f"by=a%26b&after={ROWS - 1}"
    assert listing.with_rows(range(ROWS), str).next == ""
    assert listing.with_rows([], str).next == ""


async def test_the_list_of_changes_is_searched_turned_and_saved(api: Api, owner: Visitor) -> None:
    for number in range(ROWS + 5):
        await api.store.audit.record("sven", "product.update", {"product": f"p{number}", "name": "=1+1"})
    page = await owner.get("/settings/changes")
    assert page.text.count("<tr>") == ROWS + 1
    assert f"p{ROWS + 4}" in page.text
    following = re.search(r'href="/dashboard(/settings/changes\?after=[^"]+)" rel="next"', page.text)
    assert following
    second = await owner.get(following[1])
    assert second.text.count("<tr>") > 5
    assert "First page" in second.text
    assert "user.create" in second.text
    found = await owner.get("/settings/changes?by=MAR&action=user")
    assert "sven" not in found.text.partition("<tbody>")[2]
    assert 'value="MAR"' in found.text
    saved = await owner.get("/settings/changes.csv?action=product")
    assert saved.headers["Content-Type"].startswith("text/csv")
    assert saved.headers["Cache-Control"] == "no-store"
    rows = list(csv.reader(io.StringIO(saved.text)))
    assert len(rows) == ROWS + 6
    assert rows[1][1:3] == ["sven", "product.update"]
    assert "Nothing here fits" in (await owner.get("/settings/changes?by=nobody")).text


async def test_a_cursor_that_is_none_shows_the_first_page(owner: Visitor) -> None:
    for cursor in ("x", "-", "0-0 COUNT 1", "9" * 40, "'"):
        page = await owner.get("/settings/changes", params={"after": cursor})
        assert page.status == 200
        assert "user.create" in page.text

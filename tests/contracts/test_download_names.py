"""Names and dates that clients and file systems do not agree on: each file is found, and shown in one way."""

from __future__ import annotations

import json
import os
import time
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest

from tests.support.plane import Plane
from tests.support.publications import Published

COMPOSED = "Café Drums é.zip"
DECOMPOSED = "Cafe\u0301 Drums e\u0301.zip"


@pytest.fixture(scope="module")
def decomposed(plane: Plane) -> Published:
    """As macOS lists the files of a folder, and as versions published by earlier releases have them."""
    return plane.publish(b"one", b"two", names=[DECOMPOSED, "sub/A\u030a"])


@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("form", ["path", "query"])
def test_a_name_is_found_in_either_form(plane: Plane, decomposed: Published, name: str, form: str) -> None:
    token = plane.token(decomposed)
    path = f"/{quote(name)}?" if form == "path" else f"?file={quote(name)}&"
    answer = plane.get(f"/download{path}token={token}")
    assert (answer.status, answer.body) == (200, b"one")
    assert answer["Content-Disposition"].endswith(f"filename*=UTF-8''{quote(COMPOSED, safe='')}")


def test_the_index_has_composed_names_and_links(plane: Plane, decomposed: Published) -> None:
    token = plane.token(decomposed)
    files = json.loads(plane.get(f"/download?token={token}", "Accept: application/json").body)["files"]
    assert [file["name"] for file in files] == [COMPOSED, "sub/Å"]
    assert [plane.get(file["url"]).body for file in files] == [b"one", b"two"]
    page = plane.get(f"/download?token={token}", "Accept: text/html").body.decode()
    assert COMPOSED in page
    assert DECOMPOSED not in page


def test_of_two_forms_of_one_name_each_is_found_by_its_own(plane: Plane) -> None:
    published = plane.publish(b"composed", b"decomposed", names=[COMPOSED, DECOMPOSED])
    token = plane.token(published)
    for name, content in ((COMPOSED, b"composed"), (DECOMPOSED, b"decomposed")):
        assert plane.get(f"/download/{quote(name)}?token={token}").body == content


def test_last_modified_is_never_later_than_date(plane: Plane) -> None:
    """RFC 9110 section 8.8.2.1. A clock was wrong when the file was written."""
    published = plane.publish(os.urandom(100_000))
    future = time.time_ns() + 400 * 86_400 * 10**9
    dated = plane.publish(b"dated", modified=future)
    for target in (plane.link(dated), plane.link(published)):
        for method in ("GET", "HEAD"):
            answer = plane.get(target, method=method)
            assert answer.status == 200
            modified, date = (parsedate_to_datetime(answer[name]) for name in ("Last-Modified", "Date"))
            assert modified <= date
    kept = plane.get(plane.link(dated))["Last-Modified"]
    resumed = plane.get(plane.link(dated), "Range: bytes=2-", f"If-Range: {kept}")
    assert (resumed.status, resumed.body) == (206, b"ted")
    assert plane.get(plane.link(dated), f"If-Modified-Since: {kept}").status == 304

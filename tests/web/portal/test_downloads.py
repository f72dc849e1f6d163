"""Downloads from the portal: each is a fresh token that belongs to the purchase; lists for programs."""

from __future__ import annotations

import shlex
from xml.etree import ElementTree as Xml

import pytest

from gateway.http.file_names import download_name
from gateway.secrets import token_id
from gateway.web.portal.quotas import LINKS_OF_CUSTOMER
from tests.support.portal import LIBRARY, ODD_NAMES, Portal

pytestmark = pytest.mark.asyncio(loop_scope="session")


def token_in(path: str) -> str:
    return path.partition("/download/")[2].partition("/")[0]


async def test_download_mints_and_leads_to_the_file(portal: Portal) -> None:
    visitor, email, purchase = await portal.buyer()
    tokens = set()
    for version in ("2.0", "1.0"):
        answer = await visitor.post(f"/purchases/{purchase}/download", version=version, file="0")
        assert answer.status == 303
        assert answer.location.startswith("/download/ct_")
        assert answer.location.endswith("/Epic%20Kit.zip")
        assert answer.headers["Cache-Control"] == "no-store"
        record = await portal.api.store.tokens.get(token_id(token_in(answer.location)))
        assert record is not None
        assert (record.product, record.version, record.email) == ("kit", version, email)
        tokens.add(record.id)
    assert len(tokens) == 2


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"version": "2.0", "file": "1"}, 404),
        ({"version": "2.0", "file": "-1"}, 404),
        ({"version": "2.0", "file": "x"}, 404),
        ({"version": "2.0", "file": "9" * 4000}, 404),
        ({"version": "9", "file": "0"}, 303),
        ({"file": "0"}, 303),
        ({}, 303),
    ],
)
async def test_what_is_not_there_makes_no_token(portal: Portal, form: dict[str, str], status: int) -> None:
    visitor, _, purchase = await portal.buyer()
    answer = await visitor.post(f"/purchases/{purchase}/download", **form)
    assert answer.status == status
    assert "/download/ct_" not in answer.location


async def test_continue_shows_a_fresh_link_and_lines_that_a_shell_reads_as_meant(portal: Portal) -> None:
    visitor, _, purchase = await portal.buyer(LIBRARY)
    for number, name in enumerate(ODD_NAMES):
        page = await visitor.post(f"/purchases/{purchase}/continue", version="1", file=str(number))
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"
        [curl] = [line for line in page.lines_of_code() if line.startswith("curl -")]
        words = shlex.split(curl)
        assert words[:5] == ["curl", "-fL", "-C", "-", "-o"]
        assert words[5] == download_name(name)
        assert words[6].startswith("http://127.0.0.1:8080/download/ct_")
        assert len(words) == 7
        [windows] = [line for line in page.lines_of_code() if line.startswith("curl.exe")]
        assert windows.count('"') == 4
        assert not set("%$`!^&|<>") & set(windows.partition('-o "')[2].partition('"')[0])


async def test_lists_have_every_file_and_one_token(portal: Portal) -> None:
    visitor, _, purchase = await portal.buyer(LIBRARY)
    aria2 = await visitor.post(f"/purchases/{purchase}/list", version="1", list="aria2")
    assert aria2.headers["Content-Disposition"] == 'attachment; filename="library-1.aria2.txt"'
    urls = [line for line in aria2.text.splitlines() if line.startswith("http://")]
    assert len(urls) == len(ODD_NAMES)
    assert len({token_in(url) for url in urls}) == 1
    metalink = await visitor.post(f"/purchases/{purchase}/list", version="1", list="metalink")
    assert metalink.headers["Content-Type"] == "application/metalink4+xml"
    assert len(Xml.fromstring(metalink.text).findall("{urn:ietf:params:xml:ns:metalink}file")) == len(
        ODD_NAMES
    )
    sums = await visitor.get(f"/purchases/{purchase}/SHA256SUMS?version=1")
    assert sums.headers["Content-Disposition"] == 'attachment; filename="SHA256SUMS"'
    assert sums.text.count("\n") == len(ODD_NAMES)
    links = await visitor.post(f"/purchases/{purchase}/download", version="1")
    assert links.status == 303
    assert links.location.rstrip("/").count("/") == 2
    assert (await visitor.post(f"/purchases/{purchase}/list", version="1", list="x")).status == 400


@pytest.mark.slow
async def test_one_customer_makes_so_many_links_in_an_hour(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.web.portal import downloads  # noqa: PLC0415

    monkeypatch.setattr(downloads, "LINKS_OF_CUSTOMER", LINKS_OF_CUSTOMER._replace(limit=2))
    visitor, _, purchase = await portal.buyer()
    other, _, others = await portal.buyer()
    form = {"version": "2.0", "file": "0"}
    said = [await visitor.post(f"/purchases/{purchase}/download", **form) for _ in range(3)]
    assert [each.status for each in said] == [303, 303, 429]
    assert (await other.post(f"/purchases/{others}/download", **form)).status == 303

"""Which file of a version is sent: it is found by its name, or in the index."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from html import unescape
from urllib.parse import quote, unquote, urljoin

import pytest

from gateway.http.file_names import download_name
from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import BROWSER, JSON, POLICY
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.rows import each_row

BACKENDS = EVERY_BACKEND

NAMES = [
    "plain.zip",
    "with space.zip",
    "plus+sign&amp;.zip",
    "percent %41%2F.zip",
    "quote\"s 'single'.zip",
    "semi;colon,comma=.zip",
    "back\\slash.zip",
    "sub/folder/file.zip",
    "/etc/passwd",
    "...",
    "/absolute",
    "Крах.zip",
    "日本語のファイル.wav",
    "עברית.bin",
    "naïve café.mp3",
    "e\u0301.txt",
    "🥁 drums.zip",
    "line\r\nX-Injected: yes.zip",
    "tab\there.zip",
    "nul\0.zip",
    "\u202egpj.exe",
    "question?mark#hash.zip",
    "<script>alert(1)</script>.html",
    "x" * 255,
    "ж" * 255,
    ".hidden",
    "ct_looks-like-a-token-ct_looks-like-a-token",
]


@pytest.mark.any_backend
@each_row("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_file_is_found_by_its_name_in_any_script(plane: Plane, name: str) -> None:
    """Any name is found by the path and by the parameter, and comes back as a safe name to save under."""
    published = plane.publish(b"named", b"other", names=[name, "other"])
    token = plane.token(published)
    encoded = quote(name, safe="")
    with plane.connect() as client:
        for target in (
            f"/download/{encoded}?token={token}",
            f"/download/{quote(name, safe='/')}?token={token}",
            f"/download?file={encoded}&token={token}",
            f"/download?token={token}&utm_source=mail&file={encoded}",
        ):
            answer = client.get(target)
            assert (answer.status, answer.body) == (200, b"named"), target
            disposition = answer["Content-Disposition"]
            match = re.fullmatch(
                r'attachment; filename="([ -~]*)"(?:; filename\*=UTF-8\'\'([!-~]*))?', disposition
            )
            assert match
            assert not set(match[1]) & set('"\\/')
            assert (match[2] is None) == (match[1] == download_name(name))
            assert unquote(match[2] or match[1], errors="strict") == download_name(name)
        index = client.get(f"/download?token={token}", JSON)
        url = json.loads(index.body)["files"][0]["url"]
        assert client.get(url).body == b"named"
        page = client.get(f"/download?token={token}", BROWSER).body.decode()
        assert "<script>alert" not in page


@pytest.mark.any_backend
@pytest.mark.parametrize("name", ["nothing", "A.WAV", "sub", "sub/..%2Fa.wav", "%FF", "a.wav%00"])
def test_a_name_that_is_not_in_the_manifest_is_not_found(plane: Plane, several: Published, name: str) -> None:
    answer = plane.get(f"/download/{name}?token={plane.token(several)}")
    assert (answer.status, answer.code) == (404, "file_not_found")


@pytest.mark.any_backend
def test_two_names(plane: Plane, several: Published) -> None:
    token = plane.token(several)
    answer = plane.get(f"/download/a.wav?token={token}&file=b.wav")
    assert (answer.status, answer.code) == (400, "bad_request")
    assert plane.get(f"/download/a.wav?token={token}&file=a.wav").body == b"one"


@pytest.mark.any_backend
def test_the_index_in_json(plane: Plane, several: Published) -> None:
    token = plane.token(several, maximum=1)
    answer = plane.get(f"/download?token={token}", JSON)
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    index = json.loads(answer.body)
    assert (index["product"], index["version"]) == (several.manifest.product, "1.0")
    assert [(file["name"], file["size"], file["sha256"]) for file in index["files"]] == [
        (file.name, file.size, file.sha256) for file in several.manifest.files
    ]
    assert [plane.get(file["url"]).body for file in index["files"]] == [b"one", b"two!", b""]
    head = plane.get(f"/download?token={token}", JSON, method="HEAD")
    assert head["Content-Length"] == answer["Content-Length"]


@pytest.mark.any_backend
def test_the_index_as_a_page(plane: Plane, several: Published) -> None:
    answer = plane.get(f"/download/?token={plane.token(several)}", BROWSER)
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert set(answer["Content-Security-Policy"].split("; ")) == POLICY
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Vary"] == "Accept"
    page = answer.body.decode()
    assert "&lt;empty&gt;.txt" in page
    assert [file.sha256 in page for file in several.manifest.files] == [True] * 3
    assert re.search(r"works until <time datetime=", page)
    assert "<empty>" not in page
    links = re.findall(r'<a href="([^"]*)"', page)
    assert [plane.get(found.replace("&amp;", "&")).body for found in links] == [b"one", b"two!", b""]


@pytest.mark.any_backend
@pytest.mark.parametrize("form", ["/download/{}sub/", "/download/{}x/..//sub//", "/download/{}?file=sub/"])
@pytest.mark.parametrize("in_url", [True, False])
def test_the_index_of_a_folder(plane: Plane, form: str, in_url: bool) -> None:
    names = ["a.wav", "sub/b.wav", "sub/deep/c.wav", "subway.wav"]
    token = plane.token(plane.publish(b"a", b"b", b"c", b"d", names=names))
    target = form.format(f"{token}/" if in_url else "")
    fields = () if in_url else (f"Authorization: Bearer {token}",)
    files = json.loads(plane.get(target, JSON, *fields).body)["files"]
    assert [file["name"] for file in files] == ["sub/b.wav", "sub/deep/c.wav"]
    if in_url or "sub/" in form.partition("?")[0]:
        pages = {
            accept: plane.get(target, accept, *fields).body.decode() for accept in (BROWSER, "Accept: */*")
        }
        links = {accept: re.findall(r'href="([^"]*)"', page) for accept, page in pages.items()}
        found = [urljoin(f"http://h{target}", link).removeprefix("http://h") for link in links[BROWSER]]
        assert [plane.get(link, *fields).body for link in found] == [b"b", b"c"]
        [folder] = set(links["Accept: */*"]) - set(links[BROWSER])
        assert folder.endswith("deep/")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ((), "text/html; charset=utf-8"),
        (("Accept: */*",), "text/html; charset=utf-8"),
        ((BROWSER,), "text/html; charset=utf-8"),
        ((JSON,), "application/json"),
        (("Accept: application/json, text/plain, */*",), "application/json"),
        (("Accept: text/html, application/json;q=0.5",), "text/html; charset=utf-8"),
    ],
)
def test_the_index_is_a_page_unless_json_is_asked_for(
    plane: Plane, several: Published, accept: tuple[str, ...], media_type: str
) -> None:
    assert plane.get(f"/download/{plane.token(several)}/", *accept)["Content-Type"] == media_type


@pytest.mark.any_backend
@pytest.mark.parametrize("target", ["/download", "/download/", "//download/", "/%64ownload"])
@pytest.mark.parametrize("field", ["Authorization: Bearer {}", "Authorization: Basic {basic}"])
@pytest.mark.parametrize("accept", [JSON, "Accept: */*"])
def test_an_index_for_a_token_in_a_field_has_relative_links_without_it(
    plane: Plane, several: Published, target: str, field: str, accept: str
) -> None:
    token = plane.token(several)
    field = field.format(token, basic=b64encode(f"any:{token}".encode()).decode())
    index = plane.get(target, field, accept)
    assert token[3:].encode() not in index.body
    if accept == JSON:
        links = [file["url"] for file in json.loads(index.body)["files"]]
    else:
        links = [unescape(link) for link in re.findall(r'href="([^"]*[^"/])"', index.body.decode())]
    found = [urljoin(f"http://h{target.replace('//', '/')}", link).removeprefix("http://h") for link in links]
    assert [plane.get(link, field).body for link in found] == [b"one", b"two!", b""]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "form", ["/download?token={}", "/download/{}/", "/download/?token={}", "/download/{}"]
)
def test_an_index_for_a_token_in_the_url_has_links_with_the_token_in_the_path(
    plane: Plane, several: Published, form: str
) -> None:
    token = plane.token(several)
    index = plane.get(form.format(token), JSON)
    links = [file["url"] for file in json.loads(index.body)["files"]]
    assert links[0] == f"/download/{token}/a.wav"
    assert [plane.get(link).body for link in links] == [b"one", b"two!", b""]

"""Pages over HTTP: their fields, files, languages, refusals, and what comes from another site."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.config.settings import Settings
from gateway.database.patience import waiting_at_most
from gateway.pages import templates
from gateway.pages.look import Look
from gateway.web import pages
from gateway.web.application import PATIENCE
from gateway.web.pages import Pages, note_begun
from gateway.web.problems import Problem, database_unavailable, overloaded, store_unavailable
from tests.support.control_plane import Api

PAGE = "/dashboard/first-visit"
"""A page that needs no sign-in."""


async def get(api: Api, path: str, method: str = "GET", **options: Any) -> tuple[int, str, Any]:
    options.setdefault("allow_redirects", False)
    async with api.session.request(method, api.url + path, **options) as response:
        return response.status, (await response.read()).decode("utf-8", "replace"), response.headers


async def test_what_a_page_may_do(api: Api) -> None:
    status, body, headers = await get(api, PAGE)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(
        r"<style|<script>|style=|\son\w+=|https?://", re.sub(r"<code>[^<]*</code>", "", body)
    )
    head_status, head_body, head_headers = await get(api, PAGE, "HEAD")
    assert (head_status, head_body, head_headers["Content-Length"]) == (200, "", str(len(body.encode())))


async def test_every_file_of_a_page_is_there_and_kept(api: Api) -> None:
    _, body, _ = await get(api, PAGE)
    files = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', body)
    assert len(files) >= 3
    for path in files:
        status, content, headers = await get(api, path, headers={"Accept-Encoding": "identity"})
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        async with api.session.get(api.url + path, headers={"Accept-Encoding": "gzip"}) as response:
            assert await response.text() == content
    for path in ("style.css", "x", "..%2f..%2fsettings.py", "style-000000000000.css"):
        assert (await get(api, f"/dashboard/static/{path}"))[0] == 404


async def test_a_file_is_sent_compressed(api: Api) -> None:
    _, body, _ = await get(api, PAGE)
    path = re.search(r'href="(/dashboard/static/style[^"]+)"', body)
    assert path
    answer = await api.talk(
        f"GET {path[1]} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert b"--button:#1a5fb4" in gzip.decompress(content)


@pytest.mark.parametrize(("path", "to"), [("/", "/dashboard/"), ("/dashboard", "/dashboard/")])
async def test_bare_paths_lead_to_the_pages(api: Api, path: str, to: str) -> None:
    status, _, headers = await get(api, path)
    assert (status, headers["Location"]) == (303, to)


async def test_the_language_of_a_page(api: Api) -> None:
    for fields, language in (
        ({}, "en"),
        ({"Accept-Language": "de-DE,de;q=0.9"}, "de"),
        ({"Accept-Language": "de", "Cookie": "language=en"}, "en"),
        ({"Cookie": "language=../../x"}, "en"),
    ):
        _, body, headers = await get(api, PAGE, headers=fields)
        assert f'<html lang="{language}">' in body
        assert headers["Content-Language"] == language


async def test_a_refusal_is_a_page(api: Api) -> None:
    status, body, headers = await get(api, "/dashboard/<script>", headers={"Accept-Language": "de"})
    assert status == 404
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Diese Seite gibt es nicht" in body
    assert "<script>" not in body
    status, body, headers = await get(api, PAGE, "DELETE")
    assert (status, headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    ("method", "problem", "begun", "commits", "says"),
    [
        ("GET", database_unavailable(), False, False, "Try again"),
        ("POST", database_unavailable(), False, False, "Nothing was changed."),
        ("POST", database_unavailable(), True, False, "Nothing was changed."),
        ("POST", database_unavailable(), True, True, "Perhaps it was done"),
        ("POST", store_unavailable("x"), False, False, "Nothing was changed."),
        ("POST", store_unavailable("x"), True, False, "Perhaps it was done"),
        ("POST", store_unavailable("x"), False, True, "Perhaps it was done"),
        ("POST", overloaded(), False, False, "Nothing was changed."),
        ("POST", Problem("not_found", "x"), True, False, "There is no such page"),
    ],
)
async def test_a_refusal_says_what_became_of_what_was_sent(
    method: str, problem: Problem, begun: bool, commits: bool, says: str
) -> None:
    pages = Pages(Look.of(Settings()), "en", "/my", None)
    request = make_mocked_request(method, "/my/account")
    if begun:
        note_begun(request)
    with waiting_at_most(30) as request[PATIENCE]:
        request[PATIENCE].may_have_changed = commits
    answer = pages.refuse(request, problem)
    assert isinstance(answer, web.Response)
    body = answer.text or ""
    texts = ("Try again</a>", "Nothing was changed.", "Perhaps it was done", "There is no such page")
    assert [text for text in texts if text in body] == [text for text in texts if text.startswith(says)]


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_nothing_is_taken_from_another_site(api: Api, fields: dict[str, str]) -> None:
    status, body, _ = await get(api, PAGE, "POST", headers=fields, data={"a": "b"})
    assert (status, "This came from another site" in body) == (403, True)
    assert (await get(api, PAGE, headers=fields))[0] == 200


async def test_templates_are_compiled_before_anybody_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PREPARE_AFTER_SECONDS", 0)
    monkeypatch.setattr(pages, "PREPARE_PAUSE_SECONDS", 0)
    monkeypatch.setattr(pages, "template_names", lambda: ["dashboard/home.html", "portal/code.html"])
    prepared: list[tuple[str, str]] = []

    def note(name: str, language: str) -> None:
        templates.prepare(name, language)
        prepared.append((language, name))

    monkeypatch.setattr(pages, "prepare", note)
    await pages.prepare_templates("de")
    names = ["dashboard/home.html", "portal/code.html"]
    assert prepared == [(language, name) for language in ("de", "en") for name in names]


def test_the_templates_are_those_of_all_pages_and_mails() -> None:
    assert {"dashboard/home.html", "portal/purchases.html", "parts.html"} <= set(templates.template_names())

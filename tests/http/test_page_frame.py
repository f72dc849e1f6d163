"""The frame of every page: what it declares, and that it needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree as Xml

from gateway.http.page_frame import POLICY, frame


class Elements(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


PAGE = frame("A <b> & \u202ec \udcff", "<h1>A</h1>")


def test_what_every_page_declares() -> None:
    elements = Elements(PAGE).found
    named = {facts["name"]: facts["content"] for tag, facts in elements if tag == "meta" and "name" in facts}
    assert named["viewport"] == "width=device-width,initial-scale=1"
    assert named["color-scheme"] == "light dark"
    assert ("html", {"lang": "en"}) in elements
    assert [tag for tag, _ in elements].count("main") == 1
    assert PAGE.endswith(b"<main><h1>A</h1></main>")
    assert b"color-scheme:light dark" in PAGE
    assert "<title>A &lt;b&gt; &amp; [U+202E]c \ufffd</title>" in PAGE.decode()


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    assert not re.search(
        rb"<script|javascript:|\son\w+=|https?:|@import|url\(", PAGE.replace(b"http%3A", b"")
    )
    directives = POLICY.removeprefix("Content-Security-Policy: ").strip().split("; ")
    assert "default-src 'none'" in directives
    assert not any("script" in directive for directive in directives)


def test_the_icon_is_a_picture_that_the_policy_allows() -> None:
    [icon] = [facts["href"] for tag, facts in Elements(PAGE).found if tag == "link"]
    assert icon is not None
    kind, _, text = icon.partition(",")
    assert kind == "data:image/svg+xml"
    assert Xml.fromstring(unquote(text)).tag == "{http://www.w3.org/2000/svg}svg"
    assert "img-src data:" in POLICY

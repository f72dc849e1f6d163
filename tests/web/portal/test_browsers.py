"""The names of browsers and systems, as their owners know them."""

from __future__ import annotations

import pytest

from gateway.web.portal.browsers import browser_of

APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "names"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0",
            ("Firefox", "Windows"),
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) {APPLE} Version/17.6 Safari/605.1.15",
            ("Safari", "macOS"),
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) {APPLE} CriOS/128.0 Mobile Safari/604.1",
            ("Chrome", "iPhone"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/128.0 Mobile Safari/537.36",
            ("Chrome", "Android"),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/128.0 Safari/537.36 Edg/128.0",
            ("Edge", "Windows"),
        ),
        ("curl/8.5.0", ("curl", "")),
        ("", ("", "")),
        ("<script>alert(1)</script>", ("", "")),
    ],
)
def test_names(agent: str, names: tuple[str, str]) -> None:
    assert browser_of(agent) == names

"""The seller's own look: name, logo, colour and links by settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.page_settings import MAX_LOGO
from gateway.config.settings import Settings, load
from gateway.errors import ConfigurationError
from gateway.pages.look import Look

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (SVG, "image/svg+xml"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
    ],
)
def test_a_logo(tmp_path: Path, content: bytes, media_type: str) -> None:
    (tmp_path / "logo").write_bytes(content)
    look = Look.of(Settings.model_validate({"seller_logo": tmp_path / "logo"}))
    assert look.logo == (media_type, content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: it or its folder does not exist"),
        (b"GIF89a", "is no SVG, PNG, WebP or JPEG image"),
        (b"RIFF....WAVE", "is no SVG, PNG, WebP or JPEG image"),
        (SVG + b" " * MAX_LOGO, "is longer than 100 KiB"),
    ],
)
def test_a_logo_that_cannot_be_used(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "logo"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"seller_logo: {path} {text}"):
        Look.of(Settings.model_validate({"seller_logo": path}))


def test_links_and_colour(tmp_path: Path) -> None:
    settings = load(
        {}, None, {"GATEWAY_SELLER_LINKS": "Imprint=https://x.example/i, Terms=https://x.example/?a=b"}
    )
    look = Look.of(settings)
    assert look.links == (("Imprint", "https://x.example/i"), ("Terms", "https://x.example/?a=b"))
    assert ":root{--button:#1a5fb4;" in look.style


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("SELLER_COLOUR", "red", "must be a colour such as #1a5fb4, not 'red'"),
        ("SELLER_COLOUR", "#1a5fb4;}", "must be a colour"),
        ("SELLER_LINKS", "Imprint", "'Imprint' is no link: write LABEL=https://…"),
        ("SELLER_LINKS", "Imprint=javascript:alert(1)", "is no link"),
        ("SELLER_LINKS", ",".join(["a=https://x"] * 9), "must be a list of at most 8 links"),
        ("LANGUAGE", "fr", 'must be "en" or "de"'),
        ("DASHBOARD_URL", "ftp://x", "must be http://HOST or https://HOST"),
    ],
)
def test_settings_that_are_refused(variable: str, value: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({}, None, {f"GATEWAY_{variable}": value})
    [fault] = refused.value.faults
    assert fault.startswith(f"GATEWAY_{variable}: ")
    assert text in fault

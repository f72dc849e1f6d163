"""The settings of pages and mails: a part of `Settings` (settings.py). They are the seller's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator

from gateway.config.readers import AbsolutePath, PublicURL, Switch, Text, one_of, setting
from gateway.runtime.system_errors import describe

LANGUAGES: Final = ("en", "de")
"""The languages that pages and mails are written in; the first is the one of their source."""
MAX_LINKS: Final = 8
"""A footer has room for no more."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)


def _colour(value: object) -> str:
    if not isinstance(value, str) or not _COLOUR.fullmatch(value.strip()):
        raise ValueError(f"must be a colour such as #1a5fb4, not {str(value)[:40]!r}")
    return value.strip().lower()


def _links(value: object) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str):
        value = [item for item in value.split(",") if item.strip()]
    if not isinstance(value, list | tuple) or len(value) > MAX_LINKS:
        raise ValueError(f"must be a list of at most {MAX_LINKS} links")
    return tuple(_link(item) for item in value)


def _link(item: object) -> tuple[str, str]:
    label, equals, url = item.partition("=") if isinstance(item, str) else ("", "", "")
    if isinstance(item, list | tuple) and len(item) == 2:
        (label, url), equals = (str(part) for part in item), "="
    try:
        parts = urlsplit(url.strip())
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not equals or not label.strip() or not is_web:
        raise ValueError(
            f"{str(item)[:80]!r} is no link: write LABEL=https://…, as in Imprint=https://shop.example"
        )
    return label.strip(), url.strip()


Colour = Annotated[str, BeforeValidator(_colour)]
Links = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_links)]


class PageSettings(BaseModel):
    """How pages and mails look, and whose they are."""

    seller_name: Text = setting(
        "Downloads", "The seller's name, as customers know it. It stands on every page and in every mail."
    )
    seller_logo: AbsolutePath | None = setting(
        None,
        "An image of the seller's logo (SVG, PNG, WebP or JPEG, at most 100 KiB), shown beside the name.",
        unit="path",
        default_text="none",
    )
    seller_colour: Colour = setting(
        "#1a5fb4", "The colour of buttons and links. It is made darker or lighter where it could not be read."
    )
    seller_links: Links = setting(
        (),
        "Links in the footer of pages and mails, such as those that the law asks for: LABEL=URL, separated "
        "by commas.",
        unit="links",
    )
    language: Annotated[str, one_of(*LANGUAGES)] = setting(
        LANGUAGES[0],
        "The language of mails and pages for whom no other one is known: en or de. Pages follow the reader's "
        "browser.",
    )
    portal_link: Switch | None = setting(
        None,
        "Whether the page about a dead link leads to /my, where customers get another one. Switch it off "
        "where no web process runs, or where a proxy does not pass /my on.",
        default_text="on where customers can sign in: with `mail.url`, and in a trial on one machine",
    )
    dashboard_url: PublicURL = setting(
        None,
        "The URL at which the seller's people reach the dashboard, where a front proxy or a tunnel leads "
        "to it.",
        unit="URL",
        default_text="made from `dashboard_listen`",
    )


def read_logo(path: Path) -> tuple[str, bytes]:
    """The media type and the bytes of a logo. Raises ValueError with the rest of the sentence "PATH …"."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOGO + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {describe(error)}") from None
    if len(data) > MAX_LOGO:
        raise ValueError(f"is longer than {MAX_LOGO // 1024} KiB: make it smaller, it is on every page")
    for begin, media_type in _IMAGES:
        if data.startswith(begin) and (media_type != "image/webp" or data[8:12] == b"WEBP"):
            return media_type, data
    if b"<svg" in data[:1000]:
        return "image/svg+xml", data
    raise ValueError("is no SVG, PNG, WebP or JPEG image")


MAX_LOGO: Final = 100 * 1024
"""Bytes. A page has 60 KB at most, and the logo is loaded once."""
_IMAGES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
)

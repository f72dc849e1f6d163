"""The frame of every page: its language, its style, its icon, and what it may do.

Pages are small and load nothing else, so that they work without scripts, by keyboard, on a narrow screen, and
in the colours that the reader's system prefers.
"""

from __future__ import annotations

import html as markup
from typing import Final
from urllib.parse import quote

from gateway.http.file_names import shown

_STYLE: Final = (
    ":root{color-scheme:light dark;background:canvas;color:canvastext}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:0 auto;"
    "padding:clamp(1.5rem,8vh,5rem) 1rem}"
    "h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.125rem;margin-top:2rem}"
    "h1,h2,p,li{overflow-wrap:anywhere}"
    "ul{list-style:none;margin:1.5rem 0;padding:0}"
    "li{padding:.75rem 0;border-top:1px solid #8886}li:last-child{border-bottom:1px solid #8886}"
    "li a{display:inline-block;padding:.125rem 0;font-weight:600}"
    "a:focus-visible,pre:focus-visible{outline:3px solid;outline-offset:2px}"
    "span{display:block}.quiet{color:#595959}"
    "code{font:.8125rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere;"
    "-webkit-user-select:all;user-select:all}"
    "pre{white-space:pre-wrap;margin:.5rem 0 1rem;padding:.75rem;border:1px solid #8886;border-radius:.25rem}"
    "@media(prefers-color-scheme:dark){.quiet{color:#b3b3b3}}"
)
_ICON: Final = quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" '
    'fill="#1a5fb4"/><path d="M8 3v6M5 7l3 3 3-3M4 13h8" fill="none" stroke="#fff" stroke-width="2"/></svg>',
    safe="",
)
"""An arrow down to a line. It is percent-encoded, so that it needs no quotes in an attribute."""
POLICY: Final = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n"
)
"""What a page may do: use its own style and its own icon. The last three do not follow from default-src."""

PORTAL: Final = "/my"
"""Where customers find what they have bought: see `gateway/web/portal/`."""


def frame(title: str, content: str) -> bytes:
    """A whole page. title: text; it may hold anything. content: HTML, which begins with its heading."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        f"<title>{markup.escape(shown(title))}</title>"
        f'<link rel="icon" href=data:image/svg+xml,{_ICON}>'
        f"<style>{_STYLE}</style><main>{content}</main>"
    ).encode()

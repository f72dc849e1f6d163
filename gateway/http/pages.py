"""The answers that are not files: refusals, for programs and for people, and the index of a version.

Pages are small, load nothing else, and quote nothing of the request.
"""

from __future__ import annotations

import html as markup
import json
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from gateway.config.units import format_size
from gateway.errors import Refusal
from gateway.http.file_names import shown
from gateway.manifest import Manifest, composed

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:12vh auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem "
    ".3rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}td:last-child,th:last-child"
    "{text-align:right;white-space:nowrap}@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}"
    "a{color:#8bf}td,th{border-color:#333}}"
)
_PRIVATE: Final = (
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
)
_PAGE_POLICY: Final = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n"
)
"""What a page may do: use its own style. The last three do not follow from default-src."""


@lru_cache(maxsize=256)
def refusal_answer(
    refusal: Refusal, detail: str | None, html: bool, status: int | None = None
) -> tuple[bytes, bytes]:
    """The head (status line and fields, without the empty line) and the body of a refusal.

    detail: replaces the row's own text. html: a page instead of problem+json (RFC 9457). status: replaces the
    row's own status in the status line, but not in the body.
    """
    text = detail or refusal.detail
    if html:
        media_type, policy = "text/html; charset=utf-8", _PAGE_POLICY
        heading, message = markup.escape(refusal.title), markup.escape(text)
        body = _page(refusal.title, f"<h1>{heading}</h1><p>{message}</p>")
    else:
        media_type, policy = "application/problem+json", ""
        problem = {
            "type": "about:blank",
            "title": refusal.title,
            "status": refusal.status,
            "detail": text,
            "code": refusal.code,
        }
        body = json.dumps(problem).encode()
    added = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers)
    head = (
        f"{status_line(status or refusal.status)}Content-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\nVary: Accept\r\n{_PRIVATE}{policy}{added}"
    )
    return head.encode("ascii"), body


def index_answer(manifest: Manifest, token: str, html: bool, base: str = "") -> tuple[bytes, bytes]:
    """The head and the body of a version's index: every file with its size, digest and link.

    token: is put into the links. base: the beginning of the links, which is the setting `public_url`; without
    it they are relative to the host. The answer is never cached, and links send no Referer.
    """
    links = [base + _link(file.name, token) for file in manifest.files]
    body = _index_page(manifest, links) if html else _index_json(manifest, links)
    media_type = "text/html; charset=utf-8" if html else "application/json"
    policy = _PAGE_POLICY if html else ""
    head = (
        f"{status_line(200)}Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\nVary: Accept\r\n"
        f"{_PRIVATE}{policy}"
    )
    return head.encode("ascii"), body


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """The status line of HTTP/1.1, with CRLF."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


def _link(name: str, token: str) -> str:
    path = quote(composed(name).encode("utf-8", "surrogateescape"), safe="/")
    return f"/download/{path}?token={quote(token)}"


def _index_json(manifest: Manifest, links: list[str]) -> bytes:
    index = {
        "product": manifest.product,
        "version": manifest.version,
        "files": [
            {
                "name": composed(file.name),
                "size": file.size,
                "type": file.type,
                "sha256": file.sha256,
                "crc32": file.crc32,
                "url": link,
            }
            for file, link in zip(manifest.files, links, strict=True)
        ],
    }
    return json.dumps(index).encode()


def _index_page(manifest: Manifest, links: list[str]) -> bytes:
    rows = "".join(
        f'<tr><td><a href="{markup.escape(link)}" title="SHA-256 {file.sha256}">'
        f"{markup.escape(shown(composed(file.name)))}</a></td><td>{format_size(file.size)}</td></tr>"
        for file, link in zip(manifest.files, links, strict=True)
    )
    heading = markup.escape(shown(f"{manifest.product} {manifest.version}"))
    return _page(
        f"{manifest.product} {manifest.version}",
        f"<h1>{heading}</h1><table><tr><th>File</th><th>Size</th></tr>{rows}</table>",
    )


def _page(title: str, content: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="robots" content="noindex">'
        f"<title>{markup.escape(shown(title))}</title><style>{_STYLE}</style>{content}"
    ).encode()

"""The answers that are not files: refusals, for programs and for people, and the index of a version.

Pages are small, load nothing else, and quote nothing of the request.
"""

from __future__ import annotations

import html as markup
import json
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from gateway.errors import BOUND_ELSEWHERE, LIMIT_REACHED, TOKEN_INVALID, TOKEN_MISSING, Refusal
from gateway.http.index_page import Entry, Terms, index_page, rfc3339
from gateway.http.links import quote_name
from gateway.http.page_frame import POLICY, PORTAL, frame
from gateway.manifest import Manifest, composed

_PRIVATE: Final = (
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
)

_HELPED_BY_A_FRESH_LINK: Final = frozenset(
    each.code for each in (TOKEN_MISSING, TOKEN_INVALID, LIMIT_REACHED, BOUND_ELSEWHERE)
)
"""Codes of refusals of a link that a customer can replace by a new one."""
_FRESH_LINK: Final = (
    f'<p>Have you bought this? <a href="{PORTAL}">Get a fresh link</a> '
    "with the e-mail address that you bought with.</p>"
)


@lru_cache(maxsize=256)
def refusal_answer(
    refusal: Refusal, detail: str | None, html: bool, status: int | None = None, portal: bool = False
) -> tuple[bytes, bytes]:
    """The head (status line and fields, without the empty line) and the body of a refusal.

    detail: replaces the row's own text. html: a page instead of problem+json (RFC 9457). status: replaces the
    row's own status in the status line, but not in the body. portal: whether a page about a link that a
    customer can replace leads to where they can.
    """
    text = detail or refusal.detail
    if html:
        media_type, policy = "text/html; charset=utf-8", POLICY
        heading, message = markup.escape(refusal.title), markup.escape(text)
        hint = _FRESH_LINK if portal and refusal.code in _HELPED_BY_A_FRESH_LINK else ""
        body = frame(refusal.title, f"<h1>{heading}</h1><p>{message}</p>{hint}")
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


def index_answer(
    manifest: Manifest,
    folder: str,
    base: str,
    terms: Terms,
    *,
    html: bool,
    folders: bool = False,
    address: str = "",
) -> tuple[bytes, bytes]:
    """The head and the body of the index of a folder: every file below it with its size, digest and link.

    folder: empty for all files. base: the beginning of each link, before the file's name in the folder.
    folders: whether a page also has the folders in it, for programs that go from one to the other; people
    find every file in the list. address: see `index_page`. The answer is never cached, and links send no
    Referer.
    """
    entries = _folders(manifest, folder, base) if folders and html else []
    for number, file in enumerate(manifest.files):
        if composed(file.name).startswith(folder):
            name = composed(file.name)[len(folder) :]
            entries.append(Entry(name, _link(base, name), file, number))
    if html:
        body = index_page(manifest, folder, entries, terms, address)
    else:
        body = _index_json(manifest, entries, terms)
    media_type = "text/html; charset=utf-8" if html else "application/json"
    policy = POLICY if html else ""
    head = (
        f"{status_line(200)}Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\nVary: Accept\r\n"
        f"{_PRIVATE}{policy}"
    )
    return head.encode("ascii"), body


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """The status line of HTTP/1.1, with CRLF."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


def _folders(manifest: Manifest, folder: str, base: str) -> list[Entry]:
    """The folders in a folder. Programs that read a page as a folder (rclone) follow them."""
    found = sorted(each for each in manifest.folders if each.startswith(folder))
    names = [each[len(folder) :] for each in found]
    return [Entry(name, _link(base, name)) for name in names if name.count("/") == 1]


def _link(base: str, name: str) -> str:
    """A link to a file. A relative one must not begin with a slash, which would be another folder or host."""
    path = quote_name(name)
    return base + path if base or not path.startswith("/") else f"./{path}"


def _index_json(manifest: Manifest, entries: Sequence[Entry], terms: Terms) -> bytes:
    files = [(entry, entry.file) for entry in entries if entry.file is not None]
    index = {
        "product": manifest.product,
        "productName": terms.product,
        "version": manifest.version,
        "size": sum(file.size for _, file in files),
        "expiresAt": None if terms.expires is None else rfc3339(terms.expires),
        "maxDownloads": terms.downloads,
        "files": [
            {
                "name": composed(file.name),
                "size": file.size,
                "type": file.type,
                "sha256": file.sha256,
                "crc32": file.crc32,
                "url": entry.link,
                "bytesLeft": terms.left(entry.number, file.size),
            }
            for entry, file in files
        ],
    }
    return json.dumps(index).encode()

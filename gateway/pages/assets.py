"""The files that pages load: the style sheet, scripts, the icon, and the seller's logo.

An address has the first digits of the content's SHA-256, so that browsers keep a file for ever and still get
a new one at once. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from gateway.pages.look import Look

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DIGITS: Final = 12
LOGO: Final = "logo"


class Asset(NamedTuple):
    """One file. name: with the digits of its content. compressed: its content by gzip."""

    name: str
    media_type: str
    content: bytes
    compressed: bytes


class Assets:
    """All files, by the names that templates use (`style.css`) and by those of their addresses."""

    def __init__(self, look: Look) -> None:
        contents = {
            file.name: (TYPES[file.suffix], file.read_bytes())
            for file in sorted(STATIC.iterdir())
            if file.suffix in TYPES
        }
        media_type, style = contents["style.css"]
        contents["style.css"] = media_type, style + look.style.encode()
        if look.logo is not None:
            contents[LOGO] = look.logo
        self._by_name = {name: _asset(name, *content) for name, content in contents.items()}
        self._by_address = {asset.name: asset for asset in self._by_name.values()}

    def address(self, name: str) -> str:
        """The last part of the address of a file."""
        return self._by_name[name].name

    def find(self, address: str) -> Asset | None:
        """The file that an address's last part names."""
        return self._by_address.get(address)


@cache  # a service has several applications with the same files, and to compress them takes 10 ms
def _asset(name: str, media_type: str, content: bytes) -> Asset:
    digits = hashlib.sha256(content).hexdigest()[:DIGITS]
    stem, dot, ending = name.partition(".")
    return Asset(f"{stem}-{digits}{dot}{ending}", media_type, content, gzip.compress(content, mtime=0))

"""Names of files: how a client saves a file, how a page shows its name, and the media type that it tells.

The name under which a download is saved (`download_name`) is the last component of the name in the manifest.
Both kinds of slash separate components. It is in the composed form of Unicode (NFC). Control characters,
marks that change the direction of text, leading dots and leading or trailing spaces are dropped; a lone
surrogate becomes `_`. The name has at most MAX_NAME_BYTES bytes: the end of the stem is cut off, not the
extension. If nothing remains, it is `download`.

A client learns it in Content-Disposition (RFC 6266):

- `filename` is the name itself, where it is ASCII and no parser reads it differently. Then there is nothing
  else, because two forms of one name only invite programs to differ.
- Otherwise `filename` is the name in ASCII, for old clients, and `filename*` (RFC 8187) is the name itself.
- In the ASCII name, letters of other scripts are transliterated (`Krakh`), by anyascii, whose tables are data
  of a package. What no ASCII can say and what some parser reads differently becomes `_`: quotes, slashes,
  percent (browsers decode it), semicolon, and `=?` (they decode RFC 2047 there).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from anyascii import anyascii

from gateway.http.media_types import DEFAULT_TYPE, MEDIA_TYPES
from gateway.manifest import composed

MAX_NAME_BYTES: Final = 200
"""The longest name for a client, in UTF-8: file systems allow 255, and browsers add ` (1).crdownload`."""

MAX_EXTENSION: Final = 16
"""The longest extension, in characters, that is kept when a name is shortened."""

_TURNING: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""The characters that only change the direction of text: Unicode's property Bidi_Control."""
_TURNS: Final = re.compile(f"[{_TURNING}]")
_DROPPED: Final = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff{_TURNING}]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_MISREAD: Final = re.compile(r'["\\/%;]|(?<==)\?')
_ATTRIBUTE_CHARACTERS: Final = "!#$&+-.^_`|~"


@lru_cache(maxsize=4096)
def content_disposition(name: str) -> str:
    """`attachment` with the file's name (RFC 6266, RFC 8187), safe for any name; printable ASCII."""
    name = download_name(name)
    plain = _ascii_name(name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"


def download_name(name: str) -> str:
    """The name under which a file is saved: see the top of the module."""
    last = re.split(r"[/\\]", name)[-1]
    clean = _SURROGATE.sub("_", _DROPPED.sub("", composed(last))).lstrip(". ").rstrip(" ")
    encoded = clean.encode()
    if len(encoded) > MAX_NAME_BYTES:
        stem, extension = _split_extension(clean)
        room = MAX_NAME_BYTES - len(extension.encode())
        clean = stem.encode()[:room].decode(errors="ignore").rstrip(" ") + extension
    return clean or "download"


def media_type(name: str) -> str:
    """The media type for a file's name, from our own table: it is the same on every machine."""
    _, dot, extension = re.split(r"[/\\]", name)[-1].rpartition(".")
    return MEDIA_TYPES.get(extension.lower(), DEFAULT_TYPE) if dot else DEFAULT_TYPE


def turns_text(name: str) -> bool:
    """Whether a name has a mark that changes the direction of text: `[U+202E]gpj.exe` looks like exe.jpg."""
    return _TURNS.search(name) is not None


def shown(text: str) -> str:
    """A name as a page shows it: what is invisible or turns text around is written out, `[U+202E]`.

    What is not valid Unicode becomes a replacement character.
    """
    valid = _SURROGATE.sub("\ufffd", text)
    return _DROPPED.sub(lambda found: f"[U+{ord(found[0]):04X}]", valid)


def _ascii_name(name: str) -> str:
    """The name in ASCII. A letter may become several, dots and spaces among them, which must not lead."""
    if name.isascii():
        return _MISREAD.sub("_", name)
    stem, extension = _split_extension(name)
    plain = _MISREAD.sub("_", "".join(map(_ascii_character, stem)).lstrip(". "))
    extension = _MISREAD.sub("_", "".join(map(_ascii_character, extension)))
    if not any(c.isalnum() for c in plain):
        plain = "download"
    return plain[: MAX_NAME_BYTES - len(extension)].rstrip(" ") + extension


def _ascii_character(character: str) -> str:
    """A character in ASCII; empty for an accent and a silent letter; `_` for what is no known character."""
    if character.isascii():
        return character
    plain = anyascii(character)
    if not plain:
        return "_" if unicodedata.category(character) in ("Co", "Cn") else ""
    return plain.strip(":") or "_"  # of a picture it makes `:drum:`


def _split_extension(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem and len(extension) <= MAX_EXTENSION else (name, "")

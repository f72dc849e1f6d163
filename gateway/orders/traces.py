r"""Where a person is mentioned in a text, in whatever spelling it has there. Pure.

A person is looked for by addresses, by a full name, and by ids that platforms use for them. Found are:

| what | spellings |
| --- | --- |
| an address | any case; the domain in Unicode or in its ASCII form (IDNA); composed or decomposed Unicode |
| a name | any case, composed or decomposed; only of two words or more: others are in too many texts |
| an id | as it is; only of MIN_ID characters, or MIN_DIGITS digits, or more |
| the text around it | escapes of JSON (\u0061), of URLs (%40) and forms (+), and of HTML (&#64;) |

Something longer is something else: `joann@example.com` and `ann@example.com.au` do not mention
`ann@example.com`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import idna

MIN_ID: Final = 8
"""Characters of an id. A shorter one, such as an order's number, is a part of too many texts."""
MIN_DIGITS: Final = 10
"""Characters of an id of digits only: eight may be a date."""
ERASED: Final = "erased"
"""What stands in the place of what was taken out."""

_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_ADDRESS: Final = re.compile(r"[^\s@<>\"'=:,;]+@[^\s@<>\"',;/]+\.[^\s@<>\"',;/]+")


def spellings(address: str) -> frozenset[str]:
    """The ways in which people and programs write one address: its domain in ASCII and in Unicode."""
    local, at, domain = address.strip().rpartition("@")
    domains = {domain}
    for convert in (_in_unicode, _in_ascii):
        domains |= {convert(each) for each in tuple(domains)}
    written = {f"{local}{at}{each}" for each in domains if each}
    return frozenset(written | {unicodedata.normalize("NFD", each) for each in written})


def _in_unicode(domain: str) -> str:
    try:
        return idna.decode(domain, uts46=True)
    except (idna.IDNAError, UnicodeError):
        return domain


def _in_ascii(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return domain


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _readings(text: str) -> Iterable[str]:
    """The text as it is, and with the escapes of JSON, HTML, URLs and forms taken out."""
    if "\\" in text:
        pairs = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).replace("\\/", "/")
        text = pairs.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "&" in text and ";" in text:
        text = html.unescape(text)
    yield text
    if "%" in text:
        text = unquote(text.replace("+", " ") if " " not in text else text)
        yield text
        if "%" in text:
            yield unquote(text)


def has_address(text: str) -> bool:
    """Whether a text has anything in it that looks like an e-mail address, whoever's it is."""
    return any(_ADDRESS.search(each) is not None for each in _readings(text))


class Traces:
    """What a person may be found by."""

    def __init__(self, addresses: Iterable[str], names: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        """addresses: in any form. names: as they were told. ids: of platforms."""
        self.addresses: Final = frozenset(one for each in addresses for one in spellings(each))
        words = {_fold(each) for each in self.addresses}
        whole = {_fold(" ".join(each.split())) for each in names if len(each.split()) > 1}
        known = {_fold(each) for each in ids if len(each) >= (MIN_DIGITS if each.isdigit() else MIN_ID)}
        parts = [rf"(?<![\w.+-]){re.escape(each)}(?![\w-]|\.\w)" for each in sorted(words)]
        parts += [rf"(?<!\w){re.escape(each)}(?!\w)" for each in sorted(whole)]
        parts += [rf"(?<![\w-]){re.escape(each)}(?![\w-])" for each in sorted(known)]
        self._pattern: Final = re.compile("|".join(parts)) if parts else None

    def are_in(self, content: str | bytes) -> bool:
        """Whether a text, or bytes of UTF-8, mention the person."""
        if self._pattern is None or not content:
            return False
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        return any(self._pattern.search(_fold(each)) is not None for each in _readings(text))

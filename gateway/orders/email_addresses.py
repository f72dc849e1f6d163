"""E-mail addresses: which texts are one, and which of them certainly name the same mailbox. Pure.

Two addresses are the same customer when their normal forms are equal. The normal form changes only what
standards say means the same everywhere; everything else is for the mailbox's provider to know, and is never
guessed:

| part | rule | source |
| --- | --- | --- |
| domain | lower case; Unicode as its ASCII form (IDNA 2008, mapped by UTS 46) | RFC 5321 2.3.11, RFC 5891 |
| local part | quotes are taken away where they are not needed, and put where they are | RFC 5321 4.1.2 |
| local part | composed Unicode (NFC) | RFC 6532 3.1 |
| local part | **kept**: case, dots, `+tag`, everything else | RFC 5321 2.4 |
| both | white space around the address is taken away | what people paste |

Refused, because no server would take it or because it is dangerous in a mail's header: line breaks and other
control characters, spaces outside quotes, `Ann <ann@example.com>`, comments, lists, several `@` outside
quotes, domains in brackets, characters that reorder text, more than 64 bytes before the `@`, more than 254
bytes in all (RFC 5321 4.5.3.1, with erratum 1690 of RFC 3696).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

import idna

MAX_LENGTH: Final = 254
"""Bytes of a normal form in UTF-8: a path of 256 (RFC 5321 section 4.5.3.1.3) without its angle brackets."""
MAX_LOCAL: Final = 64
"""Bytes of a local part (RFC 5321 section 4.5.3.1.1)."""
_MAX_WRITTEN: Final = 2000
"""Characters that are looked at. A longer text is none, whatever its normal form would be."""

_DOMAINS: Final = 1000
"""Domains whose normal form is kept in memory: most customers share few, and each takes 0.2 ms."""

_SIGN: Final = r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]"
"""A character of an atom (RFC 5322 section 3.2.3, RFC 6531 section 3.3)."""
_DOT_ATOM: Final = re.compile(rf"{_SIGN}+(?:\.{_SIGN}+)*")
_ATOMS_AND_DOTS: Final = re.compile(rf"(?:{_SIGN}|\.)+")
"""What some providers once gave out, such as `a..b@`: it means what it means in quotes."""
_QUOTED: Final = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])+)"')
_JOINERS: Final = "\u200c\u200d"
"""Characters without a width that some scripts need within words."""
_REFUSED_CATEGORIES: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


class AddressError(ValueError):
    """A text that is no e-mail address. Its text completes "the address …" and quotes nothing of it."""


def normalise(text: str) -> str:
    """Return the normal form of an address. Raises AddressError."""
    if len(text) > _MAX_WRITTEN:
        raise AddressError(f"is longer than {MAX_LENGTH} bytes")
    text = text.strip(" \t\r\n\u00a0")
    if not (text.isascii() and text.isprintable()) and any(
        unicodedata.category(each) in _REFUSED_CATEGORIES and each not in _JOINERS for each in text
    ):
        raise AddressError("has a line break or another character that cannot be seen")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise AddressError("must have the form name@example.com")
    address = f"{_local(local)}@{_domain(domain)}"
    if len(address.encode()) > MAX_LENGTH:
        raise AddressError(f"is longer than {MAX_LENGTH} bytes")
    return address


def _local(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        content = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _ATOMS_AND_DOTS.fullmatch(text):
        content = text
    else:
        raise AddressError("must have only letters, digits and signs before the @, or put it in quotes")
    if _DOT_ATOM.fullmatch(content):
        local = content
    else:
        escaped = re.sub(r'(["\\])', r"\\\1", content)
        local = f'"{escaped}"'
    if len(local.encode()) > MAX_LOCAL:
        raise AddressError(f"has more than {MAX_LOCAL} bytes before the @")
    return local


@lru_cache(_DOMAINS)
def _domain(text: str) -> str:
    try:
        domain = idna.encode(text, uts46=True, std3_rules=True, strict=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise AddressError("must have the name of a mail server after the @, such as example.com") from None
    if domain.endswith("."):
        raise AddressError("must not end with a dot")
    return domain.lower()

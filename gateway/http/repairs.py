"""Links as people and mail programs hand them on: a token and a file's name are found in what is glued. Pure.

A link in a text is followed by a full stop, put in brackets or quotes, broken into two lines, or encoded once
more. Only what is not right as it is gets repaired: a token that has not the exact form, and a name that no
file of the version has. The rules:

- A token is found where no letter or digit continues it, before it or after it, because a token with one
  character too many is not ours. `_` and `-` after it are glued, too (`_link_`), unless a letter or digit
  follows them.
- Characters that nobody sees, and encodings of encodings, do not matter anywhere. White space, `=` (which
  ends a line in quoted-printable, RFC 2045 section 6.7) and `>` (which begins one in a reply) do not matter
  within a token either.
- Control characters, but for tabs and line breaks, are glued by no program: such a text is not repaired.
- A name loses what is no letter or digit at its end, one character after the other, until a file has it.
- Two different tokens in one text are two tokens, so the caller refuses them.

The work is bounded: so many characters of a text, and so many characters at the end of a name, are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gateway.http.percent import percent_decode
from gateway.secrets import TOKEN_FORM

MAX_TEXT: Final = 1024
"""Characters of a text in which a token is searched for: a token three times encoded, and what is glued."""
MAX_ENCODINGS: Final = 3
MAX_NAME: Final = 4096
"""The longest name that is repaired, in characters: a file's longest name, encoded once more."""
MAX_GLUED: Final = 16
"""Characters that a name may lose at its end."""

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
)
"""Characters without a width: soft hyphen, zero-width space, joiners, marks of direction, byte order mark."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WRAPPING: Final = re.compile(r"[\s=>|]+")
_TOKEN: Final = rf"({TOKEN_FORM.pattern})(?![_-]*[A-Za-z0-9])"
_ANYWHERE: Final = re.compile(rf"(?<![A-Za-z0-9])(?:3[dD])?{_TOKEN}")
"""`3D` is an equals sign in quoted-printable: `?token=3Dct_…`."""
_ALONE: Final = re.compile(rf"[^A-Za-z0-9]*{_TOKEN}[^A-Za-z0-9]*(?:&.*)?", re.DOTALL)
_SLASHES: Final = re.compile(r"/{2,}")
_NEXT_PART: Final = re.compile(r"[&?#].*", re.DOTALL)


def find_tokens(text: str) -> frozenset[str]:
    """The tokens in the value of a parameter, which is decoded once already. Any text may be glued."""
    plain = _plain(text[:MAX_TEXT])
    if plain is None:
        return frozenset()
    return frozenset(_ANYWHERE.findall(plain) or _ANYWHERE.findall(_WRAPPING.sub("", plain)))


def find_token_alone(text: str) -> str | None:
    """The token of a path's part or of a field, to which no other letters and digits are glued, or None.

    More is not allowed here, because a name of a file, or a token of somebody else, may contain what looks
    like a token.
    """
    if TOKEN_FORM.fullmatch(text) is not None:
        return text
    if "ct" not in text:
        return None
    plain = _plain(text[:MAX_TEXT])
    if plain is None:
        return None
    found = _ALONE.fullmatch(plain) or _ALONE.fullmatch(_WRAPPING.sub("", plain))
    return found[1] if found is not None else None


def likely_names(name: str) -> Iterator[str]:
    """Names that may be meant by one that no file has, the likeliest first."""
    plain = _plain(name) if len(name) <= MAX_NAME else None
    if plain is None:
        return
    for text in dict.fromkeys((plain, _NEXT_PART.sub("", plain))):
        likely = _SLASHES.sub("/", text).strip("/")
        for _ in range(MAX_GLUED):
            if likely and likely != name:
                yield likely
            if not likely or likely[-1].isalnum():
                break
            likely = likely[:-1]


def _plain(text: str) -> str | None:
    """The text decoded as often as it is encoded, without what nobody sees; None for one with controls."""
    for _ in range(MAX_ENCODINGS):
        if "%" not in text:
            break
        text = percent_decode(text)
    return None if _CONTROL.search(text) else _INVISIBLE.sub("", text)

"""Which passwords a user may choose: long enough, and none that everybody tries. Pure.

After NIST SP 800-63B revision 4, section 3.1.1.2: a minimum of length, no rules about kinds of characters,
and a list of what is commonly used, expected or known from leaks. The list is local and small
(common_words.py); a password is compared with it after it was taken apart, so `P@ssw0rd1234` and
`dragonDragon99` are known, too. What a user chooses is never sent anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from gateway.users.common_words import ROWS, WHOLE, WORDS

SHORTEST: Final = 12
"""Characters. Guesses are limited to some a minute here; after a theft of the database, Argon2 makes each
guess cost a tenth of a second, and twelve characters that are no common words are out of reach then."""
LONGEST: Final = 256
"""Characters. A sentence fits, and nobody makes us hash a megabyte."""
LITTLE: Final = 4
"""Characters that a common part may have beside it, and it is still common, such as a year."""
MOST_WORDS: Final = 2
"""So many common words in a row are common, too. Three or more are a sentence, which is good."""
_FEWEST_DIFFERENT: Final = 5
_ROW: Final = 4
"""Neighbours on the keyboard are a row from this many on."""

_LOOK_ALIKES: Final = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "€": "e"}
)
_ROWS: Final = tuple(row for each in ROWS for row in (each, each[::-1]))
_LONGEST_WORD: Final = max(map(len, WORDS))


class PasswordFault(StrEnum):
    """What is wrong with a password."""

    SHORT = "short"
    LONG = "long"
    COMMON = "common"
    NAME = "name"


def normalise_password(password: str) -> str:
    """The password in the one form that is hashed: NFKC, so that every keyboard writes the same."""
    return unicodedata.normalize("NFKC", password)


def find_password_fault(password: str, names: Iterable[str] = ()) -> PasswordFault | None:
    """What is wrong with a password, or None. names: of the user and of what they sign in to."""
    text = normalise_password(password)
    if len(text) < SHORTEST:
        return PasswordFault.SHORT
    if len(text) > LONGEST:
        return PasswordFault.LONG
    text = text.casefold()
    if is_common(text):
        return PasswordFault.COMMON
    for name in names:
        part = normalise_password(name).casefold().partition("@")[0]
        if len(part) >= _ROW and part in text and len(text.replace(part, "")) <= LITTLE:
            return PasswordFault.NAME
    return None


def is_common(text: str) -> bool:
    """Whether a password, in lower case, is one that is tried first."""
    if len(set(text)) < _FEWEST_DIFFERENT:
        return True
    unit = _repeated_part(text)
    if unit != text:
        return len(unit) <= SHORTEST // 2 or is_common(unit)
    for form in {text, text.translate(_LOOK_ALIKES)}:
        if "".join(re.findall(r"\w", form)) in WHOLE:
            return True
    return any(_is_made_of_parts(form) for form in _forms(text))


def _forms(text: str) -> set[str]:
    """The password without its rows of keys, as it is and with letters for the signs that look like them."""
    found = set()
    for form in (text, text.translate(_LOOK_ALIKES), _read_back(text)):
        found.add(_without_rows(form))
    return found


def _read_back(text: str) -> str:
    """Letters for look-alikes inside the word only: `p4ssw0rd2024` is `password2024`."""
    stem = text.rstrip("0123456789!$@ ._-")
    return stem.translate(_LOOK_ALIKES) + text[len(stem) :]


def _is_made_of_parts(text: str) -> bool:
    """Whether at most MOST_WORDS common words are all that there is, but for LITTLE."""
    letters = "".join(re.findall(r"[^\W\d_]+", text))
    others = len(re.sub(r"[^\W_]", "", text)) // 2 + len(re.findall(r"\d", text)) // 2
    if others > LITTLE:
        return False
    return _uncovered(letters, MOST_WORDS) + others <= LITTLE


def _uncovered(letters: str, words: int) -> int:
    """The fewest letters that at most `words` common words leave over."""
    best = len(letters)
    if not words or best > LITTLE + words * _LONGEST_WORD:
        return best
    for start in range(len(letters)):
        for end in range(min(len(letters), start + _LONGEST_WORD), start + 2, -1):
            if letters[start:end] in WORDS:
                left = _uncovered(letters[:start], words - 1) if words > 1 else start
                rest = _uncovered(letters[end:], words - 1)
                best = min(best, left + len(letters) - end, start + rest)
                break
    return best


def _without_rows(text: str) -> str:
    """The text without what runs along a row of keys, the alphabet or the digits."""
    kept = []
    place = 0
    while place < len(text):
        length = 0
        for row in _ROWS:
            found = row.find(text[place : place + _ROW])
            if found < 0 or len(text) - place < _ROW:
                continue
            run = _ROW
            while (
                text[place + run : place + run + 1]
                and row[found + run : found + run + 1] == text[place + run]
            ):
                run += 1
            length = max(length, run)
        if not length:
            kept.append(text[place])
        place += length or 1
    return "".join(kept)


def _repeated_part(text: str) -> str:
    """The shortest part that, repeated, makes the text: `abcabc` is made of `abc`."""
    found = (text + text).find(text, 1)
    return text[:found]

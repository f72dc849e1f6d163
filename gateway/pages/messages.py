"""What other parts of the gateway say of their state and their faults, in the reader's language.

Checks, connections, webhooks and mails say it in English, and some of it is kept in the database in these
words. So a page translates it when it is shown: `locales/LANGUAGE/messages/*.po` has each message with `{}`
where its values stand. A value may be a message, too, as in `{}: {}`.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from babel.messages.pofile import read_po

from gateway.config.page_settings import LANGUAGES
from gateway.pages.texts import LOCALES

VALUE: Final = "{}"
MAX_LENGTH: Final = 2000
"""Characters of a message. Longer ones are not ours: a mail server or a receiver has written most of it."""
MAX_DEPTH: Final = 3
"""Messages within messages, such as a fault of a mail server in a finding."""


class Message(NamedTuple):
    """A message of the catalogue: the English text between its values, and the translation with `{}`."""

    parts: tuple[str, ...]
    translation: str

    @property
    def has_words(self) -> bool:
        """Whether there is more in it than marks between values."""
        return any(sign.isalpha() for part in self.parts for sign in part)


def messages_of(language: str) -> tuple[Message, ...]:
    """The messages of one of LANGUAGES, those with the most text first: they fit the best."""
    assert language in LANGUAGES
    found: list[Message] = []
    for file in sorted((LOCALES / language / "messages").glob("*.po")):
        with file.open("rb") as source:
            catalogue = read_po(source, locale=language)
        found += [
            Message(tuple(str(each.id).split(VALUE)), str(each.string)) for each in catalogue if each.id
        ]
    return tuple(sorted(found, key=lambda each: sum(map(len, each.parts)), reverse=True))


@cache
def _by_beginning(language: str) -> dict[str, tuple[Message, ...]]:
    """The messages that a text with this first character may be, in their order; "": with any other one."""
    known = messages_of(language)
    return {
        beginning: tuple(each for each in known if each.parts[0][:1] in ("", beginning))
        for beginning in {each.parts[0][:1] for each in known}
    }


def translate_message(text: str, language: str, depth: int = MAX_DEPTH) -> str | None:
    """The translation of a message. None where the catalogue does not have it."""
    if len(text) > MAX_LENGTH:
        return None
    known = _by_beginning(language)
    for message in known.get(text[:1], known.get("", ())):
        values = match(message.parts, text)
        if values is None:
            continue
        translated = [translate_message(each, language, depth - 1) if depth else None for each in values]
        if message.has_words or any(each is not None for each in translated):
            shown = (value if new is None else new for value, new in zip(values, translated, strict=True))
            return message.translation.format(*shown)
    return None


def match(parts: tuple[str, ...], text: str) -> list[str] | None:
    """The values of a text that has these parts, one after the other, with a value between each two.

    None if it does not. Each value ends where the next part is found first, so the work grows with the length
    of the text only.
    """
    first, *middle = parts
    if not middle:
        return [] if text == first else None
    last = middle.pop()
    if not text.startswith(first) or not text.endswith(last):
        return None
    at, end = len(first), len(text) - len(last)
    values: list[str] = []
    for part in middle:
        found = text.find(part, at + 1, end)
        if found < 0:
            return None
        values.append(text[at:found])
        at = found + len(part)
    return [*values, text[at:end]] if at < end else None

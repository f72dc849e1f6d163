"""The texts of pages and mails in the reader's language.

The English texts stand in the templates and in the code. `locales/LANGUAGE/*.po` has their translations, one
file for each part of the product; they are read when a process starts, so nothing has to be compiled. A text
without a translation stays English; a test finds it.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from gateway.config.page_settings import LANGUAGES

LOCALES: Final = Path(__file__).parent / "locales"
MAX_HEADER: Final = 1000
"""Characters of an Accept-Language field that are read. Browsers send some dozens."""
MAX_RANGES: Final = 20
"""Languages of such a field that are looked at."""


class Texts:
    """The texts of one language."""

    def __init__(self, language: str) -> None:
        self.language: Final = language
        self.locale: Final = Locale(language)
        self._translations = gettext.NullTranslations()
        for file in sorted((LOCALES / language).glob("*.po")):
            self._add(file)

    def _add(self, file: Path) -> None:
        compiled = io.BytesIO()
        with file.open("rb") as source:
            write_mo(compiled, read_po(source, locale=self.language))
        compiled.seek(0)
        found = gettext.GNUTranslations(compiled)
        found.add_fallback(self._translations)
        self._translations = found

    def gettext(self, text: str) -> str:
        """The translation of a text, or the text itself where there is none."""
        return self._translations.gettext(text) if text else ""

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The translation of a text that depends on a count."""
        return self._translations.ngettext(one, many, count)


@cache
def texts_of(language: str) -> Texts:
    """The texts of one of LANGUAGES."""
    assert language in LANGUAGES
    return Texts(language)


def choose_language(accepted: str, default: str) -> str:
    """The best of LANGUAGES for an Accept-Language field (RFC 9110 section 12.5.4), else the default."""
    found: list[tuple[float, int, str]] = []
    for place, item in enumerate(accepted[:MAX_HEADER].split(",")[:MAX_RANGES]):
        name, _, parameter = item.partition(";")
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES and (quality := _quality(parameter)) > 0:
            found.append((-quality, place, language))
    return min(found)[2] if found else default


def _quality(parameter: str) -> float:
    """The weight that a parameter gives, from 0 to 1; 0 for one that cannot be read."""
    text = parameter.strip().lower()
    if not text:
        return 1.0
    number = text.removeprefix("q=")
    if number == text or len(number) > 5 or not number.replace(".", "", 1).isdigit() or not number.isascii():
        return 0.0
    return min(float(number), 1.0)

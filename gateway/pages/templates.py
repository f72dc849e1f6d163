"""The templates, and the one way to fill one in."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from gateway.config.page_settings import LANGUAGES
from gateway.http.file_names import shown
from gateway.pages.formats import show_day, show_moment, write_moment, write_number, write_size
from gateway.pages.messages import translate_message
from gateway.pages.texts import Texts, texts_of

TEMPLATES: Final = Path(__file__).parent / "templates"
_BREAKS: Final = re.compile(r"(?=@)|(?<=[^/]/)(?!/)")


def render(name: str, language: str, values: dict[str, Any]) -> str:
    """Fill in a template.

    name: its path below templates/. Those that end with `.txt` are plain text; in all others, values are
    escaped. language: one of LANGUAGES. Raises jinja2.UndefinedError for a value that is missing.
    """
    return _environment(language).get_template(name).render(values)


def template_names() -> list[str]:
    """The names of all templates."""
    return _environment(LANGUAGES[0]).list_templates()


def prepare(name: str, language: str) -> None:
    """Compile a template, as its first use would: that takes some 30 ms, and 150 ms for the largest."""
    _environment(language).get_template(name)


@cache
def _environment(language: str) -> Environment:
    texts = texts_of(language)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(disabled_extensions=("txt",), default=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,  # every template is ours, so their number is bounded
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        texts.gettext, texts.ngettext, newstyle=True
    )
    locale = texts.locale
    environment.globals["language"] = language
    environment.filters.update(
        moment=lambda milliseconds: show_moment(milliseconds, locale),
        day=lambda milliseconds: show_day(milliseconds, locale),
        moment_text=lambda milliseconds: write_moment(milliseconds, locale),
        size=lambda size: write_size(size, locale),
        number=lambda value: write_number(value, locale),
        shown=lambda text: shown(text or ""),
        breakable=_breakable,
        translated=lambda text: _translated(text or "", texts),
        shown_lines=lambda text: "\n".join(map(shown, (text or "").splitlines())),
    )
    return environment


def _breakable(text: str) -> Markup:
    """A mail address or URL that narrow screens break where people would: before the @, and after a slash."""
    return Markup("<wbr>").join(escape(part) for part in _BREAKS.split(text))


def _translated(text: str, texts: Texts) -> Markup:
    """What a part of the gateway said, in the reader's language where the catalogue has it.

    Where it has not, the text is marked as English, so that a screen reader reads it as English.
    """
    found = texts.gettext(text)
    if found == text and text and texts.language != "en":
        message = translate_message(text, texts.language)
        if message is None:
            return Markup('<span lang="en">{}</span>').format(shown(text))
        found = message
    return escape(shown(found))

"""Which language a reader gets, and that every text has its translation."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from gateway.config.page_settings import LANGUAGES
from gateway.pages.texts import LOCALES, choose_language, texts_of
from tests.support.rows import each_row

ROOT = Path(__file__).parents[2] / "gateway"
METHODS = [("**/templates/**.html", "jinja2"), ("**/templates/**.txt", "jinja2"), ("**.py", "python")]
OPTIONS = {"**/templates/**.html": {"trimmed": "false", "silent": "false", "newstyle_gettext": "true"}}


def sources() -> dict[str, str]:
    """Every text that templates and code translate, and a file that has it."""
    found: dict[str, str] = {}
    for folder in (ROOT / "pages", ROOT / "web", ROOT / "mail"):
        if not folder.is_dir():
            continue
        for name, _, text, *_ in extract_from_dir(
            folder, METHODS, OPTIONS, {"gettext": None, "ngettext": (1, 2), "_": None}
        ):
            for each in text if isinstance(text, tuple) else (text,):
                found.setdefault(each, name)
    return found


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_text_is_translated_once_and_nothing_else_is(language: str) -> None:
    used = sources()
    assert "Go to the content" in used
    known: Counter[str] = Counter()
    for file in sorted((LOCALES / language).glob("*.po")):
        with file.open("rb") as source:
            for message in read_po(source, locale=language):
                if not message.id:
                    continue
                ids = message.id if isinstance(message.id, tuple | list) else (message.id,)
                strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
                assert all(strings), f"{file.name}: {message.id!r} has no translation"
                assert not message.fuzzy, f"{file.name}: {message.id!r} is fuzzy"
                known.update(ids)
                for text in strings:
                    assert names(str(text)) <= names(" ".join(ids)), f"{file.name}: {text!r} has other values"
    missing = {text: name for text, name in used.items() if text not in known}
    assert not missing, "\n".join(f"{name}: {text!r} has no translation" for text, name in missing.items())
    assert not [text for text, count in known.items() if count > 1], "translated twice"
    assert not known.keys() - used.keys(), "translations of texts that are gone"


def names(text: str) -> set[str]:
    """The names of the values in a text: %(name)s."""
    return {part.partition(")")[0] for part in text.split("%(")[1:]}


def test_a_text_without_translation_stays_as_it_is() -> None:
    german = texts_of("de")
    assert german.gettext("Go to the content") == "Zum Inhalt"
    assert german.gettext("nobody has translated this") == "nobody has translated this"
    assert german.gettext("") == ""
    assert german.ngettext("%(n)s thing", "%(n)s things", 2) == "%(n)s things"
    assert texts_of("en").gettext("Go to the content") == "Go to the content"


@each_row(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr, de;q=0.5", "de"),
        ("fr", "en"),
        ("DE", "de"),
        ("de;q=0", "en"),
        ("de;q=0.1, en;q=0.2", "en"),
        ("de;q=nonsense", "en"),
        ("de;q=１", "en"),
        ("*", "en"),
        (";;;,,,", "en"),
        ("x" * 5000 + ",de", "en"),
        (",".join(["fr"] * 30) + ",de", "en"),
    ],
)
def test_the_language_of_a_browser(accepted: str, language: str) -> None:
    assert choose_language(accepted, "en") == language


@pytest.mark.slow
def test_no_code_joins_translated_texts() -> None:
    """A text must be whole, because other languages have another order: `gettext(f"…")` finds nothing."""
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "gettext"
            ):
                assert not any(isinstance(each, ast.JoinedStr) for each in node.args), file
